"""MotionBench: edits and clip-to-photo transfers whose truth is known, drawn from a seed.

`python -m benchmarks.motionbench -o OUT [--quick] [--clips]` writes the cases as folders with a contact sheet. The two
halves, 'tuning' and 'reported', share no picture.
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from benchmarks.rendering import Path2D, Scene, Size, draw, exact_flow, extended_flow, load_actor, load_background
from benchmarks.staging import carried, imperfect, perfect, place_background, stage_clip, stage_edit
from mtransfer.flow.field import FlowField
from mtransfer.flow.io import save_field
from mtransfer.flow.visualize import with_flow
from mtransfer.flow.warp import vacated_mask
from mtransfer.media.contact_sheet import sheet
from mtransfer.media.photo.photo import save_png
from mtransfer.media.video_writer import write_video
from mtransfer.strict_json import save_json
from mtransfer.subject.subject import with_mask

SEED = 7
SIZE: Size = (256, 256)
CLIP_SIZE: Size = (240, 320)
CLIP_FPS = 12.0
CLIP_LENGTHS = (8, 12)  # frames
PICTURES = Path(__file__).parent / "pictures"
SPLITS = ("tuning", "reported")
MEDIA = ("photographs", "drawings")
KINDS = {"translate": 6, "rotate": 4, "scale": 4, "stretch": 4, "two": 4, "deform": 6, "leaving": 4}
MASK_FAULTS = ("dilated", "eroded", "shifted")
CLIPS = (
    *(("translate", "still", "tuning"), ("rotate", "still", "tuning"), ("scale", "still", "tuning")),
    *(("translate", "zoom", "tuning"), ("rotate", "pan", "tuning"), ("scale", "roll", "tuning")),
    *(("translate", "still", "reported"), ("rotate", "still", "reported"), ("scale", "still", "reported")),
    *(("translate", "roll", "reported"), ("rotate", "zoom", "reported"), ("scale", "pan", "reported")),
)
# What stands on the ground: nothing else casts a contact shadow.
STANDING = (
    *("beaver", "egg", "football", "hen", "mountain_goat", "otter", "pineapple", "rabbit"),
    *("tent", "tow_truck", "tree", "wapiti", "yak", "zebra"),
)


@dataclass(frozen=True, eq=False)
class Case:
    """An edit and its truth; float32 [1,C,H,W], images and masks in [0,1], flows (dx, dy) in pixels from the source.

    Given to a method: `source`, `flow` (0 outside `mask`), `confidence`, `mask`. Truth: `true_flow` (0 outside
    `subject`), `after`, and the masks `subject` (in the source), `target` (in the after-image), `vacated` (subject,
    no longer target) and `covered` (target, not subject before). `shadow` is where a shadow lies before or after.
    `split` is 'tuning' or 'reported', `medium` 'photographs' or 'drawings', `fault` what is wrong with the guidance.
    """

    name: str
    kind: str
    imperfect: bool
    split: str
    medium: str
    fault: str
    source: Tensor
    flow: Tensor
    confidence: Tensor
    mask: Tensor
    true_flow: Tensor
    after: Tensor
    subject: Tensor
    target: Tensor
    vacated: Tensor
    covered: Tensor
    shadow: Tensor


@dataclass(frozen=True, eq=False)
class ClipCase:
    """A clip, a photo, and the clip's motion as it looks on the photo; values as in Case.

    frames [T,3,h,w] and the clip's subject in each, clip_masks [T,1,h,w]; clip_flow [1,2,h,w] of frame 0 -> T-1, the
    camera's motion in it; photo [1,3,H,W], photo_mask [1,1,H,W].
    `true_flow` [1,2,H,W] is the subject's motion of frame 0 -> T-1 as a still camera would see it, carried to the
    photo's subject by the similarity that puts centroid on centroid and equals the areas; 0 outside the mask. `after`
    is the photo so moved. `motion` is 'translate', 'rotate' or 'scale', `camera` 'still', 'pan', 'zoom' or 'roll'.
    """

    name: str
    motion: str
    camera: str
    split: str
    frames: Tensor
    clip_masks: Tensor
    clip_flow: Tensor
    photo: Tensor
    photo_mask: Tensor
    true_flow: Tensor
    after: Tensor


@dataclass(frozen=True)
class _Plan:
    index: int
    kind: str
    number: int
    split: str
    medium: str
    imperfect: bool

    @property
    def shadow(self) -> bool:
        return self.index % 3 == 0

    @property
    def growing(self) -> bool:
        """Whether a scale or stretch enlarges: one of each kind in each half."""
        return self.number in (1, 4)


def load_cases(split: str | None = None, quick: bool = False, most: int | None = None) -> list[Case]:
    """The 32 edits, or those of one split, at `most` so many; with `quick` one of each kind, every other imperfect."""
    plans = [plan for plan in _plans() if split in (None, plan.split)]
    if quick:
        wanted = zip(KINDS, itertools.cycle((False, True)), strict=False)
        plans = [next(p for p in plans if (p.kind, p.imperfect) == pair) for pair in wanted]
    return [_case(plan) for plan in plans[:most]]


def load_clip_cases(split: str | None = None, quick: bool = False) -> list[ClipCase]:
    """The 12 clip-to-photo cases, or those of one split; with `quick` one for each camera."""
    indices = [i for i, clip in enumerate(CLIPS) if split in (None, clip[2])]
    if quick:
        indices = [next(i for i in indices if CLIPS[i][1] == camera) for camera in ("still", "pan", "zoom", "roll")]
    return [_clip_case(i) for i in indices]


def _plans() -> list[_Plan]:
    """Kinds, halves, media and faults dealt so that each half holds as many of each."""
    numbers = [(kind, k, n) for k, kind in enumerate(KINDS) for n in range(KINDS[kind])]
    return [
        _Plan(i, kind, n + 1, SPLITS[n % 2], MEDIA[(n + n // 2 + k) % 2], (n // 2 + k) % 2 == 1)
        for i, (kind, k, n) in enumerate(numbers)
    ]


def _pick(medium: str, split: str, suffix: str, place: int, standing: bool = False) -> Path:
    """The picture at a place in the round of one half's pictures."""
    pool = sorted((PICTURES / medium).glob(f"*{suffix}"))[SPLITS.index(split) :: 2]
    pool = [path for path in pool if path.stem in STANDING or not standing]
    return pool[place % len(pool)]


def _case(plan: _Plan) -> Case:
    rng = np.random.default_rng((SEED, plan.index))
    paths = [
        _pick(plan.medium, plan.split, ".png", plan.index // 2 + j, plan.shadow)
        for j in range(2 if plan.kind == "two" else 1)
    ]
    cast = [load_actor(path, shadow=plan.shadow) for path in paths]
    picture = load_background(_pick(plan.medium, plan.split, ".jpg", plan.index // 2))
    place = place_background(rng, picture, SIZE, (0.68, 1.0), centred=False)
    actors, motions = stage_edit(rng, plan.kind, cast, SIZE, growing=plan.growing)
    scene = Scene(SIZE, picture, place, actors)
    name = "_".join((plan.kind, str(plan.number), *(path.stem for path in paths)))
    return _filmed(rng, name, plan, scene, motions)


def _filmed(rng: Generator, name: str, plan: _Plan, scene: Scene, motions: list[Path2D]) -> Case:
    before, after = draw(scene, [()] * len(motions)), draw(scene, motions)
    true_flow = exact_flow(before, motions)
    if plan.imperfect:
        how = MASK_FAULTS[(plan.index + plan.number) % len(MASK_FAULTS)]
        guidance = imperfect(rng, extended_flow(before, motions), before.mask, how)
    else:
        guidance = perfect(true_flow, before.mask)
    return Case(
        name=name,
        kind=plan.kind,
        imperfect=plan.imperfect,
        split=plan.split,
        medium=plan.medium,
        fault=guidance.fault,
        source=before.image,
        flow=guidance.flow,
        confidence=guidance.confidence,
        mask=guidance.mask,
        true_flow=true_flow,
        after=after.image,
        subject=before.mask,
        target=after.mask,
        vacated=vacated_mask(before.mask, after.mask),
        covered=after.mask * (1 - before.mask),
        shadow=torch.maximum(before.shadow, after.shadow),
    )


def _clip_case(index: int) -> ClipCase:
    motion, camera, split = CLIPS[index]
    rng = np.random.default_rng((SEED, 1000 + index))
    turn = (index + index // 6) % 2
    medium = MEDIA[turn]
    clip_path = _pick(medium, split, ".png", index)
    photo_path = clip_path if index % 3 == 0 else _pick(medium, split, ".png", index + 2)
    cast = load_actor(clip_path, shadow=False), load_actor(photo_path, shadow=False)
    length = int(rng.integers(CLIP_LENGTHS[0], CLIP_LENGTHS[1] + 1))
    actor, other, motions, cameras = stage_clip(rng, motion, camera, cast, (CLIP_SIZE, SIZE), length, growing=turn == 0)
    pictures = [load_background(_pick(medium, split, ".jpg", index + j)) for j in range(2)]
    clip_place = place_background(rng, pictures[0], CLIP_SIZE, (0.82, 1.0), centred=True)
    clip_scene = Scene(CLIP_SIZE, pictures[0], clip_place, (actor,))
    frames = [draw(clip_scene, [(m,)], (c,)) for m, c in zip(motions, cameras, strict=True)]
    place = place_background(rng, pictures[1], SIZE, (0.68, 1.0), centred=False)
    photo_scene = Scene(SIZE, pictures[1], place, (other,))
    on_photo: Path2D = (carried(motions[-1], actor, other),)
    photo = draw(photo_scene, [()])
    return ClipCase(
        name=f"clip_{index + 1}_{motion}_{camera}_{clip_path.stem}_{photo_path.stem}",
        motion=motion,
        camera=camera,
        split=split,
        frames=torch.cat([frame.image for frame in frames]),
        clip_masks=torch.cat([frame.mask for frame in frames]),
        clip_flow=exact_flow(frames[0], [(motions[-1],)], (cameras[-1],)),
        photo=photo.image,
        photo_mask=photo.mask,
        true_flow=exact_flow(photo, [on_photo]),
        after=draw(photo_scene, [on_photo]).image,
    )


def write_case(case: Case, folder: Path) -> None:
    """An edit as files: src, true, mask (given) and subject (true) .png, flow and true_flow .npz, case.json."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"src": case.source, "true": case.after, "mask": case.mask, "subject": case.subject}
    _write_pictures(pictures, folder)
    save_field(FlowField(case.flow, case.confidence), folder / "flow.npz")
    save_field(FlowField.from_flow(case.true_flow), folder / "true_flow.npz")
    names = ("kind", "imperfect", "split", "medium", "fault")
    save_json({name: getattr(case, name) for name in names}, folder / "case.json")


def write_clip_case(case: ClipCase, folder: Path) -> None:
    """A transfer as files: clip.mp4, clip_mask (frame 0), photo, mask and true .png, true_flow.npz, case.json."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"clip_mask": case.clip_masks[:1], "photo": case.photo, "mask": case.photo_mask, "true": case.after}
    _write_pictures(pictures, folder)
    write_video(case.frames, folder / "clip.mp4", CLIP_FPS)
    save_field(FlowField.from_flow(case.true_flow), folder / "true_flow.npz")
    save_json({name: getattr(case, name) for name in ("motion", "camera", "split")}, folder / "case.json")


def _write_pictures(pictures: dict[str, Tensor], folder: Path) -> None:
    for name, picture in pictures.items():
        save_png(picture[0].expand(3, -1, -1), folder / f"{name}.png")


def contact_sheet(cases: Sequence[Case]) -> Tensor:
    """A labelled tile a case, float32[3,h,w]: source, given flow, given mask, true after-image."""
    tiles = [
        (case.source[0], with_flow(case.source[0], case.flow[0]), _masked(case.source, case.mask), case.after[0])
        for case in cases
    ]
    labels = [case.name + (" *" if case.imperfect else "") for case in cases]
    return sheet([(label, _mosaic(tile)) for label, tile in zip(labels, tiles, strict=True)])


def clip_sheet(cases: Sequence[ClipCase]) -> Tensor:
    """A labelled tile a case, float32[3,h,w]: first and last frame of the clip, true flow on the photo, true result."""
    tiles = [
        (
            _masked(case.frames[:1], case.clip_masks[:1]),
            case.frames[-1],
            with_flow(case.photo[0], case.true_flow[0]),
            case.after[0],
        )
        for case in cases
    ]
    return sheet([(case.name, _mosaic(tile)) for case, tile in zip(cases, tiles, strict=True)])


def _masked(image: Tensor, mask: Tensor) -> Tensor:
    return with_mask(image[0], mask[0])


def _mosaic(pictures: Sequence[Tensor]) -> Tensor:
    """Four pictures in two rows, the smaller ones on white."""
    height, width = (max(picture.shape[k] for picture in pictures) for k in (1, 2))
    a, b, c, d = (F.pad(p, (0, width - p.shape[2], 0, height - p.shape[1]), value=1.0) for p in pictures)
    return torch.cat([torch.cat([a, b], dim=2), torch.cat([c, d], dim=2)], dim=1)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.motionbench", description="Write MotionBench as files.")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the cases")
    parser.add_argument("--quick", action="store_true", help="one case of each kind")
    parser.add_argument("--clips", action="store_true", help="the clip-to-photo cases too")
    given = parser.parse_args(arguments)
    cases = load_cases(quick=given.quick)
    for case in cases:
        write_case(case, given.output / case.name)
    save_png(contact_sheet(cases), given.output / "cases.png")
    if given.clips:
        clips = load_clip_cases(quick=given.quick)
        for clip in clips:
            write_clip_case(clip, given.output / clip.name)
        save_png(clip_sheet(clips), given.output / "clips.png")
    print(given.output)


if __name__ == "__main__":
    main()
