"""The figures of a fill: the truth is as good as the truth, a blur has no texture, a flat patch has a border."""

import torch

from benchmarks.inpainting import blot, measured, telea


def test_the_truth_is_as_good_as_the_truth_and_a_blur_is_not() -> None:
    truth = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    hole = blot(truth, 0.5, 0.5, 0.2, 0.2, seed=3)
    assert 0.1 < float(hole.mean()) < 0.15
    energy, step, psnr_db = measured(truth, truth, hole)
    assert (energy, step, psnr_db) == (1.0, 1.0, float("inf"))
    smooth = measured(telea(truth * (1 - hole), hole), truth, hole)
    assert smooth[0] < 0.3
    assert 5 < smooth[2] < 20
    flat = measured(torch.where(hole > 0, torch.tensor(1.0), truth), truth, hole)
    assert flat[0] == 0
    assert flat[1] > 1.1
