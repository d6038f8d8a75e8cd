"""Train the embedded flow net: raft_small with learned upsampling, on composites with known motion.

A quarter of the samples starts from a rough first guess, as the finer levels of the coarse-to-fine pass do. The last
part of the training counts the last pixel most, because flow is trusted only where forward and backward agree to a
fraction of a pixel.
"""

import argparse
from functools import partial
from pathlib import Path

import cv2
import torch
import torch.nn.functional as F
from numpy.random import Generator
from safetensors.torch import load_file, save_file
from torch import Tensor

from mtransfer.flow.raft import build_raft, encode_source, enlarge, refine
from training.compose import Motion, compose, jitter
from training.images import ImageBank, load_bank
from training.trainer import ROOT, Plan, as_tensor, batches, device, draw_curve, stream, train

UPDATES, GAMMA = 6, 0.8
SHAPES = ((128, 1, 1.0), (96, 2, 0.5), (192, 1, 0.5), (128, 2, 0.25))  # side in px, enlarged, share of the batch
MOTIONS = (
    Motion(shadows=0.3),
    Motion(shift=0.25, small=2.5, turn_deg=7.0, zoom=0.06, bend=0.006, patches=0.5, shadows=0.3),
    Motion(shift=0.15, small=2.5, turn_deg=2.0, zoom=0.02, bend=0.0, patches=0.7, parallax=0.08, camera_still=0.0),
)
ROBUST_SHARE = 0.7  # of the steps, from which the robust loss counts
WEIGHTS = Path("mtransfer/weights/flow")
START = WEIGHTS / "embedded.safetensors"


def sample(rng: Generator, bank: ImageBank, size: int, enlarged: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two frames float32[3,S,S] in [0,1] and the flow float32[2,S,S] in pixels, S = size * enlarged."""
    scene = compose(rng, bank, size, int(rng.integers(1, 4)), MOTIONS[rng.integers(len(MOTIONS))])
    second = jitter(rng, scene.after)
    if rng.random() < 0.25:  # pictures a sampler makes on its way are smooth and slightly wrong
        second = cv2.GaussianBlur(second, (0, 0), rng.uniform(0.8, 2.0))
        second = second + rng.normal(0, 0.02, second.shape)
    frames = as_tensor(jitter(rng, scene.before)), as_tensor(second.clip(0, 1))
    first_frame, second_frame = (enlarge(frame[None], enlarged)[0] for frame in frames)
    flow = F.interpolate(as_tensor(scene.flow)[None] * enlarged, scale_factor=enlarged, mode="nearest")[0]
    return first_frame, second_frame, flow


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
    valid = (truth.norm(dim=1) < truth.shape[-1]).float()
    weights = [GAMMA ** (len(flows) - 1 - i) for i in range(len(flows))]
    losses = [(valid * _error(flow - truth, robust)).mean() for flow in flows]
    return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum()


def _error(difference: Tensor, robust: bool) -> Tensor:
    return (difference.norm(dim=1) + 0.05).sqrt() if robust else difference.abs().mean(dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--fresh", action="store_true", help="not from the shipped weights")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    net = build_raft("embedded", None).train().requires_grad_(True).to(device())
    if START.exists() and not options.fresh:
        net.load_state_dict(load_file(START), strict=False)
    bank = load_bank(ROOT / "images" / "train")
    # Another stream after a stop, not the same one again.
    rng = stream("flow", options.steps)
    sources = [
        batches(partial(sample, rng, bank, size, enlarged), round(options.batch * share))
        for size, enlarged, share in SHAPES
    ]

    def loss_of(step: int) -> Tensor:
        first, second, flow = next(sources[step % len(sources)])
        flows = refine(net, encode_source(net, first), second, UPDATES, first_guess(flow))
        return sequence_loss([f.float() for f in flows], flow, robust=step >= ROBUST_SHARE * options.steps)

    train(Plan("flow", options.steps, options.learning_rate), net, loss_of)
    export(net)


def export(net: torch.nn.Module) -> None:
    """Write the weights as float16 safetensors, with the learning curve beside them."""
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in net.state_dict().items()}, WEIGHTS / "embedded.safetensors")
    draw_curve("flow", WEIGHTS / "curve.png")


if __name__ == "__main__":
    main()
