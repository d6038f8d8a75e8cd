"""Train the embedded flow net: torchvision's raft_small on composites with known motion.

A quarter of the samples starts from a rough first guess, as the finer levels of the coarse-to-fine pass do. The last
part of the training counts the last pixel most, because flow is trusted only where forward and backward agree to a
fraction of a pixel.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models.optical_flow import raft_small

from mtransfer.raft import encode_source, refine
from training.compose import Motion, compose, jitter
from training.images import ImageBank, load_bank
from training.trainer import ROOT, Plan, device, draw_curve, train

SIZE_PX, UPDATES, GAMMA = 128, 6, 0.8
MOTION = Motion(shift=0.25, small=2.5, turn_deg=7.0, zoom=0.06, bend=0.006)
ROBUST_SHARE = 0.7  # of the steps, from which the robust loss counts
WEIGHTS = Path("mtransfer/weights/flow")


def batches(bank: ImageBank, batch: int, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Frames float32[B,3,128,128] in [0,1], twice, and the flow float32[B,2,128,128] in pixels."""
    rng = np.random.default_rng(seed)
    while True:
        samples = [_sample(rng, bank) for _ in range(batch)]
        first, second, third = (torch.stack(part).to(device()) for part in zip(*samples, strict=True))
        yield first, second, third


def _sample(rng: Generator, bank: ImageBank) -> tuple[Tensor, ...]:
    motion = replace(MOTION, bend=MOTION.bend * rng.choice([0.0, 1.0, 2.0]))
    scene = compose(rng, bank, SIZE_PX, int(rng.integers(1, 4)), motion)
    second = jitter(rng, scene.after)
    if rng.random() < 0.25:  # pictures a sampler makes on its way are smooth and slightly wrong
        second = cv2.GaussianBlur(second, (0, 0), rng.uniform(0.8, 2.0))
        second = second + rng.normal(0, 0.02, second.shape)
    arrays = jitter(rng, scene.before), second.clip(0, 1), scene.flow
    return tuple(torch.from_numpy(np.ascontiguousarray(a, np.float32)).permute(2, 0, 1) for a in arrays)


def first_guess(flow: Tensor) -> Tensor:
    """The true flow in cells with smooth errors, on a quarter of the batch; zero on the rest.

    The errors are up to a cell and more: small ones teach the net to trust its first guess and stop looking.
    """
    cells = F.interpolate(flow, scale_factor=1 / 8, mode="area") / 8
    errors = F.interpolate(torch.randn(len(flow), 2, 4, 4, device=flow.device), cells.shape[-2:], mode="bicubic")
    kept = (torch.rand(len(flow), 1, 1, 1, device=flow.device) < 0.25).float()
    return kept * (cells + torch.rand_like(kept) * errors)


def sequence_loss(flows: list[Tensor], truth: Tensor, *, robust: bool) -> Tensor:
    """RAFT's loss: later updates weigh more; displacements above the picture's side do not count."""
    valid = (truth.norm(dim=1) < SIZE_PX).float()
    weights = [GAMMA ** (len(flows) - 1 - i) for i in range(len(flows))]
    losses = [(valid * _error(flow - truth, robust)).mean() for flow in flows]
    return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum()


def _error(difference: Tensor, robust: bool) -> Tensor:
    return (difference.norm(dim=1) + 0.05).sqrt() if robust else difference.abs().mean(dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6400)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    net = raft_small(weights=None, progress=False).to(device())
    bank, resumed = load_bank(ROOT / "images" / "train"), (ROOT / "flow" / "last.pt").exists()
    source = batches(bank, options.batch, seed=int(resumed))

    def loss_of(step: int) -> Tensor:
        first, second, flow = next(source)
        flows = refine(net, encode_source(net, first), second, UPDATES, first_guess(flow))
        return sequence_loss(flows, flow, robust=step >= ROBUST_SHARE * options.steps)

    train(Plan("flow", options.steps, 6e-4), net, loss_of)
    export(net)


def export(net: torch.nn.Module) -> None:
    """Write the weights as float16 safetensors, with the learning curve beside them."""
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in net.state_dict().items()}, WEIGHTS / "raft_small.safetensors")
    draw_curve("flow", WEIGHTS / "curve.png")


if __name__ == "__main__":
    main()
