"""Flow files that are no cut-out's: loose polygons, a circle about a head, a video frame's whole field, speckled."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pictures_of_things import as_image, noise, overlap, sample
from torch import Tensor

from mtransfer.flow.field import FlowField
from mtransfer.flow.io import save_field
from mtransfer.flow.warp import dilate
from mtransfer.media.photo.photo import Photo, to_levels
from mtransfer.motion.edit_motion import EditMotion, edit_field, torn, without_still_ground
from mtransfer.subject.coarse_region import drawn_to_objects
from mtransfer.subject.segment import segment
from mtransfer.subject.subject import subject_from_mask

PHOTOS = (
    "goldfish.png",
    *(pytest.param(each, marks=pytest.mark.slow) for each in ("wooden_bird.jpg", "ladybird.jpg", "fig.jpg")),
)
MOVED = torch.tensor([9.0, -14.0]).view(1, 2, 1, 1)


def thing(name: str) -> tuple[Tensor, Tensor]:
    """A photo [3,H,W] and its subject [1,H,W]."""
    image = as_image(sample(name))
    return image, (segment(image, "auto").mask > 0.5).float()


def polygon_about(mask: Tensor, by: float) -> Tensor:
    """A loose pentagon about a mask, a hull whose corners are few, `by` times as large."""
    points = cv2.convexHull(cv2.findNonZero((mask[0] > 0).numpy().astype(np.uint8)))[:, 0].astype(float)
    corners = points[np.linspace(0, len(points) - 1, 6).astype(int)[:-1]]
    corners = corners.mean(axis=0) + by * (corners - corners.mean(axis=0))
    filled = cv2.fillPoly(np.zeros(mask.shape[1:], np.uint8), [corners.round().astype(np.int32)], 1)
    return torch.from_numpy(filled)[None].float()


def as_an_estimator_reads_it(mask: Tensor) -> Tensor:
    """The field of a frame in which `mask` moves: ramps at its rim, noise on the ground, specks that fly."""
    generator = torch.Generator().manual_seed(1)
    soft = F.avg_pool2d(mask[None], 9, stride=1, padding=4, count_include_pad=False)
    field = MOVED * soft + 0.1 * torch.randn(1, 2, *mask.shape[1:], generator=generator)
    rows, columns = (torch.randint(0, side, (12,), generator=generator) for side in mask.shape[1:])
    specks = torch.zeros_like(mask)[None]
    specks[..., rows, columns] = 1
    return torch.where(dilate(specks, 1) * (1 - soft) > 0.99, torch.tensor([30.0, 40.0]).view(1, 2, 1, 1), field)


def edited(image: Tensor, flow: Tensor, folder: Path, *, snaps: bool = True) -> tuple[Tensor, Tensor]:
    """Mask [1,H,W] and flow [1,2,H,W] of an edit by a file that holds `flow`."""
    save_field(FlowField.from_flow(flow), folder / "flow.npz")
    photo = Photo(to_levels(image), image, None, 1.0, None, "", Path("photo.png"))
    nothing = subject_from_mask(image, torch.ones_like(image[:1]))
    asked = EditMotion(flow=folder / "flow.npz")
    subject, field = edit_field(asked, photo, nothing, is_told_by_flow=True, snaps=snaps)
    return subject.mask, field.flow


@pytest.mark.parametrize("name", PHOTOS)
def test_of_a_loose_polygon_the_object_moves(name, tmp_path) -> None:
    image, truth = thing(name)
    region = polygon_about(truth, 1.2)
    mask, flow = edited(image, MOVED * region, tmp_path)
    covers, covered = (overlap(each[0].numpy() > 0.5, truth[0].numpy() > 0.5) for each in (mask, region))
    assert covers > 0.93 > covered
    inside = mask[0] > 0.5
    assert (flow[0][:, inside] - MOVED[0, :, 0, :]).abs().max() < 0.01  # what the polygon cut off goes along
    kept, _ = edited(image, MOVED * region, tmp_path, snaps=False)
    assert torch.equal(kept > 0, region > 0)


@pytest.mark.parametrize("name", PHOTOS)
def test_of_a_frames_field_the_object_moves_in_one_piece(name, tmp_path) -> None:
    image, truth = thing(name)
    mask, flow = edited(image, as_an_estimator_reads_it(truth), tmp_path)
    assert overlap(mask[0].numpy() > 0.5, truth[0].numpy() > 0.5) > 0.93
    inside = mask[0] > 0.5
    assert (flow[0][:, inside] - MOVED[0, :, 0, :]).abs().mean() < 0.5
    assert not bool(torn(flow)[0, 0][inside & (dilate(1 - mask[None], 4)[0, 0] < 0.5)].any())


@pytest.mark.parametrize("name", PHOTOS)
def test_a_mask_drawn_to_edges_stays(name) -> None:
    image, truth = thing(name)
    assert drawn_to_objects(image, truth) is None


def test_of_a_circle_about_a_part_the_part_moves(tmp_path) -> None:
    image, truth = thing("goldfish.png")
    columns = truth[0].any(dim=0).nonzero()[:, 0]
    rows = truth[0, :, int(columns.min()) + len(columns) // 5].nonzero()[:, 0]
    centre = int(columns.min()) + len(columns) // 5, int(rows.float().mean())
    circle = cv2.circle(np.zeros(truth.shape[1:], np.uint8), centre, round(0.28 * len(columns)), 1, -1)
    region = torch.from_numpy(circle)[None].float()
    mask, _ = edited(image, MOVED * region, tmp_path)
    assert overlap(mask[0].numpy() > 0.5, (region * truth)[0].numpy() > 0.5) > 0.9


def test_without_an_object_a_regions_edge_fades() -> None:
    image = as_image(noise())
    region = torch.zeros(1, *image.shape[1:])
    region[:, 40:140, :120] = 1
    mask = drawn_to_objects(image, region)
    assert mask is not None
    assert bool((mask <= region).all())
    assert float(mask[0, 90, 0]) == 1  # at the photo's border there is no edge to hide
    assert mask[0, 90, 60:120].diff().min() > -0.2
    assert float(mask[0, 90, 119]) < 0.5


def test_a_warp_of_the_whole_photo_moves_all_of_it(tmp_path) -> None:
    image, _ = thing("fig.jpg")
    mask, flow = edited(image, MOVED.expand(1, 2, *image.shape[1:]).clone(), tmp_path)
    assert bool((mask == 1).all())
    assert torch.equal(flow, MOVED.expand_as(flow))


def test_still_ground_and_specks_are_no_motion() -> None:
    mask = torch.zeros(1, 60, 80)
    mask[:, 20:40, 20:50] = 1
    moving = without_still_ground(as_an_estimator_reads_it(mask)).ne(0).any(dim=1)
    assert bool(moving[:, 24:36, 24:46].all())
    assert not bool((moving & (dilate(mask[None], 6)[0] == 0)).any())
    exact = MOVED * mask[None]
    assert without_still_ground(exact) is exact
