"""The subject of a picture: found by itself, or from a point, a box or a mask, and cut out with GrabCut."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.matte import enlarge_mask
from mtransfer.media.mask_image import grey_picture, subject_mask

WORK_SIDE_PX = 384  # GrabCut's cost grows with the area; edges are refined by resampling
ITERATIONS = 5
SMALLEST_SHARE, LARGEST_SHARE = 0.004, 0.7
ROUGH_SHARE = 0.05  # of the long side: how far a rough mask may be off
BORDER_SHARE = 0.06  # the frame whose colours count as background
PALETTE = 8
SENSITIVITY = 0.75  # of Otsu's level
NEARLY_AS_GOOD = 0.2
SURE_CONTRAST = 26.0
FLAT_LEVELS = 1.0  # standard deviation of a picture with nothing to cut out, on which GrabCut takes long
CLEAR_CONTRAST = 12.0  # Lab units by which a subject must differ from the frame's colours


@dataclass(frozen=True)
class Subject:
    """A picture float32[3,H,W] in [0,1] with the mask float32[1,H,W] in [0,1] of what moves and its box in pixels."""

    image: Tensor
    mask: Tensor
    box_xyxy: tuple[float, float, float, float]


def segment(
    image: Float[Tensor, "3 H W"], spec: str, alpha: Float[Tensor, "1 H W"] | None = None, flag: str = "--subject"
) -> Subject:
    """The subject `spec` names: a word, a point `x,y`, a box `x0,y0,x1,y1` (pixels) or a mask file.

    The words: `all`, `alpha` (the alpha channel), `salient` (what stands out), `auto` (alpha if there is one, else
    salient). Raises InputError, naming the option `flag`, when nothing, or no single thing, is found.
    """
    if spec == "all":
        return subject_from_mask(image, torch.ones_like(image[:1]))
    word = resolve_word(spec, alpha)
    if word == "alpha":
        if alpha is None:
            raise InputError(f"{flag} alpha: the picture has no alpha channel; use {flag} auto")
        mask = alpha
    elif word == "salient":
        mask = _cut_out(image, *_automatic_seed(_small(image), flag))
    elif numbers := parse_numbers(spec, flag):
        seed = _point_seed if len(numbers) == 2 else _box_seed
        mask = _cut_out(image, *seed(_small(image), _scaled(numbers, image, f"{flag} {spec}")))
    else:
        mask = read_mask(Path(spec), image)
    share = float(mask.mean())
    if not SMALLEST_SHARE <= share <= (LARGEST_SHARE if word in ("alpha", "salient") else 1):
        raise InputError(f"{flag} {spec}: no clear subject found; point at it with {flag} x,y or a box")
    return subject_from_mask(image, mask)


def resolve_word(spec: str, alpha: Tensor | None) -> str:
    """What `auto` means for a picture; anything else as it is."""
    return spec if spec != "auto" else "salient" if alpha is None else "alpha"


def subject_from_mask(image: Float[Tensor, "3 H W"], mask: Float[Tensor, "1 H W"]) -> Subject:
    """A Subject with the box of the mask. Raises InputError when the mask is empty."""
    rows, columns = (mask[0] > 0.5).nonzero(as_tuple=True)
    if len(rows) == 0:
        raise InputError("the subject's mask is empty; point at the subject with --subject x,y")
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return Subject(image, mask, tuple(float(v) for v in box))  # type: ignore[arg-type]


def refine(
    image: Float[Tensor, "3 H W"], rough: Float[Tensor, "1 H W"], sure: Float[Tensor, "1 H W"] | None = None
) -> Float[Tensor, "1 H W"]:
    """A rough mask drawn to the edges of the picture by GrabCut; as it is where GrabCut finds nothing.

    Where the mask is `sure` (default: nowhere) it stays, whatever the colours there.
    """
    small = _small(image)
    core = _at_size_of(small, rough)
    reach = max(3, round(ROUGH_SHARE * max(small.shape)))
    seed = np.full(core.shape, cv2.GC_BGD, np.uint8)
    seed[cv2.dilate(core.astype(np.uint8), np.ones((2 * reach + 1,) * 2)) > 0] = cv2.GC_PR_BGD
    seed[core] = cv2.GC_PR_FGD
    if sure is not None:
        seed[core & _at_size_of(small, sure)] = cv2.GC_FGD
    mask = _cut_out(image, seed, core)
    return mask if 0.4 < float(mask.sum() / rough.sum().clamp_min(1)) < 2.5 else rough


def _at_size_of(small: NDArray[np.uint8], mask: Tensor) -> NDArray[np.bool_]:
    return cv2.resize(mask[0].cpu().numpy(), small.shape[1::-1], interpolation=cv2.INTER_AREA) > 0.5


def parse_numbers(spec: str, flag: str) -> list[float]:
    """The numbers of a point or a box; none for a word or a file. Raises InputError for other counts of numbers."""
    try:
        numbers = [float(part) for part in spec.split(",")]
    except ValueError:
        return []
    if len(numbers) not in (2, 4):
        raise InputError(f"{flag} {spec}: a point is x,y and a box x0,y0,x1,y1")
    return numbers


def require_inside(numbers: list[float], image: Float[Tensor, "3 H W"], given: str) -> None:
    """Raises InputError, naming what was `given`, for a point or box outside the picture, or an empty box."""
    height, width = image.shape[-2:]
    inside = all(0 <= n <= (width, height)[i % 2] for i, n in enumerate(numbers))
    if not inside or (len(numbers) == 4 and not (numbers[0] < numbers[2] and numbers[1] < numbers[3])):
        raise InputError(f"{given}: outside the picture of {width} x {height} pixels, or an empty box")


def _scaled(numbers: list[float], image: Tensor, given: str) -> list[float]:
    require_inside(numbers, image, given)
    scale = _scale(image)
    return [n * scale for n in numbers]


def _scale(image: Tensor) -> float:
    return min(1.0, WORK_SIDE_PX / max(image.shape[-2:]))


def _small(image: Tensor) -> NDArray[np.uint8]:
    """The picture at working size, uint8[h,w,3] RGB."""
    size = [max(8, round(side * _scale(image))) for side in image.shape[-2:]]
    small = F.interpolate(image[None], size, mode="area")[0]
    return np.ascontiguousarray((255 * small.clamp(0, 1)).round().byte().permute(1, 2, 0).cpu().numpy())


def _cut_out(image: Tensor, seed: NDArray[np.uint8], keep: NDArray[np.bool_]) -> Tensor:
    """GrabCut from a seed, the parts that touch `keep` kept, at the picture's size; empty where it fails."""
    small = _small(image)
    if small.std(axis=(0, 1)).max() < FLAT_LEVELS:
        return torch.zeros_like(image[:1])
    cv2.setRNGSeed(0)  # GrabCut's mixtures start from a random clustering
    models = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        cv2.grabCut(small, seed, None, *models, ITERATIONS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # no pixel of subject, or none of background, to learn from
        return torch.zeros_like(image[:1])
    found = _clean((seed == cv2.GC_FGD) | (seed == cv2.GC_PR_FGD), keep)
    mask = torch.from_numpy(found.astype(np.float32))[None].to(image)
    return mask if mask.shape[-2:] == image.shape[-2:] else enlarge_mask(image, mask)


def _clean(found: NDArray[np.bool_], keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Only the parts that touch `keep`, specks removed and pinholes closed."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    opened = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    count, labels = cv2.connectedComponents(opened)
    wanted = [label for label in range(1, count) if (keep & (labels == label)).any()]
    solid = np.isin(labels, wanted).astype(np.uint8)
    _, holes = cv2.connectedComponents(1 - solid)
    border = np.unique(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]))
    areas = np.bincount(holes.ravel())
    small = [label for label in range(1, len(areas)) if label not in border and areas[label] < 0.02 * solid.sum()]
    return (solid > 0) | np.isin(holes, small)


def _automatic_seed(small: NDArray[np.uint8], flag: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """What differs in colour from the picture's frame and lies towards the middle, and what it encloses."""
    contrast = _contrast(small)
    level, _ = cv2.threshold(contrast, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    likely = (contrast > max(SENSITIVITY * level, CLEAR_CONTRAST)).astype(np.uint8)
    core = _central_parts(cv2.morphologyEx(likely, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    if not core.any():
        raise InputError(f"{flag} auto: no clear subject found; point at it with {flag} x,y or a box")
    hull = cv2.convexHull(cv2.findNonZero(core.astype(np.uint8)))
    reach = max(3, round(0.04 * max(small.shape)))
    around = cv2.fillConvexPoly(np.zeros_like(likely), hull, 1)
    around = cv2.dilate(around, np.ones((2 * reach + 1,) * 2)) > 0
    # Between and beside its clear parts a subject may differ less from the background.
    core |= (contrast > CLEAR_CONTRAST) & around
    seed = np.where(around, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
    seed[core] = cv2.GC_PR_FGD
    seed[core & (contrast > SURE_CONTRAST)] = cv2.GC_FGD
    return seed, core


def _central_parts(likely: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The best of the connected parts by area and nearness to the middle, and those nearly as good."""
    count, labels, stats, centres = cv2.connectedComponentsWithStats(likely)
    half = np.array(likely.shape[::-1]) / 2
    offset = np.linalg.norm((centres - half) / half, axis=1)
    score = stats[:, cv2.CC_STAT_AREA] * np.exp(-2 * offset**2)
    score[0] = 0
    kept = [label for label in range(1, count) if score[label] > NEARLY_AS_GOOD * score.max()]
    return np.isin(labels, kept)


def _contrast(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Distance in Lab to the nearest of the frame's main colours, weighed down towards the frame."""
    lab = cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), 1.5), cv2.COLOR_RGB2Lab).astype(np.float32)
    height, width = small.shape[:2]
    depth = max(2, round(BORDER_SHARE * min(height, width)))
    frame = np.ones((height, width), bool)
    frame[depth:-depth, depth:-depth] = False
    cv2.setRNGSeed(0)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 1.0)
    _, _, palette = cv2.kmeans(lab[frame], PALETTE, None, criteria, 2, cv2.KMEANS_PP_CENTERS)
    distance = np.linalg.norm(lab[:, :, None] - palette[None, None], axis=-1).min(-1)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.clip(distance * np.exp(-0.7 * (x**2 + y**2)), 0, 255).astype(np.uint8)


def _point_seed(small: NDArray[np.uint8], point: list[float]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Around the point what is alike in colour is likely subject; the picture's frame is background."""
    height, width = small.shape[:2]
    x, y = min(int(point[0]), width - 1), min(int(point[1]), height - 1)
    lab = cv2.cvtColor(cv2.GaussianBlur(small, (0, 0), 1.0), cv2.COLOR_RGB2Lab).astype(np.float32)
    near = np.zeros((height, width), np.uint8)
    cv2.circle(near, (x, y), max(2, round(0.03 * max(height, width))), 1, -1)
    colour = lab[near > 0]
    distance = np.linalg.norm(lab[:, :, None] - colour[:: max(1, len(colour) // 24)][None, None], axis=-1).min(-1)
    grid_y, grid_x = np.mgrid[:height, :width]
    far = np.hypot(grid_x - x, grid_y - y) / (0.3 * max(height, width))
    seed = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    seed[distance + 25 * far < 30] = cv2.GC_PR_FGD
    seed[far > 1.5] = cv2.GC_BGD
    depth = max(1, round(0.01 * max(height, width)))
    seed[:depth] = seed[-depth:] = seed[:, :depth] = seed[:, -depth:] = cv2.GC_BGD
    seed[near > 0] = cv2.GC_FGD
    return seed, near > 0


def _box_seed(small: NDArray[np.uint8], box: list[float]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    x0, y0, x1, y1 = (round(n) for n in box)
    seed = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    seed[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = cv2.GC_PR_FGD
    return seed, seed == cv2.GC_PR_FGD


def read_mask(path: Path, image: Tensor, *, grey: bool = False) -> Tensor:
    """The subject that a mask picture of the image's size shows, however drawn; its brightness alone with `grey`."""
    mask = torch.from_numpy(grey_picture(path) if grey else subject_mask(path))[None]
    if mask.shape[-2:] != image.shape[-2:]:
        found, wanted = ("{1} x {0}".format(*side.shape[-2:]) for side in (mask, image))
        raise InputError(f"{path}: mask of {found} pixels for a picture of {wanted}; make them the same size")
    return mask.to(image)
