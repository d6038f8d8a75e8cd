"""The pipeline with the embedded model, small and short."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.loading import load_flow_model
from mtransfer.sampling.guidance import EnergyWeights, MotionGuidance
from mtransfer.sampling.loading import load_pipeline
from mtransfer.sampling.pipeline import MotionGuidedOutput, MotionGuidedPipeline
from mtransfer.sampling.settings import SamplerSettings, load_preset

CPU = torch.device("cpu")
SIZE = (128, 192)
SHIFT_PX = 16


@pytest.fixture(scope="module")
def pipe() -> MotionGuidedPipeline:
    return load_pipeline("embedded", CPU, torch.float32)


def settings(**changes: Any) -> SamplerSettings:
    return SamplerSettings(
        **{**load_preset("fast"), "steps": 10, "start_t": 500, "flow_updates": 2, "flow_levels": 1, **changes}
    )


def noise(seed: int, cell_px: int) -> Tensor:
    height, width = SIZE
    rough = torch.rand(1, 3, height // cell_px, width // cell_px, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(rough, SIZE, mode="bicubic").clamp(0, 1)


def mask() -> Tensor:
    y, x = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    return ((x - 70) ** 2 + (y - 64) ** 2 < 26**2).float()[None, None]


def photo() -> Tensor:
    """A warm textured disc over a cool, smoother ground."""
    ground = 0.3 * noise(1, 16) + torch.tensor([0.1, 0.3, 0.5]).view(1, 3, 1, 1)
    disc = 0.5 * noise(2, 4) + torch.tensor([0.4, 0.2, 0.0]).view(1, 3, 1, 1)
    return torch.where(mask() > 0, disc, ground)


def flow() -> Tensor:
    return torch.cat([SHIFT_PX * mask(), 0 * mask()], dim=1)


def run(pipe: MotionGuidedPipeline, seed: int = 0, **changes: Any) -> MotionGuidedOutput:
    chosen = settings(**changes)
    flow_model = load_flow_model("embedded", chosen.flow_updates, chosen.flow_levels, CPU)
    generator = torch.Generator().manual_seed(seed)
    return pipe(photo(), flow(), flow_model, chosen, mask=mask(), generator=generator, output_type="pt")


def test_a_seed_decides_every_bit(pipe) -> None:
    first = run(pipe, seed=3)
    assert torch.equal(first.images, run(pipe, seed=3).images)
    assert not torch.equal(first.images, run(pipe, seed=4).images)
    assert first.evaluations == 3  # of the 5 steps below 500, all but the first and the last
    assert first.energy is not None


@pytest.mark.parametrize("start", ["warp", "noise", "inverted"])
def test_pixels_that_nothing_asked_to_change_are_the_photos(pipe, start) -> None:
    output = run(pipe, start=start, start_t=1000, steps=4)
    untouched = (output.draft.edit == 0).expand(-1, 3, -1, -1)
    assert 0.5 < untouched.float().mean() < 1
    assert torch.equal(output.images[untouched], photo()[untouched])
    assert not torch.equal(output.images, photo())
    assert 0 <= output.images.min() <= output.images.max() <= 1


def test_no_steps_are_the_draft(pipe) -> None:
    output = run(pipe, steps=0)
    assert torch.equal(output.images, output.draft.image)
    assert (output.evaluations, output.energy) == (0, None)
    moved = torch.roll(photo(), SHIFT_PX, dims=-1)
    inside = torch.roll(mask(), SHIFT_PX, dims=-1).expand(-1, 3, -1, -1) > 0
    torch.testing.assert_close(output.images[inside], moved[inside], rtol=0, atol=0.02)


def test_the_mask_is_where_the_flow_moves_unless_given(pipe) -> None:
    flow_model = load_flow_model("embedded", 2, 1, CPU)
    bare = pipe(photo(), flow(), flow_model, settings(steps=0), output_type="pt")
    assert torch.equal(bare.images, run(pipe, steps=0).images)


def test_pictures_in_and_out(pipe) -> None:
    picture = Image.fromarray((255 * photo()[0].permute(1, 2, 0)).round().byte().numpy())
    flow_model = load_flow_model("embedded", 2, 1, CPU)
    (image,) = pipe(picture, flow(), flow_model, settings(steps=0)).images
    assert image.size == picture.size
    assert np.array_equal(np.asarray(image)[:20], np.asarray(picture)[:20])


@pytest.mark.parametrize(
    ("size", "flow_size", "said"),
    [
        ((128, 200), (128, 200), "image of 200 x 128 pixels: resize it so that both sides are multiples of 64"),
        ((100, 192), (100, 192), "image of 192 x 100 pixels"),
        ((128, 192), (128, 128), r"flow of shape \(1, 2, 128, 128\) does not fit an image of 192 x 128 pixels"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(pipe, size, flow_size, said) -> None:
    with pytest.raises(InputError, match=said):
        pipe(torch.rand(1, 3, *size), torch.ones(1, 2, *flow_size), load_flow_model("embedded", 2, 1, CPU), settings())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_flow_that_is_not_finite_is_refused(pipe, value) -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        pipe(photo(), flow() * value, load_flow_model("embedded", 2, 1, CPU), settings())


def test_a_picture_of_no_numbers_is_refused(pipe) -> None:
    with pytest.raises(InputError, match=r"sampler\.weight 1e\+38: drove the picture out of all bounds"):
        run(pipe, weight=1e38, window=(0.8, 1.0))


def test_guidance_counts_only_inside_its_window(pipe) -> None:
    assert run(pipe, weight=0.0).evaluations == 0
    assert run(pipe, window=(0.0, 0.4)).evaluations == 2
    assert run(pipe, window=(0.0, 1.0), recursions=2).evaluations == 10


def energy_after(pipe: MotionGuidedPipeline, weight: float) -> float:
    """Energy of a result from pure noise, no subject held, no draft shown: nothing but guidance asks for the motion."""
    free = {"start": "noise", "start_t": 1000, "subject_until": 0.0, "show_draft": False}
    found = run(pipe, weight=weight, window=(0.0, 1.0), steps=12, **free)
    judge = MotionGuidance(photo(), flow(), load_flow_model("embedded", 6, 1, CPU), EnergyWeights(3.0, 100.0))
    with torch.no_grad():
        return float(judge(found.images).total)


def test_guidance_lowers_the_energy(pipe) -> None:
    """At the time of writing from 8.0 to 5.9."""
    assert energy_after(pipe, weight=0.15) < 0.85 * energy_after(pipe, weight=0.0)


def test_several_images_in_one_pass_are_each_as_alone(pipe) -> None:
    pictures = torch.cat([photo(), photo().flip(-1)])
    flows = torch.cat([flow(), flow().roll(12, dims=-2)])
    guide = load_flow_model("embedded", 2, 1, CPU)
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    both = pipe(pictures, flows, guide, settings(), generator=generators, output_type="pt")
    assert both.images.shape == pictures.shape
    for index, seed in enumerate((3, 4)):
        alone = (each[index : index + 1] for each in (pictures, flows))
        one = pipe(*alone, guide, settings(), generator=torch.Generator().manual_seed(seed), output_type="pt")
        torch.testing.assert_close(both.images[index : index + 1], one.images, atol=1e-3, rtol=0)
        assert (one.images - pictures[index]).abs().max() > 0.05
