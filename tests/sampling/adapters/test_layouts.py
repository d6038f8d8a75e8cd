"""A folder of every family is told by its small files, loads, and is refused in one line where something is missing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline, StableDiffusion3Pipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from tiny_families import parts_of

from mtransfer.errors import ModelError
from mtransfer.sampling.adapters.families import family_of
from mtransfer.sampling.adapters.flux import Flux
from mtransfer.sampling.adapters.layouts import Facts, facts, layout_of, side_px
from mtransfer.sampling.adapters.sdxl import StableDiffusionXL
from mtransfer.sampling.adapters.stable_diffusion import StableDiffusion
from mtransfer.sampling.adapters.stable_diffusion_3 import StableDiffusion3
from mtransfer.sampling.loading import load_pipeline
from mtransfer.sampling.model_folder import model_side_px, require_layout

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
UNCHECKED: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
KINDS: dict[str, tuple[Any, type, str, int]] = {
    "sd": (StableDiffusionPipeline, StableDiffusion, "Stable Diffusion", 512),
    "sd-inpaint": (StableDiffusionPipeline, StableDiffusion, "Stable Diffusion, inpainting", 512),
    "lcm": (StableDiffusionPipeline, StableDiffusion, "Stable Diffusion, few steps", 512),
    "sdxl": (StableDiffusionXLPipeline, StableDiffusionXL, "Stable Diffusion XL", 512),
    "turbo": (StableDiffusionXLPipeline, StableDiffusionXL, "Stable Diffusion XL, few steps", 512),
    "sd3": (StableDiffusion3Pipeline, StableDiffusion3, "Stable Diffusion 3", 256),
    "flux": (FluxPipeline, Flux, "FLUX", 1024),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp(kind)
    parts, known = parts_of(kind, home / "tokenizers"), KINDS[kind][0]
    whole = known(**parts, **(UNCHECKED if known is StableDiffusionPipeline else {}))
    whole.save_pretrained(home / "model")
    return home / "model"


def test_it_says_what_it_is(kind, folder) -> None:
    _, _, words, side = KINDS[kind]
    found = facts(folder)
    assert isinstance(found, Facts)
    assert (found.family, found.precision, side_px(folder)) == (words, "F32", side)
    weights = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    assert 0.3 * weights < found.memory_bytes < 0.5 * weights  # of float32, less the headers
    assert model_side_px(str(folder)) == side


def test_it_loads_by_its_family(kind, folder) -> None:
    pipe = load_pipeline(str(folder), torch.device("cpu"), torch.float32)
    assert isinstance(family_of(pipe.net), KINDS[kind][1])
    assert pipe.takes_prompt
    assert not any(weights.requires_grad for weights in pipe.net.parameters())


def told(folder: Path) -> str:
    with pytest.raises(ModelError) as refused:
        require_layout(folder, "given")
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_what_is_missing_is_named_before_anything_is_loaded(folder, tmp_path) -> None:
    shutil.copytree(folder, tmp_path / "model")
    require_layout(tmp_path / "model", "given")
    layout = layout_of(folder)
    assert layout is not None
    for part in layout.parts:
        (tmp_path / "model" / part).rename(tmp_path / "aside")
        assert part in told(tmp_path / "model")
        (tmp_path / "aside").rename(tmp_path / "model" / part)
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = [None, None]
    (tmp_path / "model" / "model_index.json").write_text(json.dumps(index))
    assert "without its scheduler" in told(tmp_path / "model")


def test_another_transformer_is_of_no_known_layout(tmp_path) -> None:
    index = {"_class_name": "PixArtAlphaPipeline", "transformer": ["diffusers", "PixArtTransformer2DModel"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert facts(tmp_path) is None
    assert "another layout (PixArtAlphaPipeline)" in told(tmp_path)
