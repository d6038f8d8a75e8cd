"""Held-out figures of the embedded models: flow against DIS, Farneback and no motion, fill against smooth and Telea."""

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from mtransfer.draft import Draft
from mtransfer.flow import DisFlow
from mtransfer.guidance import FlowModel
from mtransfer.models import load_flow_model, load_pipeline
from mtransfer.raft import MAX_LEVELS, FlowNet, build_raft
from mtransfer.recipe import load_preset
from mtransfer.settings import SamplerSettings
from training.compose import Motion, Scene, compose, jitter
from training.flow_net import WEIGHTS
from training.images import load_bank
from training.trainer import ROOT

UPDATES = 12


class Farneback:
    """OpenCV's polynomial expansion flow."""

    def encode(self, source: Tensor) -> None:
        self._source = _grey(source)

    def flow(self, image: Tensor) -> Tensor:
        flow = cv2.calcOpticalFlowFarneback(self._source, _grey(image), None, 0.5, 4, 15, 5, 7, 1.5, 0)
        return torch.from_numpy(flow).permute(2, 0, 1)[None]


class Still:
    """No motion at all."""

    def encode(self, source: Tensor) -> None:
        pass

    def flow(self, image: Tensor) -> Tensor:
        return torch.zeros(1, 2, *image.shape[-2:])


def _grey(image: Tensor) -> np.ndarray:
    return np.asarray(cv2.cvtColor((255 * image[0].permute(1, 2, 0).numpy()).astype(np.uint8), cv2.COLOR_RGB2GRAY))


def scenes(count: int, size: int) -> list[Scene]:
    """Composites of held-out pictures, the same ones every time."""
    rng = np.random.default_rng(12345)
    bank = load_bank(ROOT / "images" / "heldout")
    made = [compose(rng, bank, size, 2, Motion()) for _ in range(count)]
    return [Scene(jitter(rng, s.before), jitter(rng, s.after), s.flow, s.background, s.source, s.target) for s in made]


def end_point_error(model: FlowModel, held_out: list[Scene]) -> tuple[float, float]:
    """Mean end-point error in pixels over whole pictures, and over the cut-outs alone."""
    everywhere, inside = [], []
    for scene in held_out:
        model.encode(_tensor(scene.before))
        with torch.no_grad():
            found = model.flow(_tensor(scene.after))
        error = (found - _tensor(scene.flow)).norm(dim=1)[0]
        everywhere.append(float(error.mean()))
        inside.append(float(error[torch.from_numpy(scene.source > 0.5)].mean()))
    return float(np.mean(everywhere)), float(np.nanmean(inside))


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)[None]


def evaluate_flow(weights: Path, size: int, count: int) -> dict[str, tuple[float, float]]:
    """End-point errors of each estimator on the same composites."""
    held_out = scenes(count, size)
    models: dict[str, Callable[[], FlowModel]] = {
        "embedded RAFT": lambda: FlowNet(build_raft("raft_small", weights), UPDATES, MAX_LEVELS),
        "DIS": DisFlow,
        "Farneback": Farneback,
        "no motion": Still,
    }
    return {name: end_point_error(make(), held_out) for name, make in models.items()}


def evaluate_fill(count: int, size: int) -> dict[str, float]:
    """PSNR in decibels, over the vacated pixels of all scenes, of each way to fill what a moved cut-out leaves."""
    rng = np.random.default_rng(54321)
    bank = load_bank(ROOT / "images" / "heldout")
    pipe = load_pipeline("embedded", torch.device("cpu"), torch.float32)
    guide = load_flow_model("embedded", 5, 2, torch.device("cpu"))
    settings = SamplerSettings.model_validate({**load_preset("fast"), "weight": 0.0})
    errors: dict[str, list[Tensor]] = {"smooth fill": [], "Telea": [], "embedded denoiser": []}
    for _ in range(count):
        scene = compose(rng, bank, size, 1, Motion(camera_still=1.0, turn_deg=0, zoom=0, bend=0))
        source, before, after = (_tensor(a) for a in (scene.source[..., None], scene.before, scene.after))
        flow = _tensor(scene.flow) * (source > 0)
        if not bool(flow.any()):
            continue
        made = pipe(before, flow, guide, settings, source, generator=torch.Generator().manual_seed(0), output_type="pt")
        hole = (made.draft.vacated > 0.5).expand_as(after)
        ways = {"smooth fill": made.draft.image, "Telea": _telea(before, made.draft), "embedded denoiser": made.images}
        for name, picture in ways.items():
            errors[name].append((picture.clamp(0, 1) - after)[hole].square())
    return {name: float(-10 * torch.log10(torch.cat(parts).mean())) for name, parts in errors.items()}


def _telea(photo: Tensor, draft: Draft) -> Tensor:
    """OpenCV's inpainting of the subject's old place, the subject put back where it moved to."""
    pixels = (255 * photo[0].permute(1, 2, 0).numpy()).round().astype(np.uint8)
    hole = ((draft.vacated + draft.target)[0, 0] > 0.05).byte().numpy()
    filled = _tensor(cv2.inpaint(pixels, hole, 5, cv2.INPAINT_TELEA).astype(np.float32) / 255)
    return draft.target * draft.image + (1 - draft.target) * filled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS / "raft_small.safetensors")
    parser.add_argument("--count", type=int, default=60)
    options = parser.parse_args()
    for size in (128, 256):
        print(f"held-out composites, {size} px: mean end-point error in px (all, inside cut-outs)")
        for name, (everywhere, inside) in evaluate_flow(options.weights, size, options.count).items():
            print(f"  {name:14} {everywhere:6.2f} {inside:6.2f}")
    print("held-out composites, 128 px: PSNR in dB in the vacated region")
    for name, psnr_db in evaluate_fill(options.count, 128).items():
        print(f"  {name:18} {psnr_db:6.2f}")


if __name__ == "__main__":
    main()
