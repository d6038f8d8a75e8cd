"""mtransfer from Python: its names, its keywords, and what a user plugs in."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pictures import SIDE_PX, disc, disc_photo, save_clip, save_mask, save_picture
from PIL import Image
from torch import Tensor

import mtransfer
from mtransfer import EditRecipe, InputError, MotionGuidedPipeline, TransferRecipe, edit, transfer
from mtransfer.flow.estimator import FlowModel
from mtransfer.flow.io import save_field
from mtransfer.jobs.context import _require_one
from mtransfer.sampling.ddim import ddim_timesteps
from mtransfer.sampling.guidance import EnergyTerm
from mtransfer.sampling.loading import load_pipeline
from mtransfer.sampling.settings import SamplerSettings

CPU = torch.device("cpu")
IMPORT_LIMIT_S = 0.2
SIZE = (128, 192)
QUICK = {"steps": 8, "start_t": 600, "flow_updates": 1, "flow_levels": 1}  # visits a few steps, guides most


class PerceptualTerm:
    """An energy of the user's own, like LPIPS: how far the image's features are from those of the source as moved.

    The features are those of a small fixed network, each normalised over its channels.
    """

    def __init__(self, weight: float, channels: int = 16) -> None:
        self.weight, self.calls = weight, 0
        generator = torch.Generator().manual_seed(0)
        self.layers = [
            torch.randn(channels, inputs, 3, 3, generator=generator) / (9 * inputs) ** 0.5 for inputs in (3, channels)
        ]

    def __call__(self, source: Tensor, image: Tensor, flow: Tensor) -> Tensor:
        self.calls += 1
        pairs = zip(self._features(source), self._features(image), strict=True)
        return torch.stack([(one - other).square().mean(dim=(1, 2, 3)) for one, other in pairs]).sum(dim=0)

    def _features(self, image: Tensor) -> list[Tensor]:
        found = []
        for layer in self.layers:
            image = F.relu(F.conv2d(image, layer, stride=2, padding=1))
            found.append(F.normalize(image, dim=1, eps=1e-6))
        return found


class Brightness:
    """A flow estimator of the user's own: it takes the brightness of the image for motion to the right."""

    def __init__(self) -> None:
        self.sources: list[Tensor] = []
        self.calls = 0

    def encode(self, source: Tensor) -> None:
        self.sources.append(source)

    def flow(self, image: Tensor) -> Tensor:
        self.calls += 1
        return torch.cat([8 * image.mean(dim=1, keepdim=True), 0 * image[:, :1]], dim=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    save_picture(folder / "photo.png", disc_photo())
    save_mask(folder / "mask.png")
    save_clip(folder / "clip.mp4")
    return folder


@pytest.fixture(scope="module")
def pipe() -> MotionGuidedPipeline:
    return load_pipeline("embedded", CPU, torch.float32)


def photo() -> Tensor:
    return F.interpolate(disc_photo()[None], SIZE, mode="bilinear").clamp(0, 1)


def flow() -> Tensor:
    field = torch.zeros(1, 2, *SIZE)
    field[:, 0, 40:90, 50:110] = 6
    return field


def moved(home: Path, **more: Any) -> mtransfer.TransferOutput:
    return edit(photo=home / "photo.png", subject=str(home / "mask.png"), translate="8,0", sampler=QUICK, **more)


def test_every_public_name_is_documented() -> None:
    assert set(mtransfer.__all__) >= {"transfer", "edit", "TransferOutput", "MotionGuidedPipeline", "FlowField"}
    for name in mtransfer.__all__:
        value = getattr(mtransfer, name)
        if name == "__version__":
            continue
        assert value.__doc__, name
        assert not value.__doc__.startswith(f"{name}("), f"{name} has only what dataclasses write"
    with pytest.raises(AttributeError, match="no attribute 'transferr'"):
        mtransfer.transferr  # noqa: B018


def test_tensors_are_described_with_shape_and_range() -> None:
    for value in (mtransfer.TransferOutput, mtransfer.FlowField, mtransfer.Subject):
        assert "float32[" in value.__doc__
        assert "[0,1]" in value.__doc__ or "pixels" in value.__doc__
    assert all(
        words in MotionGuidedPipeline.__call__.__doc__ for words in ("[B,3,H,W] in [0,1]", "[B,2,H,W]", "pixels")
    )


def test_functions_stay_functions_once_modules_are_imported() -> None:
    importlib.import_module("mtransfer.jobs.transfer")
    importlib.import_module("mtransfer.jobs.animation.animate")
    assert callable(mtransfer.transfer)
    assert callable(mtransfer.animate)


def test_importing_is_quick() -> None:
    script = "import time; start = time.perf_counter(); import mtransfer; print(time.perf_counter() - start)"
    seconds = [
        float(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout)
        for _ in range(4)
    ]
    assert min(seconds) < IMPORT_LIMIT_S


def test_an_edit_by_keywords_is_the_recipes(home) -> None:
    stages = []
    given = {"photo": home / "photo.png", "translate": "8,0", "preset": "draft", "seed": 5}
    output = edit(**given, report=lambda stage, done, total, energy: stages.append(stage))
    assert torch.equal(output.frames, edit(EditRecipe.build(given, [])).frames)
    assert output.frames.shape == (1, 3, SIDE_PX, SIDE_PX)
    assert (output.recipe.seed, output.recipe.subject, output.recipe.model) == (5, "salient", "embedded")
    assert list(dict.fromkeys(stages)) == ["photo", "warp", "measure"] == list(output.timings)


def test_a_transfer_by_keywords(home) -> None:
    names = {"clip": str(home / "clip.mp4"), "photo": str(home / "photo.png")}
    output = transfer(**names, pair="0:3", preset="draft", flow_model="dis", strength=0.5)
    inside = disc() > 0
    assert output.recipe.pair == "0:3"
    assert 2 < float(output.flow.flow[0, 0][inside].mean()) < 7  # half of 9 px
    assert output.frames.shape == (1, 3, SIDE_PX, SIDE_PX)


@pytest.mark.parametrize(
    ("job", "given", "said"),
    [
        (edit, {}, "nothing to do: give an EditRecipe, or its fields by name, such as photo='a.jpg'"),
        (transfer, {}, "nothing to do: give a TransferRecipe, or its fields by name"),
        (edit, {"photo": "a.png", "noise": "n.safetensors"}, "--noise n.safetensors: sampler.start=warp ignores it"),
        (edit, {"photo": "a.png", "sampler": {"w_flow": 0, "w_color": 0}}, "sampler.w_flow 0 and sampler.w_color 0: "),
        (edit, {"photo": "absent.png", "translate": "8,0"}, "absent.png does not exist"),
        (edit, {"photo": "a.png", "preset": "slow"}, "--preset slow: unknown"),
        (edit, {"photo": "a.png", "sampler": {"stepz": 3}}, "sampler.stepz 3: extra inputs"),
        (edit, {"photo": "a.png", "clip": "a.mp4"}, "--clip 'a.mp4': extra inputs"),
        (transfer, {"photo": "a.png"}, "--clip: field required"),
    ],
)
def test_keywords_that_do_not_fit_are_refused(job, given, said) -> None:
    with pytest.raises(InputError, match=said):
        job(**given)


def test_a_recipe_and_keywords_are_not_mixed(home) -> None:
    """The line says how to change a recipe, and it works as it stands."""
    recipe = EditRecipe.build({"photo": home / "photo.png", "translate": "8,0"}, [])
    with pytest.raises(InputError, match=r"^preset, strength: cannot be given beside a recipe; ") as error:
        edit(recipe, preset="draft", strength=2)
    way = str(error.value).partition("change the recipe first: ")[2]
    changed = eval(way, {"EditRecipe": EditRecipe, "recipe": recipe})
    assert (changed.preset, changed.sampler.steps, changed.strength) == ("draft", 0, 2)
    assert (changed.photo, changed.translate) == (recipe.photo, recipe.translate)


@pytest.mark.parametrize(
    ("given", "said"), [("photo.jpg", "a str is not a TransferRecipe"), (EditRecipe, "an EditRecipe is not a Tr")]
)
def test_what_is_no_recipe_of_the_kind_is_refused(given, said) -> None:
    recipe = given if isinstance(given, str) else given.build({"photo": "a.png"}, [])
    with pytest.raises(InputError, match=f"^{said}.*; give one, or its fields by name$"):
        _require_one(TransferRecipe, recipe, {})


def test_a_prompt_that_nobody_reads_is_said_to_be(home, capsys) -> None:
    edit(photo=home / "photo.png", translate="8,0", subject="70,80", preset="draft", prompt="a disc")
    assert "--prompt: --preset draft asks no model, so it has no effect" in capsys.readouterr().err


def test_an_energy_of_ones_own_counts(home) -> None:
    nothing, something = PerceptualTerm(weight=0.0), PerceptualTerm(weight=50.0)
    assert isinstance(something, EnergyTerm)
    plain = moved(home)
    unweighted, pushed = (moved(home, energy_terms=[term]) for term in (nothing, something))
    assert torch.equal(plain.frames, unweighted.frames)
    assert nothing.calls == something.calls == plain.metrics["guided_evaluations"] > 0
    inside = (plain.edit > 0).expand(-1, 3, -1, -1)
    assert not torch.equal(plain.frames[inside], pushed.frames[inside])
    assert torch.equal(plain.frames[~inside], pushed.frames[~inside])


def test_an_energy_of_ones_own_is_added_with_its_weight(pipe) -> None:
    settings = SamplerSettings.from_preset("fast", **QUICK)

    def first_total(*terms: EnergyTerm) -> float:
        totals = []

        def callback(pipe: Any, step: int, t: int, values: dict[str, Any]) -> None:
            if values["energy"] is not None:
                totals.append(float(values["energy"].total))

        generator = torch.Generator().manual_seed(0)
        pipe(photo(), flow(), None, settings, energy_terms=terms, generator=generator, callback_on_step_end=callback)
        return totals[0]

    class One:
        weight = 2.5

        def __call__(self, source: Tensor, image: Tensor, flow: Tensor) -> Tensor:
            assert source.shape == image.shape == (1, 3, *SIZE)
            assert flow.shape == (1, 2, *SIZE)
            return image.sum(dim=(1, 2, 3)) * 0 + 1

    assert first_total(One(), One()) - first_total() == pytest.approx(5, abs=1e-4)


def test_a_flow_net_of_ones_own_guides(home) -> None:
    guide = Brightness()
    assert isinstance(guide, FlowModel)
    plain, own = moved(home), moved(home, guide=guide)
    assert guide.calls == own.metrics["guided_evaluations"] > 0
    (source,) = guide.sources
    assert source.shape == (1, 3, 256, 256)
    assert not torch.equal(plain.frames, own.frames)


@pytest.mark.slow
def test_the_pipeline_needs_no_more_than_an_image_and_a_flow(pipe) -> None:
    """By default the preset `fast`, unguided with the embedded net; the mask is where the flow moves."""
    first, second = (torch.Generator().manual_seed(1) for _ in range(2))
    steps = []

    def callback(given: MotionGuidedPipeline, step: int, t: int, values: dict[str, Any]) -> dict[str, Any] | None:
        assert given is pipe
        assert {"latents", "x0", "energy", "count"} <= values.keys()
        steps.append((step, t, values["count"]))
        return None

    bare = pipe(photo(), flow(), generator=first, output_type="pt", callback_on_step_end=callback)
    fast = SamplerSettings.from_preset("fast")
    visited = ddim_timesteps(pipe.scheduler.alphas_cumprod, fast.for_embedded().steps, fast.start_t).t
    assert steps == [(step, t, len(visited)) for step, t in enumerate(visited)]
    assert bare.evaluations == 0
    by_name = pipe(
        image=photo(), flow=flow(), settings=fast, mask=flow()[:, :1] / 6, generator=second, output_type="pt"
    )
    assert torch.equal(bare.images, by_name.images)
    assert pipe(photo(), flow(), Brightness(), output_type="pt").evaluations > 0


@pytest.mark.parametrize("output_type", ["pil", "pt", "np"])
def test_the_pipelines_output_types(pipe, output_type) -> None:
    settings = SamplerSettings.from_preset("draft")
    picture = Image.fromarray((255 * photo()[0].permute(1, 2, 0)).round().byte().numpy())
    images = pipe(picture, flow(), settings=settings, output_type=output_type).images
    wanted = pipe(picture, flow(), settings=settings, output_type="pt").images
    assert len(images) == 1
    if output_type == "pil":
        found = torch.from_numpy(np.asarray(images[0]).astype(np.float32) / 255).permute(2, 0, 1)[None]
        torch.testing.assert_close(found, wanted, rtol=0, atol=0.51 / 255)
    elif output_type == "np":
        assert np.array_equal(images, wanted.permute(0, 2, 3, 1).numpy())
    else:
        assert images.shape == (1, 3, *SIZE)


def test_settings_are_a_presets_with_changes() -> None:
    changed = SamplerSettings.from_preset("paper", steps=7)
    assert (changed.steps, changed.recursions) == (7, 10)
    with pytest.raises(InputError, match="--preset slow: unknown"):
        SamplerSettings.from_preset("slow")
    with pytest.raises(ValueError, match="stepz"):
        SamplerSettings.from_preset("paper", stepz=7)


def test_a_field_made_in_python_can_be_an_edits(home, tmp_path) -> None:
    values = torch.zeros(1, 2, SIDE_PX, SIDE_PX)
    values[:, 0] = 6 * disc()
    save_field(mtransfer.FlowField.from_flow(values), tmp_path / "mine.npz")
    output = edit(photo=home / "photo.png", flow=tmp_path / "mine.npz", preset="draft")
    assert torch.equal(output.flow.flow, values)
