"""The jobs, from files to a moved photo, judged by a flow estimator that has no part in them."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pictures import disc_photo, save_clip, save_picture
from torch import Tensor

from mtransfer import cache
from mtransfer.flow.estimator import DisFlow, estimate
from mtransfer.jobs import transfer as job
from mtransfer.jobs.recipe import EditRecipe, TransferRecipe
from mtransfer.jobs.recipe_file import write_stored
from mtransfer.jobs.transfer import TransferOutput, edit, transfer
from mtransfer.media.decoding.decoder import Decoder
from mtransfer.media.photo.photo import read_photo
from mtransfer.media.video import ClipReader
from mtransfer.media.video_writer import write_video
from mtransfer.motion import clip_flow, clip_motion

SAMPLES = Path(__file__).parents[2] / "samples"
CLIP_SIZE, SQUARE_PX, STEP_PX, FRAMES = (256, 320), 90, 18, 5
RIGHT, DOWN, LEFT = (1, 0), (0, 1), (-1, 0)
READING_TOLERANCE = 0.25  # of the flow net that the package carries


def median_motion_px(output: TransferOutput, photo: Tensor) -> list[float]:
    """The motion (x, y) that DIS sees inside the subject between the photo and the result."""
    seen = estimate(DisFlow(), photo[None], output.frames[:1])[0]
    return seen[:, output.subject.mask[0] > 0.5].median(dim=1).values.tolist()


def check_moved_40_px(name: str, preset: str) -> None:
    recipe = EditRecipe.build({"photo": SAMPLES / name, "translate": "40,0", "preset": preset, "device": "cpu"}, [])
    output, photo = edit(recipe), read_photo(SAMPLES / name).image
    dx, dy = median_motion_px(output, photo)
    assert dx == pytest.approx(40, abs=4)
    assert abs(dy) < 4
    background = (output.edit[0] == 0).expand(3, -1, -1)
    assert background.float().mean() > 0.5
    assert torch.equal(output.frames[0][background], photo[background])
    assert not torch.equal(output.frames[0], photo)


@pytest.mark.parametrize("name", ["wooden_bird.jpg", "ladybird.jpg"])
def test_a_subject_is_where_a_draft_was_asked_to_move_it(name) -> None:
    check_moved_40_px(name, "draft")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wooden_bird.jpg", "ladybird.jpg"])
def test_a_subject_is_where_sampling_was_asked_to_move_it(name) -> None:
    check_moved_40_px(name, "fast")


def texture(height: int, width: int, seed: int, cell_px: int) -> Tensor:
    rough = torch.rand(1, 3, height // cell_px, width // cell_px, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(rough, (height, width), mode="bicubic").clamp(0, 1)[0]


def cut_from_a_photo() -> Tensor:
    """A square of the ladybird: what a flow net is at home with."""
    crop = read_photo(SAMPLES / "ladybird.jpg").image[None, :, 150:450, 200:500]
    return F.interpolate(crop, (SQUARE_PX, SQUARE_PX), mode="area")[0]


def corner(index: int, pan_px: int) -> tuple[int, int]:
    """Where the square's left upper corner (x, y) is in a frame: to the right for two frames, then down for two."""
    right, down = min(index, FRAMES // 2), max(0, index - FRAMES // 2)
    return 70 + STEP_PX * right + pan_px * index, 50 + STEP_PX * down


def clip_of_a_square(path: Path, pan_px: int) -> Path:
    """The square over a textured ground that the camera, panning to the left, moves to the right."""
    height, width = CLIP_SIZE
    ground, square = 0.6 * texture(height, width + 160, seed=1, cell_px=10), cut_from_a_photo()
    frames = []
    for index in range(FRAMES):
        x, y = corner(index, pan_px)
        frame = ground[:, :, 160 - pan_px * index : 160 - pan_px * index + width].clone()
        frame[:, y : y + SQUARE_PX, x : x + SQUARE_PX] = square
        frames.append(frame)
    write_video(torch.stack(frames), path, 12)
    return path


class TrueFlow:
    """A flow estimator that knows these clips; of other pictures it says that nothing moves."""

    def __init__(self, clip: Path, pan_px: int) -> None:
        self._frames, self._pan_px = ClipReader(clip).read(range(FRAMES)), pan_px

    def _number(self, image: Tensor) -> int | None:
        frames = F.interpolate(self._frames, image.shape[-2:], mode="area")
        difference = (frames - image).abs().mean(dim=(1, 2, 3))
        return int(difference.argmin()) if difference.min() < 0.02 else None

    def encode(self, source: Tensor) -> None:
        self._source = source

    def flow(self, image: Tensor) -> Tensor:
        pairs = zip(self._source.split(1), image.split(1), strict=True)
        return torch.cat([self._between(*pair) for pair in pairs])

    def _between(self, source: Tensor, image: Tensor) -> Tensor:
        first, second = self._number(source), self._number(image)
        if first is None or second is None:
            return torch.zeros_like(image[:, :2])
        (x, y), (x1, y1) = corner(first, self._pan_px), corner(second, self._pan_px)
        flow = torch.zeros(1, 2, *CLIP_SIZE)
        flow[:, 0] = self._pan_px * (second - first)
        flow[0, :, y : y + SQUARE_PX, x : x + SQUARE_PX] = torch.tensor([x1 - x, y1 - y]).view(2, 1, 1)
        return F.interpolate(flow, image.shape[-2:], mode="area") * image.shape[-1] / CLIP_SIZE[1]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Clips by how far the camera pans, in pixels a frame."""
    folder = tmp_path_factory.mktemp("clips")
    return {pan_px: clip_of_a_square(folder / f"{pan_px}.mp4", pan_px) for pan_px in (0, 8)}


def moved_by(clip: Path, pair: str, **more: Any) -> TransferOutput:
    photo = SAMPLES / "wooden_bird.jpg"
    given = {"clip": clip, "photo": photo, "pair": pair, "preset": "draft", "device": "cpu", **more}
    return transfer(TransferRecipe.build(given, []))


def turned_deg_and_ratio(output: TransferOutput, towards: tuple[int, int]) -> tuple[float, float]:
    """How far the mean retargeted motion points away from the clip's, and its length over the one it should have."""
    motion = output.flow.flow[0][:, output.subject.mask[0] > 0.5].mean(dim=1)
    cosine = torch.dot(motion / motion.norm(), torch.tensor(towards, dtype=torch.float32)).clamp(-1, 1)
    size_ratio = float(output.subject.mask.sum()) ** 0.5 / SQUARE_PX
    return float(torch.rad2deg(torch.arccos(cosine))), float(motion.norm()) / (2 * STEP_PX * size_ratio)


PAIRS = [("0:2", RIGHT), ("2:4", DOWN), ("2:0", LEFT)]


@pytest.mark.parametrize("pan_px", [0, 8])
@pytest.mark.parametrize(("pair", "towards"), PAIRS)
def test_the_clips_motion_is_retargeted_exactly(clips, pan_px, pair, towards, monkeypatch) -> None:
    reader = TrueFlow(clips[pan_px], pan_px)
    monkeypatch.setattr(clip_flow, "load_reader", lambda name, device: reader)
    monkeypatch.setenv("MTRANSFER_CACHE_GB", "0")  # what this one reads is for no other test
    turned_deg, ratio = turned_deg_and_ratio(moved_by(clips[pan_px], pair), towards)
    assert turned_deg < 1
    assert ratio == pytest.approx(1, abs=0.05)


@pytest.fixture
def known_flow(clips, monkeypatch) -> Path:
    """The clip of the panning camera, whose flow is read without error."""
    reader = TrueFlow(clips[8], 8)
    monkeypatch.setattr(clip_flow, "load_reader", lambda name, device: reader)
    monkeypatch.setenv("MTRANSFER_CACHE_GB", "0")
    return clips[8]


def test_the_cameras_motion_can_be_the_photos(known_flow) -> None:
    still, panned = (moved_by(known_flow, "0:2", camera=camera) for camera in ("remove", "photo"))
    photo = read_photo(SAMPLES / "wooden_bird.jpg").image
    shift_px = round(2 * 8 * photo.shape[-1] / CLIP_SIZE[1])
    # The rope above the bird goes right with the camera, and the bird's start as well.
    above = slice(None), slice(30), slice(60, None)
    there, unmoved = ((panned.frames[0] - each)[above].abs().mean() for each in (photo.roll(shift_px, -1), photo))
    assert there < 0.5 * unmoved
    assert float(panned.subject.box_xyxy[0] - still.subject.box_xyxy[0]) == pytest.approx(shift_px, abs=2)
    moved_px = [float(each.flow.flow[0, 0][each.subject.mask[0] > 0.5].mean()) for each in (still, panned)]
    assert moved_px[1] == pytest.approx(moved_px[0], rel=0.05)


def test_a_grey_picture_scales_the_motion(known_flow, tmp_path) -> None:
    height, width = read_photo(SAMPLES / "wooden_bird.jpg").size
    save_picture(tmp_path / "grey.png", torch.full((3, height, width), 0.5))
    whole, half = (moved_by(known_flow, "0:2", strength_mask=mask) for mask in (None, tmp_path / "grey.png"))
    inside = whole.subject.mask[0] > 0.5
    ratio = float(half.flow.flow[0, 0][inside].mean() / whole.flow.flow[0, 0][inside].mean())
    assert ratio == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("pan_px", [0, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("pair", "towards"), PAIRS[:2])
def test_the_photos_subject_moves_as_the_clips(clips, pan_px, pair, towards) -> None:
    """Read by the embedded flow net, whose vectors may be too short."""
    turned_deg, ratio = turned_deg_and_ratio(moved_by(clips[pan_px], pair), towards)
    assert turned_deg < 10
    assert ratio == pytest.approx(1, abs=READING_TOLERANCE)


@pytest.mark.slow
def test_a_pair_is_found_where_none_is_given(clips) -> None:
    output = moved_by(clips[0], "")
    motion = output.flow.flow[0][:, output.subject.mask[0] > 0.5].mean(dim=1)
    assert motion[0] > 20  # the square goes right first


def test_a_transfer_opens_and_hashes_its_clip_once(tmp_path, monkeypatch) -> None:
    path, photo = save_clip(tmp_path / "clip.mp4"), save_picture(tmp_path / "photo.png", disc_photo())
    os.utime(path, (1e9, 1e9))
    opened, hashed = [], []
    real_open, real_hash = Decoder.open, cache._read_hash
    monkeypatch.setattr(
        Decoder, "open", lambda self, name, **told: opened.append(name) or real_open(self, name, **told)
    )
    monkeypatch.setattr(cache, "_read_hash", lambda path: hashed.append(path.name) or real_hash(path))
    output = transfer(clip=path, photo=photo, preset="draft", pair="0:3")
    write_stored(output.recipe, {})
    assert opened == [path]
    assert hashed.count("clip.mp4") == 1
    assert output.metrics["clip_reader"] == "decord"


@pytest.mark.parametrize(("pair", "readings"), [("0:3", 1), ("", 2)])  # an automatic pair is looked for, then read
def test_a_transfer_segments_its_photo_and_retargets_once(pair, readings, tmp_path, monkeypatch) -> None:
    calls: list[str] = []

    def count(module: Any, name: str) -> None:
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, **named: calls.append(name) or real(*given, **named))

    monkeypatch.setenv("MTRANSFER_CACHE", str(tmp_path / "cache"))
    for module, name in ((job, "find_subject"), (clip_motion, "retarget"), (clip_motion, "track")):
        count(module, name)
    path, photo = save_clip(tmp_path / "clip.mp4"), save_picture(tmp_path / "photo.png", disc_photo())
    transfer(clip=path, photo=photo, preset="draft", pair=pair)
    assert sorted(calls) == ["find_subject", "retarget", *["track"] * readings]
