"""Train the embedded denoiser: a UNet on folded pixels that betters a smooth fill of a hole.

Input channels, in the order of Stable Diffusion's inpainting nets: 48 of the noised picture, 1 of the mask, 48 of the
picture with its hole filled smoothly from the background. It predicts what to add to that fill to get the clean
picture, so it starts as good as the fill. The truth of a hole is what lies behind a cut-out, never another cut-out.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DModel
from numpy.random import Generator
from torch import Tensor

from mtransfer.draft import take_out
from mtransfer.spacetodepth import AutoencoderSpaceToDepth
from training.compose import Array, Motion, compose
from training.images import ImageBank, load_bank
from training.trainer import ROOT, Plan, device, draw_curve, train

SIZE_PX, BLOCK_PX = 128, 4
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
        block_out_channels=(64, 128, 160),
        layers_per_block=2,
        norm_num_groups=16,
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        add_attention=False,
    )


def batches(bank: ImageBank, batch: int, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Truth and smooth fill float32[B,3,H,W] in [-1,1], mask float32[B,1,H,W] (1 = to be painted)."""
    rng = np.random.default_rng(seed)
    while True:
        samples = [_sample(rng, bank) for _ in range(batch)]
        first, second, third = (torch.stack(part).to(device()) for part in zip(*samples, strict=True))
        yield first, second, third


def _sample(rng: Generator, bank: ImageBank) -> tuple[Tensor, ...]:
    scene = compose(rng, bank, SIZE_PX, 1, Motion(camera_still=1.0, shift=0.4))
    hole = _grow(rng, scene.source)
    kind = rng.random()
    if kind < 0.6:  # the place a cut-out left, the cut-out beside it
        filled = _fill(scene.before, hole)
        hole = hole * (scene.target < 0.05)
        truth, filled = scene.after, np.where(hole[..., None] > 0, filled, scene.after)
    elif kind < 0.9:  # the background alone
        truth, filled = scene.background, _fill(scene.background, hole)
    else:  # no surroundings at all
        truth, hole, filled = scene.after, np.ones_like(hole), np.full_like(scene.after, 0.5)
    arrays = 2 * truth - 1, 2 * filled - 1, hole[..., None]
    return tuple(torch.from_numpy(np.ascontiguousarray(a, np.float32)).permute(2, 0, 1) for a in arrays)


def _fill(picture: Array, hole: Array) -> Array:
    """As the sampler's rough fill (mtransfer.draft.take_out)."""
    tensors = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (picture, hole[..., None]))
    image, mask = (tensor.permute(2, 0, 1)[None] for tensor in tensors)
    return np.asarray(take_out(image, mask)[0].permute(1, 2, 0))


def _grow(rng: Generator, alpha: Array) -> Array:
    width = int(rng.integers(1, 6)) * 2 + 1
    return cv2.dilate((alpha > 0.05).astype(np.float32), np.ones((width, width)))


def loss_of_batch(
    unet: UNet2DModel, scheduler: DDIMScheduler, batch: tuple[Tensor, Tensor, Tensor], warm_share: float
) -> Tensor:
    """L1 between the predicted and the true picture and between their gradients, in the hole alone.

    Around the hole the sampler takes what is known, so the net need not learn to copy it. `warm_share` of the noised
    pictures hold the fill instead of the truth, as when the sampler starts from it.
    """
    truth, filled, mask = batch
    vae = AutoencoderSpaceToDepth(BLOCK_PX)
    cells = F.max_pool2d(mask, BLOCK_PX)
    hole = F.interpolate(cells, scale_factor=BLOCK_PX, mode="nearest")
    z0, surround = (vae.encode(x).latent_dist.mode() for x in (truth, filled))
    # Low and middle noise most of the time: that is where the sampler works.
    steps = (1000 * torch.rand(len(truth), device=truth.device) ** 1.5).long()
    warm = (torch.rand(len(truth), 1, 1, 1, device=truth.device) < warm_share) & (
        mask.mean(dim=(1, 2, 3), keepdim=True) < 1
    )
    noised = scheduler.add_noise(torch.where(warm, surround, z0), torch.randn_like(z0), steps)
    added = unet(torch.cat([noised, cells, surround], dim=1), steps).sample
    predicted = vae.decode(surround + added).sample
    error = hole * (predicted - truth)
    area = 3 * hole.sum(dim=(1, 2, 3)).clamp_min(16)
    total = error.abs().sum(dim=(1, 2, 3))
    slopes = error.diff(dim=-1).abs().sum(dim=(1, 2, 3)) + error.diff(dim=-2).abs().sum(dim=(1, 2, 3))
    return ((total + 0.5 * slopes) / area).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2780)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    unet, scheduler = build().to(device()), DDIMScheduler(**SCHEDULER)
    resumed = (ROOT / "denoiser" / "last.pt").exists()
    source = batches(load_bank(ROOT / "images" / "train"), options.batch, seed=int(resumed))

    def loss_of(step: int) -> Tensor:
        # Late only the fill: a net that has always seen some truth in the noise goes on to find things there.
        warm_share = 0.4 if step < 0.75 * options.steps else 1.0
        return loss_of_batch(unet, scheduler, next(source), warm_share)

    train(Plan("denoiser", options.steps, 4e-4), unet, loss_of)
    export(unet)


def export(unet: UNet2DModel) -> None:
    """Write a diffusers pipeline folder: float16 UNet, space-to-depth autoencoder, scheduler; and the curve."""
    unet.half().save_pretrained(WEIGHTS / "unet")
    AutoencoderSpaceToDepth(BLOCK_PX).save_pretrained(WEIGHTS / "vae")
    DDIMScheduler(**SCHEDULER).save_pretrained(WEIGHTS / "scheduler")
    draw_curve("denoiser", WEIGHTS / "curve.png")


if __name__ == "__main__":
    main()
