"""Train the embedded denoiser: a UNet on folded pixels that betters a draft, or paints where nothing is known.

Input channels, in the order of Stable Diffusion's inpainting nets: 48 of the noised picture, 1 of the mask (1 = may
change), 48 of the surroundings: inside the mask these are the sampler's draft, or grey. It predicts what to add to
them to get the clean picture, so with a draft it starts as good as the draft. The truth of a place that a cut-out left
is what lies behind it, never another cut-out.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DModel
from numpy.random import Generator
from torch import Tensor

from mtransfer.flow.interpolate import fill_motion
from mtransfer.sampling.autoencoder import AutoencoderSpaceToDepth
from mtransfer.sampling.composite import make_composite
from training.compose import Array, Motion, Scene, compose
from training.images import ImageBank, load_bank
from training.trainer import ROOT, Plan, as_tensor, batches, device, draw_curve, stream, train

SIZE_PX, BLOCK_PX = 128, 4
POOL, SHOWN = 256, 3
WEIGHTS = Path("mtransfer/weights/denoiser")
SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "sample",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def build() -> UNet2DModel:
    latent = 3 * BLOCK_PX**2
    return UNet2DModel(
        sample_size=SIZE_PX // BLOCK_PX,
        in_channels=2 * latent + 1,
        out_channels=latent,
        block_out_channels=(96, 160, 224),
        layers_per_block=2,
        norm_num_groups=16,
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        add_attention=False,
    )


@dataclass(frozen=True)
class Case:
    """One training example: pictures float32[H,W,3] in [0,1], masks [H,W], the highest noise level of 1000."""

    truth: Array
    surround: Array
    start: Array  # what is noised and given
    hole: Array
    highest_t: int = 1000


def samples(rng: Generator, bank: ImageBank) -> Iterator[tuple[Tensor, ...]]:
    """Truth, surround and start float32[3,H,W] in [-1,1], hole float32[1,H,W], and t; endless.

    Making a case costs as much as learning from it, so each is shown about `SHOWN` times, mirrored or not, noised anew.
    """
    pool: list[Case] = []
    while True:
        place = int(rng.integers(POOL))
        if place >= len(pool):
            pool.append(make_case(rng, bank))
            place = -1
        elif rng.random() < 1 / SHOWN:
            pool[place] = make_case(rng, bank)
        yield _noised(rng, pool[place])


def _noised(rng: Generator, case: Case) -> tuple[Tensor, ...]:
    # Low and middle noise most of the time: that is where the sampler works.
    t = torch.tensor(int(case.highest_t * rng.random() ** 1.5))
    mirror = int(rng.choice([-1, 1]))
    pictures = (as_tensor(2 * array[:, ::mirror] - 1) for array in (case.truth, case.surround, case.start))
    return *pictures, as_tensor(case.hole[:, ::mirror, None]), t


def make_case(rng: Generator, bank: ImageBank) -> Case:
    """A draft to be bettered, a hole with nothing in it, or no surroundings at all."""
    kind = rng.random()
    scene = compose(rng, bank, SIZE_PX, 1, Motion(camera_still=1.0, shift=0.3))
    if kind < 0.75:
        return _drafted(rng, scene)
    if kind < 0.9:
        return _unknown(_grown(rng, np.maximum(scene.source, scene.target) > 0.05), scene.after)
    return _unknown(np.ones_like(scene.source), scene.after)


def _drafted(rng: Generator, scene: Scene) -> Case:
    """The sampler's own draft to be bettered: a mask that is not quite right, at times a flow that is not.

    Where the cut-out was, the noised picture holds the draft, as when the sampler starts from it: a net that has seen
    some truth in the noise there goes on to find things in it. The moved cut-out may be the truth: that is where
    guidance writes what it wants, but only at noise low enough to show it.
    """
    subject = (scene.source > 0.5).astype(np.float32)
    if not subject.any():
        return _unknown(scene.source, scene.after)
    before, flow, known = (as_tensor(array)[None] for array in (scene.before, scene.flow, subject[..., None]))
    flow, truthful = fill_motion(flow, known), rng.random() < 0.5  # the mask's faults reach beyond the cut-out
    if truthful:
        error = rng.normal(0, 0.1 * np.abs(scene.flow).max(), (3, 3, 2)).astype(np.float32)
        flow = flow + as_tensor(cv2.resize(error, scene.flow.shape[1::-1], interpolation=cv2.INTER_CUBIC))[None]
    mask = as_tensor((_faulty(rng, subject) if rng.random() < 0.6 else subject)[..., None])[None]
    draft = make_composite(before, flow * mask, mask)
    image, edit, vacated = (
        part[0].permute(1, 2, 0).numpy().clip(0, 1) for part in (draft.image, draft.edit, draft.vacated)
    )
    start = np.where(vacated > 0, image, scene.after) if truthful else image
    return Case(scene.after, image, start, (edit[..., 0] > 0).astype(np.float32), 500 if truthful else 1000)


def _faulty(rng: Generator, mask: Array) -> Array:
    """A mask too large, too small or beside its place, by up to 3 pixels."""
    reach, fault = int(rng.integers(1, 4)), rng.random()
    if fault < 0.3:
        return np.roll(mask, rng.integers(-reach, reach + 1, 2), (0, 1))
    width = np.ones((2 * reach + 1,) * 2)
    worse = cv2.dilate(mask, width) if fault < 0.65 else cv2.erode(mask, width)
    return worse if worse.any() else mask


def _unknown(hole: Array, truth: Array) -> Case:
    """Nothing known in the hole but what the noise shows."""
    hole = hole.astype(np.float32)
    return Case(truth, np.where(hole[..., None] > 0, 0.5, truth), truth, hole)


def _grown(rng: Generator, mask: Array) -> Array:
    width = int(rng.integers(1, 8)) * 2 + 1
    return cv2.dilate(mask.astype(np.float32), np.ones((width, width)))


def loss_of_batch(unet: UNet2DModel, scheduler: DDIMScheduler, batch: tuple[Tensor, ...]) -> Tensor:
    """L1 between the predicted and the true picture and between their gradients, in the hole alone.

    Around the hole the sampler takes what is known, so the net need not learn to copy it.
    """
    truth, filled, start, mask, t = batch
    vae = AutoencoderSpaceToDepth(BLOCK_PX)
    cells = F.max_pool2d(mask, BLOCK_PX)
    hole = F.interpolate(cells, scale_factor=BLOCK_PX, mode="nearest")
    surround, z = (vae.encode(x).latent_dist.mode() for x in (filled, start))
    noised = scheduler.add_noise(z, torch.randn_like(z), t)
    added = unet(torch.cat([noised, cells, surround], dim=1), t).sample.float()
    error = hole * (vae.decode(surround + added).sample - truth)
    area = 3 * hole.sum(dim=(1, 2, 3)).clamp_min(16)
    total = error.abs().sum(dim=(1, 2, 3))
    slopes = error.diff(dim=-1).abs().sum(dim=(1, 2, 3)) + error.diff(dim=-2).abs().sum(dim=(1, 2, 3))
    return ((total + 0.5 * slopes) / area).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=4e-4)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    unet, scheduler = build().to(device()), DDIMScheduler(**SCHEDULER)
    bank = load_bank(ROOT / "images" / "train")
    # Another stream after a stop, not the same one again.
    rng = stream("denoiser", options.steps)
    source = batches(partial(next, samples(rng, bank)), options.batch)
    train(
        Plan("denoiser", options.steps, options.learning_rate),
        unet,
        lambda step: loss_of_batch(unet, scheduler, next(source)),
    )
    export(unet)


def export(unet: UNet2DModel) -> None:
    """Write a diffusers pipeline folder: float16 UNet, space-to-depth autoencoder, scheduler; and the curve."""
    unet.half().save_pretrained(WEIGHTS / "unet")
    AutoencoderSpaceToDepth(BLOCK_PX).save_pretrained(WEIGHTS / "vae")
    DDIMScheduler(**SCHEDULER).save_pretrained(WEIGHTS / "scheduler")
    draw_curve("denoiser", WEIGHTS / "curve.png")


if __name__ == "__main__":
    main()
