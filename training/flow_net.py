"""Train the embedded flow net: torchvision's raft_small on composites with known motion.

Half of the samples start from a rough first guess, as each level of the coarse-to-fine pass does.
"""

import argparse
from collections.abc import Iterator
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
WEIGHTS = Path("mtransfer/weights/flow")


def batches(bank: ImageBank, batch: int, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Frames float32[B,3,128,128] in [0,1], twice, and the flow float32[B,2,128,128] in pixels."""
    rng = np.random.default_rng(seed)
    while True:
        samples = [_sample(rng, bank) for _ in range(batch)]
        first, second, third = (torch.stack(part).to(device()) for part in zip(*samples, strict=True))
        yield first, second, third


def _sample(rng: Generator, bank: ImageBank) -> tuple[Tensor, ...]:
    motion = Motion(bend=rng.choice([0.0, 0.01, 0.03]))
    scene = compose(rng, bank, SIZE_PX, int(rng.integers(1, 4)), motion)
    second = jitter(rng, scene.after)
    if rng.random() < 0.25:  # pictures a sampler makes on its way are smooth and slightly wrong
        second = cv2.GaussianBlur(second, (0, 0), rng.uniform(0.8, 2.0))
        second = second + rng.normal(0, 0.02, second.shape)
    arrays = jitter(rng, scene.before), second.clip(0, 1), scene.flow
    return tuple(torch.from_numpy(np.ascontiguousarray(a, np.float32)).permute(2, 0, 1) for a in arrays)


def first_guess(flow: Tensor) -> Tensor:
    """The true flow in cells with smooth errors of a few pixels, on half of the batch; zero on the rest."""
    cells = F.interpolate(flow, scale_factor=1 / 8, mode="area") / 8
    errors = F.interpolate(torch.randn(len(flow), 2, 4, 4, device=flow.device), cells.shape[-2:], mode="bicubic")
    kept = (torch.rand(len(flow), 1, 1, 1, device=flow.device) < 0.5).float()
    return kept * (cells + 0.4 * torch.rand_like(kept) * errors)


def sequence_loss(flows: list[Tensor], truth: Tensor) -> Tensor:
    """RAFT's loss: later updates weigh more; displacements above the picture's side do not count."""
    valid = (truth.norm(dim=1, keepdim=True) < SIZE_PX).float()
    weights = [GAMMA ** (len(flows) - 1 - i) for i in range(len(flows))]
    return torch.stack([w * (valid * (f - truth).abs()).mean() for w, f in zip(weights, flows, strict=True)]).sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    net = raft_small(weights=None, progress=False).to(device())
    resumed = (ROOT / "flow" / "last.pt").exists()
    source = batches(load_bank(ROOT / "images" / "train"), options.batch, seed=int(resumed))

    def loss_of(_: int) -> Tensor:
        first, second, flow = next(source)
        features = encode_source(net, first)
        return sequence_loss(refine(net, features, second, UPDATES, first_guess(flow)), flow)

    train(Plan("flow", options.steps, 6e-4), net, loss_of)
    export(net)


def export(net: torch.nn.Module) -> None:
    """Write the weights as float16 safetensors, with the learning curve beside them."""
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in net.state_dict().items()}, WEIGHTS / "raft_small.safetensors")
    draw_curve("flow", WEIGHTS / "curve.png")


if __name__ == "__main__":
    main()
