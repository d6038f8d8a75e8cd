"""How the embedded weights are made: exact composites, samples that fit each net, runs that go on."""

from itertools import islice

import cv2
import numpy as np
import pytest
import torch
from numpy.random import default_rng
from torch import nn

from training import denoiser, flow_net, images, trainer
from training.compose import Motion, compose
from training.images import ImageBank


def photo(seed: int) -> np.ndarray:
    rough = default_rng(seed).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    return cv2.resize(rough, (800, 600), interpolation=cv2.INTER_CUBIC)


def cutout(seed: int) -> np.ndarray:
    """A textured disc with alpha."""
    picture = np.dstack([cv2.resize(photo(seed), (120, 120)), np.zeros((120, 120), np.uint8)])
    alpha = np.zeros((120, 120), np.uint8)
    cv2.circle(alpha, (60, 60), 55, 255, -1)
    picture[..., 3] = alpha
    return picture


@pytest.fixture(scope="module")
def bank() -> ImageBank:
    return ImageBank([photo(1), photo(2)], [cutout(3), cutout(4)])


MOTIONS = {
    "cut-outs": Motion(),
    "still": Motion(camera_still=1.0),
    "parallax and patches": Motion(parallax=0.08, patches=1.0, camera_still=0.0, bend=0.0),
}


@pytest.mark.parametrize("motion", MOTIONS.values(), ids=MOTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_the_flow_of_a_composite_leads_from_the_first_frame_to_the_second(bank, motion, seed) -> None:
    scene = compose(default_rng(seed), bank, 128, 1, motion)
    y, x = np.mgrid[:128, :128].astype(np.float32)
    ended = np.stack([x, y], -1) + scene.flow
    followed = cv2.remap(scene.after, ended[..., 0], ended[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    inside = ((ended > 2) & (ended < 125)).all(axis=-1)
    hidden = cv2.remap(scene.target, ended[..., 0], ended[..., 1], cv2.INTER_LINEAR) > 0.02
    edge = cv2.dilate(scene.source, np.ones((5, 5))) - cv2.erode(scene.source, np.ones((5, 5))) > 0.02
    counted = inside & ~edge & ((scene.source > 0.5) | ~hidden)
    assert np.abs(followed - scene.before)[counted].mean() < 0.03
    assert np.abs(scene.after - scene.before)[counted].mean() > 0.03 or motion.camera_still == 1.0


def test_composites_are_made_again_from_their_seed(bank) -> None:
    first, second = (compose(default_rng(5), bank, 128, 2, Motion()) for _ in range(2))
    assert np.array_equal(first.before, second.before)
    assert np.array_equal(first.flow, second.flow)


@pytest.mark.parametrize(("size", "enlarged"), [(128, 1), (64, 2)])
def test_what_the_flow_net_learns_from(bank, size, enlarged) -> None:
    rng = default_rng(0)
    first, second, flow = next(trainer.batches(lambda: flow_net.sample(rng, bank, size, enlarged), 3))
    assert first.shape == second.shape == (3, 3, 128, 128)
    assert flow.shape == (3, 2, 128, 128)
    assert flow.abs().max() > 4 * enlarged
    assert 0 <= float(first.min()) <= float(first.max()) <= 1
    torch.manual_seed(0)
    guesses = flow_net.first_guess(flow.repeat(20, 1, 1, 1)) * 8
    error = (guesses - nn.functional.avg_pool2d(flow.repeat(20, 1, 1, 1), 8)).abs().mean(dim=(1, 2, 3))
    assert 0.05 < ((guesses == 0).all(dim=3).all(dim=2).all(dim=1)).float().mean() < 0.95
    assert float(error.median()) > 0


def test_later_updates_weigh_more_and_the_robust_loss_minds_small_errors() -> None:
    truth = torch.zeros(1, 2, 16, 16)
    late, early = [truth, truth + 1], [truth + 1, truth]
    assert flow_net.sequence_loss(late, truth, robust=False) > flow_net.sequence_loss(early, truth, robust=False)
    small = [flow_net.sequence_loss([truth + 0.1], truth, robust=robust) for robust in (False, True)]
    assert small[1] > small[0]


def test_what_the_denoiser_learns_from(bank) -> None:
    truth, surround, start, hole, t = (
        torch.stack(part) for part in zip(*islice(denoiser.samples(default_rng(1), bank), 24), strict=True)
    )
    assert truth.shape == surround.shape == start.shape == (24, 3, 128, 128)
    assert set(hole.unique().tolist()) == {0.0, 1.0}
    assert 0 <= int(t.min()) < int(t.max()) < 1000
    outside = (hole == 0).expand_as(truth)
    # Around the hole the truth is known, but for the halo and shadow of a mask that is not quite right.
    assert (truth - surround)[outside].abs().mean() < 0.02
    unknown = (surround[:, :, 64, 64] == 0).all(dim=1) & (hole[:, 0, 64, 64] > 0)
    assert 0 < int(unknown.sum()) < 24


def test_the_denoisers_loss_is_least_for_the_truth(bank) -> None:
    source = denoiser.samples(default_rng(2), bank)
    batch = next(trainer.batches(lambda: next(source), 2))
    truth, surround, *_ = batch

    class Oracle(nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor):
            vae = denoiser.AutoencoderSpaceToDepth(denoiser.BLOCK_PX)
            wanted = vae.encode(truth).latent_dist.mode() - vae.encode(surround).latent_dist.mode()
            return type("Output", (), {"sample": wanted})

    class Nothing(nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor):
            return type("Output", (), {"sample": 0 * x[:, :48]})

    scheduler = denoiser.DDIMScheduler(**denoiser.SCHEDULER)
    assert denoiser.loss_of_batch(Oracle(), scheduler, batch) < 1e-5
    assert denoiser.loss_of_batch(Nothing(), scheduler, batch) > 1e-3


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


def run(steps: int, name: str = "line") -> float:
    model = Line()
    plan = trainer.Plan(name, steps, 0.05, warm_up=5, ema=0.9, save_every=10)
    trainer.train(plan, model, lambda step: (model.weight - 3).square().sum())
    return float(model.weight.detach())


@pytest.fixture
def empty_root(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "ROOT", tmp_path)
    return tmp_path


def test_a_run_learns_saves_and_draws_its_curve(empty_root) -> None:
    assert run(200) == pytest.approx(3, abs=0.3)
    trainer.draw_curve("line", empty_root / "curve.png")
    assert cv2.imread(str(empty_root / "curve.png")).shape == (320, 640, 3)


def test_a_run_goes_on_where_it_stopped(empty_root) -> None:
    whole = run(60, "whole")
    model = Line()
    plan = trainer.Plan("parts", 60, 0.05, warm_up=5, ema=0.9, save_every=10)

    def interrupted(step: int) -> torch.Tensor:
        if step == 37:
            raise KeyboardInterrupt
        return (model.weight - 3).square().sum()

    with pytest.raises(KeyboardInterrupt):
        trainer.train(plan, model, interrupted)
    assert run(60, "parts") == pytest.approx(whole, abs=1e-6)
    steps = [row.split(",")[0] for row in (empty_root / "parts" / "curve.csv").read_text().splitlines()]
    assert steps == ["10", "20", "30", "40", "50", "60"]


def test_pictures_are_sorted_shrunk_and_split_by_file(tmp_path) -> None:
    root = tmp_path / "root"
    for number in range(12):
        path = root / "usr/share/backgrounds" / f"photo{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.resize(photo(number), (1600, 1200)))
    stamps = root / "usr/share/tuxpaint/stamps/animals"
    stamps.mkdir(parents=True)
    for number in range(12):
        cv2.imwrite(str(stamps / f"stamp{number}.png"), cutout(number))
    cv2.imwrite(str(stamps / "stamp1_mirror.png"), cutout(1)[:, ::-1])
    images.prepare(root, tmp_path / "out")
    splits = {split: images.load_bank(tmp_path / "out" / split) for split in ("train", "heldout")}
    assert sum(len(each.photos) for each in splits.values()) == 12
    assert sum(len(each.cutouts) for each in splits.values()) == 12
    assert all(max(picture.shape[:2]) == 1400 for each in splits.values() for picture in each.photos)
    assert len(splits["train"].cutouts) > len(splits["heldout"].cutouts) > 0
    with pytest.raises(SystemExit, match="no prepared pictures"):
        images.load_bank(tmp_path / "absent")
