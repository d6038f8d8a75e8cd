"""The motion of whole clips, from files to flow on a photo's subjects."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField
from mtransfer.flow.warp import pixel_grid
from mtransfer.jobs.context import start
from mtransfer.jobs.recipe import TransferRecipe
from mtransfer.media.photo.photo import save_png
from mtransfer.media.video import ClipReader
from mtransfer.media.video_writer import write_video
from mtransfer.motion import clip_motion
from mtransfer.motion.clip_flow import MOST_LINKS, between
from mtransfer.motion.clip_motion import ClipMotion, camera_on_photo, read_motion, retargeted
from mtransfer.motion.stretch import LEFT, MOST_STRETCH, stretched_fraction
from mtransfer.subject.shape import centroid, likeness
from mtransfer.subject.subject import Subject, subject_from_mask

SIZE, COUNT, STEP_PX, PAN_PX = (96, 160), 7, 5, 3
PHOTO = (120, 200)


def noise(height: int, width: int, seed: int, cell_px: int = 4) -> Tensor:
    rough = torch.rand(1, 3, height // cell_px, width // cell_px, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(rough, (height, width), mode="bicubic").clamp(0, 1)[0]


def ball(size: tuple[int, int], x: float, y: float, radius_x: float, radius_y: float) -> Tensor:
    grid = pixel_grid(torch.zeros(1, 1, *size))[0]
    return ((((grid[0] - x) / radius_x) ** 2 + ((grid[1] - y) / radius_y) ** 2) <= 1).float()[None]


def film(
    path: Path, pan_px: int = 0, balls: tuple[tuple[float, float, int, int], ...] = ((50, 48, STEP_PX, 0),)
) -> Path:
    """Textured balls, each at (x, y) and moving by (dx, dy) a frame, before a camera panning to the right."""
    ground = 0.5 * noise(SIZE[0], SIZE[1] + 40, 0)
    frames = []
    for t in range(COUNT):
        frame = ground[:, :, pan_px * t : pan_px * t + SIZE[1]].clone()
        for number, (x, y, dx, dy) in enumerate(balls):
            at = x + (dx - pan_px) * t, y + dy * t
            mask = ball(SIZE, *at, 16, 16)
            skin = noise(*SIZE, 5 + number).roll(((dy * t), (dx - pan_px) * t), (1, 2))
            frame = frame * (1 - mask) + mask * (0.3 + 0.7 * skin)
        frames.append(frame)
    write_video(torch.stack(frames), path, 12)
    return path


def photo_subject(x: float = 100, y: float = 60, radius: float = 24) -> Subject:
    return subject_from_mask(torch.zeros(3, *PHOTO), ball(PHOTO, x, y, radius, radius))


def motion_of(
    clip: Path, subjects: tuple[Subject, ...], frames: list[int], reference: int | None = 0, **given: object
) -> ClipMotion:
    values = {"clip": clip, "photo": "none.png", "flow_model": "dis", "device": "cpu", "preset": "draft", **given}
    run, _ = start(TransferRecipe, TransferRecipe.build(values, []))
    return read_motion(run.clip_reader, run.clip_motion_options(), subjects, frames, reference)


def mean_motion(motion: ClipMotion, subjects: tuple[Subject, ...], index: int, which: int = 0) -> list[float]:
    flow = retargeted(motion, subjects, index).flow[0]
    return flow[:, subjects[which].mask[0] > 0].mean(dim=1).tolist()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A ball that moves to the right, by how far the camera pans after it, in pixels a frame."""
    folder = tmp_path_factory.mktemp("films")
    return {pan_px: film(folder / f"{pan_px}.mp4", pan_px) for pan_px in (0, PAN_PX)}


@pytest.mark.parametrize("pan_px", [0, PAN_PX])
def test_every_frame_has_the_motion_from_the_reference(clips, pan_px) -> None:
    subjects = (photo_subject(),)
    motion = motion_of(clips[pan_px], subjects, list(range(COUNT)))
    assert motion.frames == tuple(range(COUNT))
    assert motion.field.flow.shape[0] == motion.masks.shape[0] == len(motion.camera) == COUNT
    scale = 24 / 16
    for index in range(COUNT):
        dx, dy = mean_motion(motion, subjects, index)
        assert dx == pytest.approx(STEP_PX * scale * index, abs=0.6 + 0.04 * STEP_PX * scale * index)
        assert abs(dy) < 1
    assert not retargeted(motion, subjects, 0).flow.any()
    assert not retargeted(motion, subjects, 4).flow[:, :, subjects[0].mask[0] == 0].any()


def test_the_camera_may_stay_in_the_motion(clips) -> None:
    subjects = (photo_subject(),)
    motion = motion_of(clips[PAN_PX], subjects, [COUNT - 1], camera="keep")
    dx, _ = mean_motion(motion, subjects, 0)
    assert dx == pytest.approx((STEP_PX - PAN_PX) * (COUNT - 1) * 1.5, rel=0.12)
    assert torch.equal(motion.camera[0], torch.eye(3))


def test_the_camera_is_laid_over_the_photo(clips) -> None:
    motion = motion_of(clips[PAN_PX], (photo_subject(),), [COUNT - 1], camera="photo")
    moved = camera_on_photo(motion, 0, PHOTO)
    assert moved[0, 2] == pytest.approx(-PAN_PX * (COUNT - 1) * PHOTO[1] / SIZE[1], abs=0.8)
    assert abs(float(moved[1, 2])) < 0.8


def test_frames_before_the_reference_move_the_other_way(clips) -> None:
    subjects = (photo_subject(),)
    motion = motion_of(clips[0], subjects, [0, 3, 6], 3)
    found = [mean_motion(motion, subjects, index)[0] for index in range(3)]
    assert found[0] == pytest.approx(-found[2], abs=2)
    assert found[1] == 0
    assert found[2] == pytest.approx(3 * STEP_PX * 1.5, rel=0.1)


def test_the_reference_is_the_frame_that_looks_like_the_photo(tmp_path) -> None:
    """A disc that grows into an upright ellipse, and the photo's subject is as upright as in the middle."""
    ground, frames = 0.4 * noise(*SIZE, 0), []
    for t in range(COUNT):
        mask = ball(SIZE, 60 + 4 * t, 48, 22 - 2 * t, 14 + 4 * t)
        frames.append(ground * (1 - mask) + mask * (0.3 + 0.7 * noise(*SIZE, 3).roll(4 * t, 2)))
    write_video(torch.stack(frames), tmp_path / "grows.mp4", 12)
    photo = subject_from_mask(torch.zeros(3, *PHOTO), ball(PHOTO, 100, 60, 14 * 1.2, 30 * 1.2))
    motion = motion_of(tmp_path / "grows.mp4", (photo,), list(range(COUNT)), None)
    assert motion.reference in (3, 4, 5)
    assert not motion.field.flow[motion.reference].any()


@pytest.mark.slow
def test_two_subjects_pair_in_order(tmp_path) -> None:
    clip = film(tmp_path / "two.mp4", 0, ((40, 30, 6, 0), (110, 50, 0, 3)))
    subjects = photo_subject(50, 60, 16), photo_subject(140, 60, 16)
    named = motion_of(clip, subjects, [COUNT - 1], clip_subject="110,50;40,30")
    assert mean_motion(named, subjects, 0, 0)[1] == pytest.approx(18, abs=2.5)
    assert mean_motion(named, subjects, 0, 1)[0] == pytest.approx(36, abs=4)
    found = motion_of(clip, subjects, [COUNT - 1])
    assert mean_motion(found, subjects, 0, 0)[0] == pytest.approx(36, abs=4)  # what moves most comes first
    assert mean_motion(found, subjects, 0, 1)[1] == pytest.approx(18, abs=2.5)
    second = motion_of(clip, subjects[:1], [COUNT - 1], clip_subject="2")
    assert mean_motion(second, subjects[:1], 0, 0)[1] == pytest.approx(18, abs=2.5)
    with pytest.raises(InputError, match="--clip-subject: 1 for 2 of the photo"):
        motion_of(clip, subjects, [COUNT - 1], clip_subject="110,50")


def test_a_subject_that_is_named_in_a_later_frame_is_followed_back_to_the_start(clips) -> None:
    """A ball of 16 px at 50 in frame 0 is at 65 in frame 3, and nothing is at 50 - 16 then."""
    subjects = (photo_subject(),)
    first = motion_of(clips[0], subjects, [COUNT - 1], clip_subject="50,48")
    later = motion_of(clips[0], subjects, [COUNT - 1], clip_subject="65,48", clip_subject_at="3")
    assert likeness(first.subjects[0].mask, later.subjects[0].mask) > 0.8
    assert centroid(later.subjects[0].mask)[0] == pytest.approx(50 * later.field.size[1] / SIZE[1], rel=0.08)
    with pytest.raises(InputError, match="clip position"):
        motion_of(clips[0], subjects, [COUNT - 1], clip_subject="65,48", clip_subject_at="x")


def test_strength_and_its_mask_multiply(clips) -> None:
    subjects = (photo_subject(),)
    motion = motion_of(clips[0], subjects, [4])
    whole = retargeted(motion, subjects, 0).flow
    grey = torch.zeros(1, *PHOTO)
    grey[:, :, :100] = 0.5
    torch.testing.assert_close(retargeted(motion, subjects, 0, strength=-2).flow, -2 * whole)
    torch.testing.assert_close(retargeted(motion, subjects, 0, strength_mask=grey).flow, whole * grey)


def test_motion_that_folds_the_subject_is_smoothed_and_said(clips) -> None:
    subjects, calls = (photo_subject(),), []
    motion = motion_of(clips[0], subjects, [4])
    retargeted(motion, subjects, 0, max_stretch=MOST_STRETCH, on_smoothed=lambda: calls.append("smoothed"))
    assert not calls
    flow = motion.field.flow
    x = torch.arange(flow.shape[-1]).expand(flow.shape[-2:])
    waves = torch.stack([5 * torch.sin(x / 1.2), 0.0 * x])
    wavy = replace(motion, field=FlowField(flow + waves, motion.field.confidence))
    found = [
        retargeted(wavy, subjects, 0, max_stretch=most, on_smoothed=lambda: calls.append("smoothed")).flow
        for most in (0.0, MOST_STRETCH)
    ]
    before, after = (stretched_fraction(each, subjects[0].mask) for each in found)
    assert before > 0.3
    assert after <= LEFT
    assert calls == ["smoothed"]


def test_a_second_reading_comes_from_the_cache(clips, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MTRANSFER_CACHE", str(tmp_path))
    subjects = (photo_subject(),)
    first = motion_of(clips[0], subjects, [2, 4])
    files = sorted(path.name for path in tmp_path.rglob("*.safetensors"))
    monkeypatch.setattr(clip_motion, "track", lambda *given, **options: pytest.fail("tracked again"))
    monkeypatch.setattr(clip_motion, "moving_subjects", lambda *given: pytest.fail("segmented again"))
    second = motion_of(clips[0], subjects, [2, 4])
    assert torch.equal(first.field.flow, second.field.flow)
    assert torch.equal(first.masks, second.masks)
    assert torch.equal(first.subjects[0].mask, second.subjects[0].mask)
    assert sorted(path.name for path in tmp_path.rglob("*.safetensors")) == files
    assert {path.parent.name for path in tmp_path.rglob("*.safetensors")} == {
        "clipsubject",
        "links",
        "longflow",
        "shots",
    }


def test_a_mask_file_that_has_changed_is_read_anew(clips, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MTRANSFER_CACHE", str(tmp_path))
    found = []
    for radius in (14, 20):
        save_png(ball((96, 160), 60, 48, radius, radius).expand(3, -1, -1), tmp_path / "mask.png")
        motion = motion_of(clips[0], (photo_subject(),), [2], clip_subject=str(tmp_path / "mask.png"))
        found.append(float(motion.subjects[0].mask.sum()))
    assert found[1] > 1.5 * found[0]


def leaning(towards: int) -> Tensor:
    """A mask of a tall thing with a foot to the right (1) or to the left (-1)."""
    mask = torch.zeros(1, *PHOTO)
    mask[:, 30:90, 90:110] = 1
    mask[:, 75:90, 60:140] = 1
    mask[:, :, 110:] *= towards > 0
    mask[:, :, :90] *= towards < 0
    return mask


@pytest.mark.parametrize(
    ("towards", "mirror", "mirrored"), [(-1, None, True), (-1, True, True), (-1, False, False), (1, None, False)]
)
def test_a_photo_that_faces_the_other_way_is_mirrored(towards, mirror, mirrored, clips, tmp_path, capsys) -> None:
    save_mask = F.interpolate(leaning(1)[None], SIZE, mode="nearest")[0]
    save_png(save_mask.expand(3, -1, -1), tmp_path / "leaning.png")
    photo = subject_from_mask(torch.zeros(3, *PHOTO), leaning(towards))
    motion = motion_of(clips[0], (photo,), [1], clip_subject=str(tmp_path / "leaning.png"), mirror=mirror)
    assert motion.mirror is mirrored
    assert ("--no-mirror" in capsys.readouterr().err) is (mirrored and mirror is None)


def test_frames_across_a_cut_are_refused(tmp_path) -> None:
    there = film(tmp_path / "a.mp4")
    frames = ClipReader(there).read(range(COUNT))
    other = torch.tensor([1.0, 0.3, 0.2]).view(3, 1, 1) * noise(*SIZE, 9)
    write_video(torch.cat([frames, other.expand(COUNT, -1, -1, -1)]), tmp_path / "cut.mp4", 12)
    with pytest.raises(InputError, match="--shot N"):
        motion_of(tmp_path / "cut.mp4", (photo_subject(),), [COUNT + 2])


def test_between_far_frames_only_some_are_read() -> None:
    assert between([3, 1]) == [1, 2, 3]
    far = between([0, 100, 4])
    assert far[:5] == [0, 1, 2, 3, 4]
    assert len(far) == 5 + MOST_LINKS
    assert far[-1] == 100
    assert far == sorted(set(far))


@pytest.mark.slow
@pytest.mark.parametrize("pair", [(32, 42), (0, 12)])
def test_a_cup_in_a_hand_moves_and_the_plain_wall_behind_it_does_not(pair: tuple[int, int]) -> None:
    """The clip of the README, whose wall has nothing to see motion by."""
    clip = Path(__file__).parents[2] / "samples" / "cup.mp4"
    motion = motion_of(clip, (photo_subject(),), [pair[1]], pair[0], flow_model="embedded", preset="fast")
    mask = motion.subjects[0].mask
    cup = {32: (30, 150), 0: (125, 200)}[pair[0]]  # columns of 256
    assert float(mask[..., : mask.shape[-2] // 4, :].mean()) < 0.02  # wall alone up there, and the cup's lid
    assert 0.05 < float(mask.mean()) < 0.3
    assert float(mask[..., cup[0] : cup[1]].mean()) > 0.1
