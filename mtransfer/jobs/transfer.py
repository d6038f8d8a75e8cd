"""The jobs: a recipe in, a moved photo out."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField
from mtransfer.flow.visualize import with_flow
from mtransfer.jobs.context import Run, start
from mtransfer.jobs.recipe import EditRecipe, TransferRecipe
from mtransfer.jobs.render import Panels, Prepared, TransferOutput, finish, prepare
from mtransfer.log import tell, warn
from mtransfer.media.clip_position import parse_pair, require_pair
from mtransfer.media.photo.alpha import lifted
from mtransfer.media.photo.photo import Photo, read_photo
from mtransfer.media.photo.sizes import require_size
from mtransfer.media.shots import choose_shot
from mtransfer.media.video import ClipReader
from mtransfer.motion.camera import pan
from mtransfer.motion.clip_motion import MOVING, ClipMotion, camera_on_photo, read_motion, retargeted
from mtransfer.motion.edit_motion import EditMotion, edit_field
from mtransfer.motion.motion_segmentation import NOTHING_MOVES, subject_motion_px
from mtransfer.motion.plausibility import warnings_of
from mtransfer.subject.mask_file import read_mask
from mtransfer.subject.mask_refinement import snapped, snapped_along
from mtransfer.subject.prompt import join_prompts, parse_prompts
from mtransfer.subject.segment import Found, find_subject
from mtransfer.subject.subject import Subject, subject_from_mask, together, with_mask

CANDIDATES, NEAREST_SHARE = 7, 0.06  # frames tried as B, from this share of the shot to its end
TRACKED, BARELY_TRACKED = 2, 4  # a motion to B counts by this power of the subject's fraction that is tracked there
CLEARLY_TRACKED = 0.4  # of the subject, above which the first power holds
MOST_MOTION = 0.6  # of the subject's size: more counts no more


def transfer(recipe: TransferRecipe | None = None, **options: Any) -> TransferOutput:
    """Move the photo's subject the way the clip's subject moves.

    Takes a recipe, or its fields by name: transfer(clip="a.mp4", photo="b.jpg", preset="draft", sampler={"steps": 20}).
    Also `report(stage, done, total, energy)`, called on the way; `guide`, a FlowModel in place of the one `flow_model`
    names; `energy_terms`, EnergyTerms to add to the energy; `watch(make)`, called after each step with what makes the
    picture as it is so far. Raises InputError and ModelError, one line each.
    """
    return finish([prepare_transfer(recipe, **options)])[0]


def prepare_transfer(recipe: TransferRecipe | None = None, **options: Any) -> Prepared:
    """As `transfer`, up to the sampling, for several to be finished together."""
    run, recipe = start(TransferRecipe, recipe, **options)
    photo, subjects = photo_and_subjects(run, recipe.subject)
    with run.stage("clip"):
        motion = _read_pair(run, recipe, subjects)
        pair = f"{motion.reference}:{motion.frames[0]}"
        run.resolve(pair=pair, mirror=motion.mirror)
        if recipe.clip_subject == "auto":
            run.resolve(clip_subject=MOVING)
    with run.stage("retarget"):
        grey = None if recipe.strength_mask is None else read_mask(recipe.strength_mask, photo.image, grey=True)
        limit = recipe.stretch_limit
        smoothed = f"motion: smoothed where it stretched the subject by more than {limit:g}; --max-stretch 0 keeps it"
        flow = retargeted(
            motion,
            subjects,
            0,
            strength=recipe.strength,
            strength_mask=grey,
            max_stretch=limit,
            on_smoothed=lambda: tell(smoothed),
        )
        whole = together(photo, subjects)
        _, (tracked, *_) = subject_motion_px(motion.subjects[0], motion.field)
        for line in warnings_of(flow.flow, whole.mask, tracked, pair):
            warn(line)
    if recipe.camera == "photo":
        photo, whole, flow = _panned(photo, whole, flow, motion)
    return prepare(run, photo, whole, flow, clip_panels(run.clip_reader, motion, 0))


def edit(recipe: EditRecipe | None = None, **options: Any) -> TransferOutput:
    """Move the photo's subject along a flow file or elementary motions.

    Takes what `transfer` takes: edit(photo="b.jpg", translate="40,0"). Raises InputError and ModelError.
    """
    return finish([prepare_edit(recipe, **options)])[0]


def prepare_edit(recipe: EditRecipe | None = None, **options: Any) -> Prepared:
    """As `edit`, up to the sampling."""
    run, recipe = start(EditRecipe, recipe, **options)
    photo, subject, flow = edited(run, recipe)
    return prepare(run, photo, subject, flow, [])


def edited(run: Run, recipe: EditRecipe) -> tuple[Photo, Subject, FlowField]:
    """The photo of an edit, its subject, and the flow that is asked for. Raises InputError and ModelError."""
    told_by_flow = recipe.flow is not None and recipe.subject in ("auto", MOVING)
    photo, subjects = photo_and_subjects(run, "all" if told_by_flow else recipe.subject, snap=recipe.flow is None)
    if told_by_flow:
        run.resolve(subject=MOVING)
    subject, flow = edit_field(
        edit_motion(recipe),
        photo,
        together(photo, subjects),
        is_told_by_flow=told_by_flow,
        snaps=recipe.sampler.snap_mask,
    )
    if (
        recipe.flow is not None
        and recipe.sampler.snap_mask
        and any(prompt.kind == "file" for prompt in parse_prompts(recipe.subject))
    ):
        # A file's flow may end with the mask that was given.
        drawn = snapped_along(photo.image[None], flow.flow, subject.mask[None])
        if drawn is not None:
            subject, flow = _redrawn(subject, drawn[1][0], recipe.subject), FlowField(drawn[0], flow.confidence)
    return photo, subject, flow


def prepare_either(recipe: TransferRecipe | EditRecipe, **options: Any) -> Prepared:
    """As `prepare_transfer` or `prepare_edit`, whichever the recipe is of."""
    if isinstance(recipe, TransferRecipe):
        return prepare_transfer(recipe, **options)
    return prepare_edit(recipe, **options)


def edit_motion(recipe: EditRecipe) -> EditMotion:
    """What a recipe asks for."""
    names = ("flow", "translate", "rotate", "scale", "stretch", "pin", "strength")
    return EditMotion(**{name: getattr(recipe, name) for name in names})


def photo_and_subjects(run: Run, text: str, *, snap: bool = True) -> tuple[Photo, tuple[Subject, ...]]:
    """The run's photo and its subjects that `text` names; with `snap`, masks that miss its edges are drawn to them.

    Raises InputError and ModelError.
    """
    with run.stage("photo"):
        recipe = run.recipe
        photo = read_photo(recipe.photo)
        require_size(photo.size, str(photo.path))
        run.report("photo", 1, 2, None)
        by = recipe.segmenter
        prompts = parse_prompts(text)
        found = [find_subject(photo.image, each, photo.alpha, by=by, device=run.device) for each in prompts]
        run.resolve(subject=join_prompts(each.prompt.text for each in found))
        if text == "auto":
            _name_the_others(found[0])
        subjects = [each.subject for each in found]
        if snap and recipe.sampler.snap_mask:
            for place, each in enumerate(found):
                drawn = snapped(photo.image, each.subject.mask) if each.prompt.kind == "file" else None
                subjects[place] = (
                    subjects[place] if drawn is None else _redrawn(subjects[place], drawn, each.prompt.text)
                )
        return photo, tuple(subjects)


def _name_the_others(found: Found) -> None:
    """Say which other salient objects could be asked for."""
    others = [f"{number} at {x:.0f},{y:.0f}" for number, (x, y) in enumerate(found.objects[1:], start=2)]
    if others:
        tell(f"subject: the main object; --subject N takes another ({', '.join(others)}), --subject all-salient all")


def _redrawn(subject: Subject, mask: Tensor, spec: str) -> Subject:
    """The subject of a mask file `spec`, by another mask."""
    warn(f"--subject {spec}: misses the photo's edges, so it is drawn to them; --set sampler.snap_mask=false keeps it")
    return subject_from_mask(subject.image, mask)


def _read_pair(run: Run, recipe: TransferRecipe, subjects: tuple[Subject, ...]) -> ClipMotion:
    """The motion from A to B; a pair that was found is read like one that was given, so that it can be done again."""
    clip = run.clip_reader.clip
    require_pair(clip)
    first, second = parse_pair(recipe.pair, clip) if recipe.pair else _liveliest_pair(run, recipe, subjects)
    return read_motion(run.clip_reader, run.clip_motion_options(), subjects, [second], first)


def _liveliest_pair(run: Run, recipe: TransferRecipe, subjects: tuple[Subject, ...]) -> tuple[int, int]:
    """The first frame of the shot and, of a few, the one with the largest subject motion that is followed well."""
    shot, clip = choose_shot(run.clip_reader, recipe.shot, ()), run.clip_reader.clip
    shares = np.geomspace(NEAREST_SHARE, 1, CANDIDATES)  # dense near A, where flow is surest
    steps = (shares * (shot.end - 1 - shot.first)).round().astype(int)
    candidates = sorted({shot.first + int(step) for step in steps if step > 0})
    if not candidates:
        raise InputError(f"shot {shot.number} of {clip.path} is one frame; choose another with --shot N")
    options = run.clip_motion_options()
    motion = read_motion(run.clip_reader, options, subjects, candidates, shot.first, quick=True)
    most_px = MOST_MOTION * float(motion.subjects[0].mask.sum().sqrt())
    tracked = list(zip(*subject_motion_px(motion.subjects[0], motion.field), strict=True))
    clear = any(fraction > CLEARLY_TRACKED and motion_px > 0 for motion_px, fraction in tracked)
    power, least = (TRACKED, CLEARLY_TRACKED) if clear else (BARELY_TRACKED, 0.0)
    ranks = [min(motion_px, most_px) * fraction**power * (fraction > least) for motion_px, fraction in tracked]
    if not any(ranks):
        raise InputError(f"{recipe.clip}: {NOTHING_MOVES}")
    second = candidates[int(np.argmax(ranks))]
    tell(
        f"frames: {shot.first}:{second} of {clip.frame_count}, the motion that is largest and still tracked; --pair A:B"
    )
    return shot.first, second


def _panned(photo: Photo, subject: Subject, flow: FlowField, motion: ClipMotion) -> tuple[Photo, Subject, FlowField]:
    """The whole photo moved as the clip's camera moves, and the subject's motion in it."""
    camera = camera_on_photo(motion, 0, (photo.image.shape[-2], photo.image.shape[-1]))
    image, mask, moved = pan(camera, photo.image, subject.mask, flow)
    colours, alpha = image, None
    if photo.alpha is not None:
        alpha = pan(camera, photo.alpha.expand(3, -1, -1), subject.mask, flow)[0][:1]
        colours = lifted(image, alpha, photo.matte, hidden=image)
    return photo.redrawn(colours, alpha), subject_from_mask(image, mask), moved


def clip_panels(reader: ClipReader, motion: ClipMotion, index: int) -> Panels:
    """What was seen in the clip: its reference frame, frame `index` of the wanted ones, and the motion between."""
    seen = torch.stack([subject.mask for subject in motion.subjects]).amax(dim=0)
    second = reader.read([motion.frames[index]], long_side=max(motion.picture.shape[-2:]))[0]
    return [
        (f"clip, frame {motion.reference}", with_mask(motion.picture, seen)),
        (
            f"clip, frame {motion.frames[index]}",
            with_mask(second, motion.masks[index].any(dim=0, keepdim=True).float()),
        ),
        ("its flow", with_flow(motion.picture, motion.field.flow[index])),
    ]
