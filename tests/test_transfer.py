"""The jobs, from files to a moved photo, judged by a flow estimator that has no part in them."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtransfer.clip import write_video
from mtransfer.flow import DisFlow, estimate
from mtransfer.photo import read_photo
from mtransfer.recipe import EditRecipe, TransferRecipe
from mtransfer.transfer import TransferOutput, edit, model_size, transfer

SAMPLES = Path(__file__).parent.parent / "samples"
CLIP_SIZE, SQUARE_PX, STEP_PX, FRAMES = (256, 320), 90, 18, 3
RIGHT, DOWN = (1, 0), (0, 1)


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


def clip_of_a_square(path: Path, pan_px: int) -> Path:
    """A textured square goes right for two frames, then down for two, while the camera pans to the left."""
    height, width = CLIP_SIZE
    ground = 0.6 * texture(height, width + 160, seed=1, cell_px=10)
    square = 0.4 + 0.6 * texture(SQUARE_PX, SQUARE_PX, seed=2, cell_px=6)
    frames, x, y = [], 70, 50
    for index in range(2 * FRAMES - 1):
        frame = ground[:, :, 160 - pan_px * index : 160 - pan_px * index + width].clone()
        frame[:, y : y + SQUARE_PX, x + pan_px * index : x + pan_px * index + SQUARE_PX] = square
        frames.append(frame)
        x, y = (x + STEP_PX, y) if index < FRAMES - 1 else (x, y + STEP_PX)
    write_video(torch.stack(frames), path, 12)
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {name: clip_of_a_square(folder / f"{name}.mp4", pan) for name, pan in {"still": 0, "panning": 8}.items()}


def moved_by(clip: Path, pair: str) -> TransferOutput:
    photo = SAMPLES / "wooden_bird.jpg"
    given = {"clip": clip, "photo": photo, "pair": pair, "preset": "draft", "device": "cpu"}
    return transfer(TransferRecipe.build(given, []))


@pytest.mark.parametrize("camera", ["still", "panning"])
@pytest.mark.parametrize(("pair", "towards"), [("0:2", RIGHT), ("2:4", DOWN)])
def test_the_photos_subject_moves_as_the_clips(clips, camera, pair, towards) -> None:
    output = moved_by(clips[camera], pair)
    inside = output.subject.mask[0] > 0.5
    motion = output.flow.flow[0][:, inside].mean(dim=1)
    direction = torch.tensor(towards, dtype=torch.float32)
    away_deg = torch.rad2deg(torch.arccos(torch.dot(motion / motion.norm(), direction)))
    ratio = float(output.subject.mask.sum()) ** 0.5 / SQUARE_PX
    assert away_deg < 10
    assert motion.norm() == pytest.approx(2 * STEP_PX * ratio, rel=0.15)


@pytest.mark.slow
def test_the_default_pair_is_the_liveliest(clips) -> None:
    output = moved_by(clips["still"], "")
    motion = output.flow.flow[0][:, output.subject.mask[0] > 0.5].mean(dim=1)
    assert (motion > 0).all()  # from the first frame to the last: right and down


@pytest.mark.parametrize(
    ("size", "long_side", "wanted"),
    [
        ((480, 640), 256, (192, 256)),
        ((480, 640), 512, (384, 512)),
        ((640, 480), 256, (256, 192)),
        ((100, 1000), 256, (128, 256)),
        ((333, 333), 512, (512, 512)),
    ],
)
def test_model_sizes(size, long_side, wanted) -> None:
    assert model_size(size, long_side) == wanted
