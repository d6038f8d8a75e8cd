import pytest
import torch
import torch.nn.functional as F
from pictures_of_things import as_image, sample
from torch import Tensor

from benchmarks.motionbench import Case, load_cases
from mtransfer.evaluation.metrics import fidelity, region_masks
from mtransfer.flow.field import affine_flow
from mtransfer.flow.warp import dilate, erode, pixel_grid
from mtransfer.sampling.loading import load_pipeline
from mtransfer.sampling.settings import SamplerSettings
from mtransfer.subject.mask_refinement import REACH_PX, enlarge_mask, snapped, snapped_along, stands_out_more
from mtransfer.subject.segment import segment

SIZE = (160, 200)
LARGE, SMALL = (240, 320), (60, 80)  # of a picture whose mask is found at a small size


def disc() -> Tensor:
    """A mask with a crisp, soft-edged outline."""
    x, y = pixel_grid(torch.zeros(1, 2, *SIZE))[0]
    return (30.5 - ((x - 100).square() + (y - 80).square()).sqrt()).clamp(0, 1)[None]


def photo() -> Tensor:
    noise = 0.2 * torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
    red, green = (torch.tensor(colour).view(3, 1, 1) + noise for colour in ((0.7, 0.1, 0.1), (0.1, 0.5, 0.2)))
    return disc() * red + (1 - disc()) * green


def overlap(first: Tensor, second: Tensor) -> float:
    return float(torch.minimum(first, second).sum() / torch.maximum(first, second).sum())


FAULTY = {
    "too large": dilate(disc()[None], 6)[0],
    "too small": erode(disc()[None], 6)[0],
    "shifted": disc().roll((5, -4), (1, 2)),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_mask_that_misses_the_edges_is_drawn_to_them(fault) -> None:
    drawn = snapped(photo(), FAULTY[fault])
    assert drawn is not None
    assert overlap(drawn, disc()) > 0.97 > 0.9 > overlap(FAULTY[fault], disc())


def test_a_mask_that_lies_on_edges_stays() -> None:
    assert snapped(photo(), disc()) is None
    assert snapped(photo(), (disc() > 0.5).float()) is None


def test_a_mask_of_a_part_of_a_thing_stays() -> None:
    half = disc().clone()
    half[..., 100:] = 0
    assert snapped(photo(), half) is None


@pytest.mark.parametrize("mask", [torch.zeros(1, *SIZE), torch.ones(1, *SIZE)])
def test_a_mask_without_an_outline_stays(mask) -> None:
    assert snapped(photo(), mask) is None


@pytest.mark.parametrize("name", ["wooden_bird.jpg", "ladybird.jpg", "fig.jpg", "goldfish.png"])
def test_what_is_salient_says_which_of_two_masks_is_better(name) -> None:
    image = as_image(sample(name))
    good = segment(image, "auto").mask
    rows = (good[0] > 0.5).any(dim=1).nonzero()[:, 0].float()
    torn, wide = good.clone(), dilate(good[None], 16)[0]
    torn[:, int(rows.quantile(0.6)) :] = 0
    assert not stands_out_more(image, torn, good)
    assert stands_out_more(image, good, torn)
    assert stands_out_more(image, good, wide)
    assert not stands_out_more(image, good, good)
    assert not stands_out_more(image, 0 * good, good)


def test_the_flow_is_carried_on_over_what_the_mask_gains() -> None:
    turn = affine_flow(SIZE, (100.0, 80.0), rotate_deg=20).flow
    given = FAULTY["too small"][None]
    drawn = snapped_along(photo()[None], turn * (given > 0), given)
    assert drawn is not None
    gained = (drawn[1] > 0.5) & (given == 0)
    assert int(gained.sum()) > 500
    assert float((drawn[0] - turn).norm(dim=1, keepdim=True)[gained].mean()) < 0.5
    assert not bool(drawn[0][(drawn[1] == 0).expand_as(drawn[0])].any())


def imperfect_case() -> Case:
    return next(case for case in load_cases("tuning") if case.imperfect and case.kind == "scale")


@pytest.mark.slow
def test_the_old_place_is_cleared_although_the_mask_is_wrong() -> None:
    case, pipe = imperfect_case(), load_pipeline("embedded", torch.device("cpu"), torch.float32)
    regions = region_masks(case.true_flow, case.subject)
    found = {}
    for snap in (False, True):
        flow, mask = (snapped_along(case.source, case.flow, case.mask) if snap else None) or (case.flow, case.mask)
        made = pipe(case.source, flow, None, SamplerSettings.from_preset("draft"), mask=mask, output_type="pt")
        found[snap] = fidelity(made.images, case.after, regions)
    assert all(
        found[True][region]["psnr_db"] > found[False][region]["psnr_db"] for region in ("subject", "vacated", "seam")
    )


def large_disc() -> Tensor:
    """The true mask, soft over a pixel."""
    x, y = pixel_grid(torch.zeros(1, 2, *LARGE))[0]
    return (80.5 - ((x - 161.3).square() + (y - 118.7).square()).sqrt()).clamp(0, 1)[None]


def picture(contrast: float = 1.0) -> Tensor:
    red, green = (torch.tensor(colour).view(3, 1, 1) for colour in ((0.7, 0.2, 0.1), (0.2, 0.5, 0.3)))
    noise = 0.04 * torch.rand(3, *LARGE, generator=torch.Generator().manual_seed(0))
    return green + contrast * large_disc() * (red - green) + noise


def small_mask() -> Tensor:
    return (F.interpolate(large_disc()[None], SMALL, mode="area")[0] > 0.5).float()


def test_the_outline_follows_the_large_pictures_edges() -> None:
    plain = F.interpolate(small_mask()[None], LARGE, mode="bilinear", align_corners=False)[0]
    drawn = enlarge_mask(picture(), small_mask())
    assert drawn.shape == large_disc().shape
    assert float((drawn - large_disc()).abs().sum()) < 0.4 * float((plain - large_disc()).abs().sum())


def test_an_outline_that_is_a_pixel_off_comes_nearer() -> None:
    off = dilate(small_mask()[None], 1)[0]
    plain = F.interpolate(off[None], LARGE, mode="bilinear", align_corners=False)[0]
    error = (enlarge_mask(picture(), off) - large_disc()).abs().sum()
    assert float(error) < 0.7 * float((plain - large_disc()).abs().sum())


def test_away_from_the_outline_nothing_changes() -> None:
    drawn, wide = enlarge_mask(picture(), small_mask()), 4 * (REACH_PX + 2)
    assert bool((drawn[dilate(1 - large_disc()[None], wide)[0] == 0] == 1).all())
    assert bool((drawn[dilate(large_disc()[None], wide)[0] == 0] == 0).all())


def test_without_edges_the_mask_is_as_it_was() -> None:
    drawn = enlarge_mask(picture(contrast=0.0), small_mask())
    found = (F.interpolate(drawn[None], SMALL, mode="area")[0] > 0.5).float()
    assert float((found - small_mask()).abs().mean()) < 0.02
