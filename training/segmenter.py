"""Train the embedded segmenter: the cut-out of a composite, by itself, or the one that a point or a box names."""

import argparse
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from numpy.random import Generator
from torch import Tensor

from mtransfer.subject.unet import HINTS, box_hint, build_segmenter, logits_of, point_hint
from training.compose import Array, Motion, compose, jitter
from training.images import ImageBank, load_bank
from training.trainer import ROOT, Plan, as_tensor, batches, device, draw_curve, stream, train

SIZE_PX = 128
WEIGHTS = Path("mtransfer/weights/segmenter")
STILL = Motion(camera_still=1.0, shift=0.0, turn_deg=0.0, zoom=0.0, bend=0.0, shadows=0.5)


def sample(rng: Generator, bank: ImageBank) -> tuple[Tensor, Tensor, Tensor]:
    """A picture float32[3,H,W] in [0,1], hints [2,H,W], and the mask [1,H,W] of what they mean."""
    scene = compose(rng, bank, SIZE_PX, 1, STILL)
    picture, mask = scene.before, scene.source
    if rng.random() < 0.4:
        picture = _camouflaged(rng, picture, mask)
    hints = torch.zeros(HINTS, SIZE_PX, SIZE_PX)
    kind = rng.random()
    if kind > 0.5:  # others beside it, which nothing but the hint tells from it
        picture, mask = _among_others(rng, bank, picture, mask)
    if kind > 0.5 and (mask > 0.5).any():
        hints = _hint(rng, mask)
    return as_tensor(_seen(rng, picture)), hints, as_tensor(mask[..., None])


def _camouflaged(rng: Generator, picture: Array, mask: Array) -> Array:
    """One side of the cut-out in the ground's mean colour: then texture and outline must tell."""
    rows, columns = np.nonzero(mask > 0.5)
    if not len(rows):
        return picture
    through, slope = rng.integers(len(rows)), rng.normal(0, 1, 2)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    part = mask * (slope[0] * (y - rows[through]) + slope[1] * (x - columns[through]) > 0)
    own = (picture * part[..., None]).sum(axis=(0, 1)) / max(1.0, part.sum())
    ground = picture[mask < 0.1].mean(axis=0) if (mask < 0.1).any() else own
    shifted = picture + part[..., None] * (ground - own) * rng.uniform(0.5, 1.0)
    return np.clip(shifted, 0, 1).astype(np.float32)


def _among_others(rng: Generator, bank: ImageBank, picture: Array, mask: Array) -> tuple[Array, Array]:
    other = compose(rng, bank, SIZE_PX, 1, STILL)
    above = rng.random() < 0.5
    alpha = other.source * (1 - mask) if above else other.source
    # The other scene's cut-out, over this one's ground.
    return picture * (1 - alpha[..., None]) + other.before * alpha[..., None], mask * (1 - alpha)


def _hint(rng: Generator, mask: Array) -> Tensor:
    """A point well inside the mask, or its box drawn by an unsteady hand."""
    hints, size = torch.zeros(HINTS, *mask.shape), (mask.shape[0], mask.shape[1])
    rows, columns = np.nonzero(mask > 0.5)
    if rng.random() < 0.6:
        depth = cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
        deep = np.argwhere(depth >= 0.3 * depth.max())
        y, x = deep[rng.integers(len(deep))]
        hints[0] = point_hint(size, float(x), float(y))
    else:
        slack = rng.normal(0, 0.03 * SIZE_PX, 4)
        box = np.array([columns.min(), rows.min(), columns.max(), rows.max()]) + slack
        hints[1] = box_hint(size, (float(box[0]), float(box[1]), float(box[2]), float(box[3])))
    return hints


def _seen(rng: Generator, picture: Array) -> Array:
    """As a camera and a file format leave it: blurred, noisy, compressed, so that no paste shows by its edge."""
    seen = jitter(rng, picture)
    if rng.random() < 0.5:
        seen = cv2.GaussianBlur(seen, (0, 0), rng.uniform(0.4, 1.0))
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))]
        coded = cv2.imencode(".jpg", (255 * seen).astype(np.uint8), quality)[1]
        seen = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.float32) / 255
    return seen


def loss_of_batch(net: UNet2DModel, batch: tuple[Tensor, ...]) -> Tensor:
    """Cross entropy and one minus the soft Dice coefficient (Milletari et al., 3DV 2016)."""
    picture, hints, mask = batch
    logits = logits_of(net, picture, hints).float()
    likely = torch.sigmoid(logits)
    both, each = (likely * mask).sum(dim=(1, 2, 3)), (likely + mask).sum(dim=(1, 2, 3))
    dice = (2 * both + 1) / (each + 1)
    return F.binary_cross_entropy_with_logits(logits, mask) + (1 - dice).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4600)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--learning-rate", type=float, default=6e-4)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    net = build_segmenter().to(device())
    rng = stream("segmenter", options.steps)
    source = batches(partial(sample, rng, load_bank(ROOT / "images" / "train")), options.batch)
    train(Plan("segmenter", options.steps, options.learning_rate), net, lambda step: loss_of_batch(net, next(source)))
    net.half().save_pretrained(WEIGHTS)
    draw_curve("segmenter", WEIGHTS / "curve.png")


if __name__ == "__main__":
    main()
