"""Frames come from the photo itself: after a long way the subject is back where it was."""

import math
from pathlib import Path

import pytest
from pictures import save_picture
from torch import Tensor

from benchmarks.rendering import Scene, affine_about, draw, load_actor, load_background, posed
from mtransfer.flow.estimator import DisFlow, estimate
from mtransfer.jobs.animation.animate import Animation, animate
from mtransfer.media.video_writer import write_video

PICTURES = Path(__file__).parents[2] / "benchmarks" / "pictures"
SIZE, FRAMES = (192, 256), 120


def scene(actor: str, background: str, height_share: float) -> Scene:
    ground = load_background(PICTURES / background)
    scale = 1.05 * max(SIZE[0] / ground.shape[2], SIZE[1] / ground.shape[3])
    cut_out = load_actor(PICTURES / actor, shadow=False)
    zoom = height_share * SIZE[0] / cut_out.area_px**0.5
    return Scene(
        SIZE, ground, affine_about((0.0, 0.0), 0.0, (scale, scale)), (posed(cut_out, (115, 98), zoom, 0, False),)
    )


@pytest.fixture(scope="module")
def swinging(tmp_path_factory) -> Path:
    """clip.mp4, in which a hen swings out, turns, grows and comes back; photo.png and mask.png of a ladybird."""
    folder = tmp_path_factory.mktemp("swinging")
    stage = scene("photographs/hen.png", "photographs/meadow.jpg", 0.36)
    frames = []
    for index in range(FRAMES):
        phase = 2 * math.pi * index / (FRAMES - 1)
        out = math.sin(phase / 2) ** 2
        turn_deg, zoom, shift_px = 14 * math.sin(phase), 1 + 0.12 * out, (34 * out, -14 * math.sin(phase))
        move = affine_about(stage.actors[0].centroid_xy, turn_deg, (zoom, zoom), shift_px)
        frames.append(draw(stage, [[move]]).image[0])
    write_video(frames, folder / "clip.mp4", 24)
    still = draw(scene("drawings/ladybug.png", "drawings/lake.jpg", 0.4), [[]])
    save_picture(folder / "photo.png", still.image[0])
    save_picture(folder / "mask.png", still.mask[0].expand(3, -1, -1))
    return folder


@pytest.fixture(scope="module", params=[(0, ""), (4, "0::7")], ids=["draft", "sampled"])
def made(request, swinging) -> Animation:
    """All frames as drafts, or some of them sampled; the last is frame 119 either way."""
    steps, frames = request.param
    photo, mask, clip = (swinging / name for name in ("photo.png", "mask.png", "clip.mp4"))
    sampler = {"steps": steps, "flow_updates": 1}
    return animate(clip=clip, photo=photo, subject=str(mask), frames=frames, preset="fast", sampler=sampler)


def inside(made: Animation) -> Tensor:
    return made.subjects[0].mask > 0.5


def seen_at_the_end(made: Animation) -> Tensor:
    """The flow that DIS sees from the photo to the last frame."""
    return estimate(DisFlow(), made.frames[:1], made.frames[-1:])


@pytest.mark.slow
def test_painting_adds_no_drift_to_the_motion_read(made) -> None:
    assert made.recipe.frames in ("0:120:1", "0:120:7")
    moved_px = made.flow.flow.norm(dim=1, keepdim=True)[:, inside(made)].mean(dim=1)
    assert moved_px[len(moved_px) // 2] > 20
    gap_px = (seen_at_the_end(made) - made.flow.flow[-1:]).norm(dim=1)[inside(made)]
    assert float(gap_px.median()) < 1
    assert made.metrics["flicker_255"] <= 2


@pytest.mark.slow
def test_a_clip_that_returns_to_its_start_returns_the_subject(made) -> None:
    drift_px = seen_at_the_end(made).norm(dim=1)[inside(made)]
    assert float(drift_px.mean()) < 2
