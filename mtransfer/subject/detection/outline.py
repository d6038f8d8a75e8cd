"""The outline of an object that was found on a small grid, drawn to the edges of the full picture, soft where they are.

MobileSAM looks once more, in a crop about the object; where that does not agree, colours decide within a narrow band
about the outline (GrabCut). A guided filter (He, Sun and Tang, PAMI 2013; its coefficients found at a small size: He
and Sun, Fast guided filter, 2015) takes the mask to the picture's own size.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8
from numpy import ndarray

from mtransfer.interruption import checkpoint
from mtransfer.subject.detection.mobile_sam import Embedding, embed
from mtransfer.subject.detection.picture import Picture
from mtransfer.subject.detection.saliency import Map, Pixels, saliency
from mtransfer.subject.detection.salient_region import grab_cut
from mtransfer.subject.regions import Box, Region, bounding_box, connected_parts, dilate, erode, overlap, with_margin

CROP_MARGIN = 0.12
FILLS = 0.8  # of the picture's long side
GUIDE_PX = 640  # long side of the crop in which the outline is drawn
AGREES = 0.9  # overlap above which a closer view of the object is taken for its outline
BAND = 0.014  # of the guide's long side: half the width of the band in which the outline may move
REACH_BANDS = 3  # how far a closer view may move the outline, in widths of the band
KEPT = 0.8  # overlap of the outline by colours with the one it started from
SURE, SEEN = 0.8, 0.5  # saliency of what surely stands out; of the region, that must do so in the crop
SMALLEST, MOST = 0.0005, 0.03  # of the region: a part beside it, and all that may be added to it
GRABCUT_ITERATIONS = 2
FILTER_BAND_PX, FILTER_RADIUS_PX, FILTER_VARIANCE = 3, 2, 1e-3
REMAP_PX = 4096  # OpenCV remaps rows of fewer than 32768 pixels
CONTRAST = 1.6  # takes back the haze that the filter leaves on both sides

SmallPixels = UInt8[ndarray, "h w 3"]


def draw_outline(picture: Picture, region: Bool[ndarray, "h w"]) -> Float32[ndarray, "H W"]:
    """The mask float32[H,W] in [0,1] at the picture's full size of an object bool[h,w] found on its small grid."""
    box = with_margin(bounding_box(region), CROP_MARGIN, picture.size)
    fills = max(box[2] - box[0], box[3] - box[1]) > FILLS * max(picture.size)  # a crop would show hardly more
    box = (0, 0, picture.size[1], picture.size[0]) if fills else box
    guide = picture.crop(box)
    scale = min(1.0, GUIDE_PX / max(guide.shape[:2]))
    guide = cv2.resize(guide, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else guide
    coarse = _resized(region[box[1] : box[3], box[0] : box[2]].astype(np.float32), guide)
    region = coarse > 0.5
    if region.any():
        embedding = picture.embedding.scaled((guide.shape[0], guide.shape[1])) if fills else embed(guide)
        region = _with_extremities(guide, _closer_view(guide, embedding, region))
    return _at_full_size(picture, box, guide, region)


def _resized(values: Float32[ndarray, "h w"], like: ndarray) -> Map:
    return np.asarray(cv2.resize(values, like.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _closer_view(guide: Pixels, embedding: Embedding, region: Region) -> Region:
    """The region as MobileSAM sees it in a box; by colours where that does not agree."""
    candidates = embedding.in_box(bounding_box(region))
    seen = max((each.region for each in candidates), key=lambda each: overlap(each, region))
    if overlap(seen, region) < AGREES:
        return _by_colours(guide, region)
    reach_px = REACH_BANDS * _band_px(guide)
    return seen & dilate(region, reach_px) | erode(region, reach_px)


def _with_extremities(guide: Pixels, region: Region) -> Region:
    """The region with the small parts beside it that surely stand out in the crop: a horse's hoof, a bicycle's saddle.

    Where these are more than a little, the crop shows another object just as clearly, and they are left out.
    """
    seen = cv2.resize(saliency(guide).values, guide.shape[1::-1], interpolation=cv2.INTER_LINEAR) > SURE
    if (seen & region).sum() < SEEN * region.sum():
        return region
    near, touching = dilate(region, _band_px(guide)), dilate(region, 1)
    beside = np.zeros_like(region)
    for part in connected_parts(seen & ~near, SMALLEST * region.sum()):
        grown = dilate(part, _band_px(guide) + 1) & seen & ~region
        if (grown & touching).any():
            beside |= grown
    return region | beside if beside.sum() < MOST * region.sum() else region


def _band_px(guide: ndarray) -> int:
    return max(2, round(BAND * max(guide.shape[:2])))


def _by_colours(guide: Pixels, region: Region) -> Region:
    """The region with its outline moved to colour edges within the band."""
    core, reach = erode(region, _band_px(guide)), dilate(region, _band_px(guide))
    labels = np.select([core, region, reach], [cv2.GC_FGD, cv2.GC_PR_FGD, cv2.GC_PR_BGD], cv2.GC_BGD).astype(np.uint8)
    drawn = (grab_cut(guide, labels, GRABCUT_ITERATIONS) & reach) | core
    return drawn if overlap(drawn, region) > KEPT else region


def _at_full_size(
    picture: Picture, box: Box, guide: SmallPixels, mask: Bool[ndarray, "h w"]
) -> Float32[ndarray, "H W"]:
    height, width = picture.pixels.shape[:2]
    rows = slice(round(box[1] * height / picture.size[0]), round(box[3] * height / picture.size[0]))
    columns = slice(round(box[0] * width / picture.size[1]), round(box[2] * width / picture.size[1]))
    full = np.zeros((height, width), np.float32)
    full[rows, columns] = upsample_mask(picture.pixels[rows, columns], guide, mask)
    return full


def upsample_mask(pixels: Pixels, guide: SmallPixels, mask: Bool[ndarray, "h w"]) -> Float32[ndarray, "H W"]:
    """A binary mask on the grid of `guide`, a small copy of uint8[H,W,3] `pixels`, at their size: soft along the edges
    of the picture, and away from its outline what it was."""
    checkpoint()
    soft = mask.astype(np.float32)
    outline = (dilate(mask, FILTER_BAND_PX) & ~erode(mask, FILTER_BAND_PX)).astype(np.float32)
    full = _resized(soft, pixels)
    rows, columns = np.nonzero(_resized(outline, pixels) > 0)
    if rows.size:
        lines = _sampled(_guided_coefficients(guide.astype(np.float32) / 255, soft), rows, columns, pixels.shape[:2])
        drawn = (lines[:, :3] * (pixels[rows, columns].astype(np.float32) / 255)).sum(axis=1) + lines[:, 3]
        full[rows, columns] = np.clip(0.5 + CONTRAST * (drawn - 0.5), 0, 1)
    return full


def _sampled(values: ndarray, rows: ndarray, columns: ndarray, size: tuple[int, int]) -> ndarray:
    """Values [N,C] of a map [h,w,C], enlarged to `size` = (H, W), at N pixels of that."""

    def lines(places: ndarray, scale: float) -> ndarray:
        coarse = ((places + 0.5) * scale - 0.5).astype(np.float32)
        return np.pad(coarse, (0, -len(coarse) % REMAP_PX)).reshape(-1, REMAP_PX)

    x, y = lines(columns, values.shape[1] / size[1]), lines(rows, values.shape[0] / size[0])
    sampled = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled).reshape(-1, values.shape[2])[: len(rows)]


def _guided_coefficients(guide: ndarray, mask: Map) -> Float32[ndarray, "h w 4"]:
    """Slopes and offset of the mask as a linear function of the colours in [0,1] around each pixel near its outline."""

    def mean(values: ndarray) -> ndarray:
        return np.asarray(cv2.blur(values, (2 * FILTER_RADIUS_PX + 1,) * 2, borderType=cv2.BORDER_REPLICATE))

    colour, fraction = mean(guide), mean(mask)
    covariance = mean(guide * mask[..., None]) - colour * fraction[..., None]
    products = np.stack([mean(guide * guide[..., channel : channel + 1]) for channel in range(3)], axis=-1)
    variance = products - colour[..., :, None] * colour[..., None, :] + FILTER_VARIANCE * np.eye(3, dtype=np.float32)
    mixed = (fraction > 0) & (fraction < 1)  # elsewhere the mask is flat and its slope 0
    slope = np.zeros_like(guide)
    slope[mixed] = np.linalg.solve(variance[mixed], covariance[mixed][..., None])[..., 0]
    offset = fraction - (slope * colour).sum(axis=-1)
    return mean(np.dstack([slope, offset]).astype(np.float32))
