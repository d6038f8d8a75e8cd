"""Folders and files that are no model here are named for what they are, with what to do, before anything is loaded."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from model_cache import SD_INDEX, write, write_sd
from safetensors.torch import save_file

from mtransfer.errors import ModelError
from mtransfer.jobs.recipe import EditRecipe
from mtransfer.jobs.transfer import prepare_edit
from mtransfer.sampling.model_folder import require_layout

WEIGHTS = "diffusion_pytorch_model"


def told(path: Path) -> str:
    """The line with which a path is refused."""
    with pytest.raises(ModelError) as refused:
        require_layout(path, "given")
    assert str(refused.value).startswith("--model given: ")
    assert "\n" not in str(refused.value)
    return str(refused.value)


def single(path: Path, *names: str) -> Path:
    save_file({name: torch.zeros(1) for name in names}, path)
    return path


SD1 = "cond_stage_model.transformer.text_model.embeddings.position_ids"
SD2 = "cond_stage_model.model.ln_final.weight"
UNET = "model.diffusion_model.input_blocks.0.0.weight"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((SD1, UNET), ["Stable Diffusion 1 checkpoint", "from_single_file", "name that"]),
        ((SD2, UNET), ["Stable Diffusion 2 checkpoint", "from_single_file"]),
        (("conditioner.embedders.0.x", UNET), ["Stable Diffusion XL", "StableDiffusionXLPipeline.from_single_file"]),
        (("model.diffusion_model.joint_blocks.0.x",), ["Stable Diffusion 3", "such as sd15"]),
        (("double_blocks.0.img_attn",), ["FLUX", "such as sd15"]),
        (("lora_unet_down_blocks_0.lora_up.weight",), ["LoRA"]),
        (("unet.down_blocks.0.attn.to_q.lora_A.weight",), ["LoRA"]),
        (("control_model.zero_convs.0.0.bias",), ["ControlNet"]),
        (("down_blocks.0.resnets.0.conv1.weight",), ["weights of one net"]),
        (("emb_params",), ["unknown kind"]),
    ],
)
def test_a_single_file_says_what_it_is(tmp_path: Path, names: tuple[str, ...], words: list[str]) -> None:
    line = told(single(tmp_path / "some model.safetensors", *names))
    assert all(word in line for word in words)
    assert "single file" in line


def test_a_pickled_checkpoint_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "v1-5.ckpt").write_bytes(b"not even a pickle")
    line = told(tmp_path / "v1-5.ckpt")
    assert "pickled checkpoint" in line
    assert f"from_single_file('{tmp_path / 'v1-5.ckpt'}')" in line


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x05" + bytes(7) + b"[1,2]", b"\x04" + bytes(7) + b"nope"])
def test_a_broken_file_is_no_traceback(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    assert "unknown kind" in told(tmp_path / "a.safetensors")
    (tmp_path / "picture.png").write_bytes(content)
    assert "is a file that is no model" in told(tmp_path / "picture.png")


def sdxl(folder: Path) -> None:
    write_sd(folder)
    index = SD_INDEX | {"_class_name": "StableDiffusionXLPipeline", "text_encoder_2": ["transformers", "CLIPTextModel"]}
    write(folder / "model_index.json", json.dumps(index))


def refiner(folder: Path) -> None:
    write_sd(folder)
    write(folder / "unet" / "config.json", json.dumps({"addition_embed_type": "text_time"}))


def flux(folder: Path) -> None:
    index = {
        "_class_name": "FluxPipeline",
        "transformer": ["diffusers", "FluxTransformer2DModel"],
        "vae": ["diffusers", "y"],
    }
    write(folder / "model_index.json", json.dumps(index))


def weights(name: str) -> Callable[[Path], object]:
    return lambda folder: write_sd(folder, name)


def part(folder: Path) -> None:
    write(folder / "config.json", json.dumps({"_class_name": "UNet2DConditionModel"}))
    write(folder / f"{WEIGHTS}.safetensors", "12345678")


FOLDERS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "SDXL, not whole": (sdxl, ["Stable Diffusion XL", "StableDiffusionXLPipeline", "tokenizer_2", "such as sd15"]),
    "SDXL by its net": (refiner, ["Stable Diffusion XL", "text_encoder_2"]),
    "FLUX, not whole": (flux, ["FLUX (FluxPipeline)", "without its scheduler"]),
    "pickled": (weights(f"{WEIGHTS}.bin"), ["pickled weights (.bin)", "from_pretrained", "save_pretrained"]),
    "non-EMA": (weights(f"{WEIGHTS}.non_ema.safetensors"), ["variant non_ema", "variant='non_ema'"]),
    "bf16": (weights(f"{WEIGHTS}.bf16.safetensors"), ["variant bf16", "variant='bf16'"]),
    "flax": (weights("diffusion_flax_model.msgpack"), ["another framework"]),
    "no weights": (weights("config.json"), ["no weights of unet", "fetch the model again"]),
    "a part": (part, ["UNet2DConditionModel, one part", "folder with model_index.json"]),
    "the hub's cache": (lambda folder: write_sd(folder / "snapshots" / "0"), ["hub's cache"]),
    "LoRA": (lambda folder: write(folder / "pytorch_lora_weights.safetensors", "x"), ["LoRA"]),
    "single file": (lambda folder: write(folder / "v1-5.ckpt", "x"), ["v1-5.ckpt", "pickled checkpoint"]),
    "broken": (lambda folder: write(folder / "model_index.json", "{"), ["broken model_index.json"]),
    "empty": (lambda folder: folder.mkdir(), ["holds no model_index.json"]),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_says_what_it_is(tmp_path: Path, kind: str) -> None:
    make, words = FOLDERS[kind]
    make(tmp_path / "model")
    line = told(tmp_path / "model")
    assert all(word in line for word in words)


@pytest.mark.parametrize(
    "name",
    [
        f"{WEIGHTS}.safetensors",
        f"{WEIGHTS}.fp16.safetensors",
        f"{WEIGHTS}-00001-of-00002.safetensors",
        f"{WEIGHTS}.fp16-00001-of-00002.safetensors",
        f"{WEIGHTS}-00001-of-00002.fp16.safetensors",
        "model.safetensors",
    ],
)
def test_a_model_passes(tmp_path: Path, name: str) -> None:
    require_layout(write_sd(tmp_path / "model", name), "given")


def test_pickled_weights_beside_safe_ones_do_no_harm(tmp_path: Path) -> None:
    folder = write_sd(tmp_path / "model")
    write(folder / "unet" / f"{WEIGHTS}.bin", "x")
    write(folder / "unet" / f"{WEIGHTS}.non_ema.safetensors", "x")
    require_layout(folder, "given")


def test_it_is_said_before_the_photo_is_looked_at(tmp_path: Path) -> None:
    sdxl(tmp_path / "model")
    recipe = EditRecipe.build(
        {"photo": tmp_path / "absent.png", "model": str(tmp_path / "model"), "translate": "9,0", "device": "cpu"}, []
    )
    with pytest.raises(ModelError, match="Stable Diffusion XL"):
        prepare_edit(recipe)
