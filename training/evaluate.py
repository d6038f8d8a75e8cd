"""Held-out figures of the embedded models: flow against DIS, Farneback and no motion; fills of vacated regions."""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.evaluation.texture import border_step, gradient_energy
from mtransfer.flow.estimator import DisFlow, FlowModel
from mtransfer.flow.fusion import FusedFlow
from mtransfer.flow.interpolate import push_pull
from mtransfer.flow.loading import MOST_LEVELS, READING_UPDATES
from mtransfer.flow.raft import FlowNet, build_raft
from mtransfer.flow.warp import dilate
from mtransfer.media.contact_sheet import sheet
from mtransfer.media.photo.photo import save_png
from mtransfer.sampling.composite import WarpComposite, make_composite
from mtransfer.sampling.loading import load_pipeline
from mtransfer.sampling.settings import SamplerSettings
from mtransfer.subject.segment import Segmenter, segment
from training.compose import Motion, Scene, compose, jitter
from training.flow_net import WEIGHTS
from training.images import load_bank
from training.trainer import ROOT

SEGMENTERS: tuple[Segmenter, ...] = ("grabcut", "embedded")
SMALLEST_HOLE_PX, SHEET_ROWS = 200, 8
AROUND_PX = 4  # how near to the moved cut-out a fill is not judged


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


def estimators(weights: Path) -> dict[str, FlowModel]:
    """Every flow estimator to compare, by name."""
    net = FlowNet(build_raft("embedded", weights), READING_UPDATES, MOST_LEVELS)
    return {
        "embedded RAFT": net,
        "as clips are read": FusedFlow(net),
        "DIS": DisFlow(),
        "Farneback": Farneback(),
        "no motion": Still(),
    }


def evaluate_flow(weights: Path, size: int, count: int) -> dict[str, tuple[float, float]]:
    """End-point errors of each estimator on the same composites."""
    held_out = scenes(count, size)
    return {name: end_point_error(model, held_out) for name, model in estimators(weights).items()}


def stereo_pairs(packages: Path) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Left and right uint8[H,W,3] and the true disparity float32[H,W] in pixels, NaN where unknown.

    Real pictures, used for no training and no choice: scikit-image's motorcycle (Scharstein et al., GCPR 2014), and
    aloe of opencv-doc (Hirschmueller and Scharstein, CVPR 2007).
    """
    left, right, disparity = data.stereo_motorcycle()
    pairs = {"motorcycle": (left, right, np.where(np.isfinite(disparity), disparity, np.nan))}
    folder = packages / "root/usr/share/doc/opencv-doc/examples/data"
    left, right, truth = (np.asarray(Image.open(folder / name)) for name in ("aloeL.jpg", "aloeR.jpg", "aloeGT.png"))
    pairs["aloe"] = (left, right, np.where(truth > 0, truth, np.nan).astype(np.float32))
    return pairs


def evaluate_stereo(weights: Path, packages: Path, width: int) -> dict[str, dict[str, float]]:
    """Mean end-point error in pixels of each estimator on real stereo pairs, `width` pixels wide."""
    found: dict[str, dict[str, float]] = {}
    for pair, (left, right, disparity) in stereo_pairs(packages).items():
        size = (width, round(width * left.shape[0] / left.shape[1]))
        first, second = (
            _tensor(cv2.resize(x, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255) for x in (left, right)
        )
        small = cv2.resize(disparity, size, interpolation=cv2.INTER_NEAREST) * width / left.shape[1]
        truth = torch.from_numpy(np.stack([-small, 0 * small])).float()[None]
        for name, model in estimators(weights).items():
            model.encode(first)
            with torch.no_grad():
                error = (model.flow(second) - truth).norm(dim=1)
            found.setdefault(name, {})[pair] = float(error.nanmean())
    return found


FILLS = ("smooth", "Telea", "pieces (draft)", "embedded model (fast)")


def evaluate_fill(count: int, size: int, sheet_to: Path) -> dict[str, dict[str, float]]:
    """PSNR, gradient energy and boundary step relative to the truth's, of each way to fill what a cut-out leaves.

    PSNR is the median over held-out scenes, the others are ratios of sums over all: a plain sky alone is a ratio of
    noise. The truth is the background behind the cut-out, away from where it has moved to. Also a sheet of pictures.
    """
    rng = np.random.default_rng(54321)
    bank = load_bank(ROOT / "images" / "heldout")
    pipe = load_pipeline("embedded", torch.device("cpu"), torch.float32)
    settings = SamplerSettings.from_preset("fast", weight=0.0)
    figures: dict[str, list[tuple[float, ...]]] = {name: [] for name in FILLS}
    panels: list[tuple[str, Tensor]] = []
    while len(figures[FILLS[0]]) < count:
        scene = compose(rng, bank, size, 1, Motion(camera_still=1.0, turn_deg=0, zoom=0, bend=0))
        photo, truth, alpha = (_tensor(a) for a in (scene.before, scene.background, scene.source[..., None]))
        mask = (alpha > 0.5).float()  # where the flow is the cut-out's
        flow = _tensor(scene.flow) * mask
        draft = make_composite(photo, flow, mask)
        hole = (draft.vacated > 0.5) * (1 - dilate((draft.target > 0).float(), AROUND_PX))
        if float(hole.sum()) < SMALLEST_HOLE_PX:
            continue
        made = pipe(photo, flow, Unused(), settings, mask, generator=torch.Generator().manual_seed(0), output_type="pt")
        pictures = dict(zip(FILLS, (*_rough(photo, draft), draft.image, made.images), strict=True))
        for name, picture in pictures.items():
            figures[name].append(_against(picture.clamp(0, 1), truth, hole))
        if len(panels) < SHEET_ROWS * (2 + len(FILLS)):
            panels += [(name, x[0]) for name, x in {"photo": photo, "truth": truth, **pictures}.items()]
    save_png(sheet(panels, columns=2 + len(FILLS)), sheet_to)
    return {way: _summed(np.array(rows)) for way, rows in figures.items()}


def _summed(rows: np.ndarray) -> dict[str, float]:
    detail, true_detail, step, true_step = rows[:, 1:].sum(axis=0)
    return {
        "PSNR dB": float(np.median(rows[:, 0])),
        "gradient energy": float(detail / true_detail),
        "boundary step": float(step / true_step),
    }


class Unused:
    """A flow model for runs without guidance."""

    def encode(self, source: Tensor) -> None:
        pass

    def flow(self, image: Tensor) -> Tensor:
        raise AssertionError("guidance is off")


def _against(picture: Tensor, truth: Tensor, hole: Tensor) -> tuple[float, ...]:
    """PSNR in dB, then gradient energy and border step of the picture and of the truth in turn."""
    inside = (hole > 0).expand_as(truth)
    psnr_db = float(-10 * torch.log10((picture - truth)[inside].square().mean().clamp_min(1e-6)))
    pairs = [float(measure(each, hole)) for measure in (gradient_energy, border_step) for each in (picture, truth)]
    return psnr_db, *pairs


def _rough(photo: Tensor, draft: WarpComposite) -> tuple[Tensor, Tensor]:
    """The draft with its vacated region filled smoothly, and with OpenCV's inpainting (Telea)."""
    hole = ((draft.vacated + draft.target) > 0.05).float()
    pixels = (255 * photo[0].permute(1, 2, 0).numpy()).round().astype(np.uint8)
    telea = cv2.inpaint(pixels, hole[0, 0].byte().numpy(), 5, cv2.INPAINT_TELEA).astype(np.float32) / 255
    behind = push_pull(photo, 1 - hole), _tensor(telea)
    first, second = (torch.where(draft.vacated > 0.5, fill, draft.image) for fill in behind)
    return first, second


def evaluate_segmenter(count: int, size: int) -> dict[str, tuple[float, int]]:
    """Median intersection over union with the true mask, and how often the segmenter asked back instead (IoU 0)."""
    rng = np.random.default_rng(777)
    bank = load_bank(ROOT / "images" / "heldout")
    still = Motion(camera_still=1.0, shift=0.0, turn_deg=0.0, zoom=0.0, bend=0.0)
    found: dict[str, list[float | None]] = {}
    for _ in range(count):
        scene = compose(rng, bank, size, 1, still)
        picture, truth = _tensor(jitter(rng, scene.before))[0], torch.from_numpy(scene.source)[None] > 0.5
        depth = cv2.distanceTransform(truth[0].byte().numpy(), cv2.DIST_L2, 5)
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        for way, spec in (("automatic", "auto"), ("one click", f"{x},{y}")):
            for name in SEGMENTERS:
                found.setdefault(f"{name}, {way}", []).append(_overlap(name, picture, spec, truth))
    return {
        way: (float(np.median([value or 0.0 for value in values])), values.count(None)) for way, values in found.items()
    }


def _overlap(name: Segmenter, picture: Tensor, spec: str, truth: Tensor) -> float | None:
    try:
        mask = segment(picture, spec, by=name).mask > 0.5
    except InputError:
        return None
    return float((mask & truth).sum() / (mask | truth).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS / "embedded.safetensors")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--parts", default="composites,stereo,fill,segmenter")
    options = parser.parse_args()
    parts = options.parts.split(",")
    for size in (128, 256) if "composites" in parts else ():
        print(f"held-out composites, {size} px: mean end-point error in px (all, inside cut-outs)")
        for name, (everywhere, inside) in evaluate_flow(options.weights, size, options.count).items():
            print(f"  {name:18} {everywhere:6.2f} {inside:6.2f}")
    for width in (256, 512) if "stereo" in parts else ():
        print(f"real stereo pairs, {width} px wide: mean end-point error in px")
        for name, errors in evaluate_stereo(options.weights, ROOT / "packages", width).items():
            print(f"  {name:18} " + "  ".join(f"{pair} {error:6.2f}" for pair, error in errors.items()))
    if "segmenter" in parts:
        print("held-out composites, 256 px: median IoU of the subject (times it asked back)")
        for name, (median, refused) in evaluate_segmenter(options.count, 256).items():
            print(f"  {name:24} {median:6.2f} ({refused})")
    if "fill" in parts:
        print("held-out composites, 256 px, the vacated region: median PSNR; energy and step relative to the truth's")
        for name, figures in evaluate_fill(options.count, 256, ROOT / "fill.png").items():
            print(f"  {name:24} " + "  ".join(f"{key} {value:6.2f}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
