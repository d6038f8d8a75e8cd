from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from mtransfer.sampling.autoencoder import AutoencoderSpaceToDepth


def picture(height: int, width: int, batch: int = 2) -> torch.Tensor:
    return 2 * torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0)) - 1


@given(st.sampled_from([2, 4, 8]), st.integers(1, 5), st.integers(1, 5))
def test_the_way_there_and_back_is_exact(block, rows, columns) -> None:
    vae = AutoencoderSpaceToDepth(block_size=block)
    image = picture(block * rows, block * columns)
    latents = vae.encode(image).latent_dist.sample(torch.Generator().manual_seed(0))
    assert latents.shape == (2, 3 * block * block, rows, columns)
    assert torch.equal(latents, vae.encode(image).latent_dist.mode())
    assert torch.equal(vae.decode(latents).sample, image)


def test_a_latent_pixel_holds_its_own_block_and_no_other() -> None:
    image = picture(16, 16, 1)
    changed = image.clone()
    changed[..., 4:8, 8:12] = 0
    vae = AutoencoderSpaceToDepth(block_size=4)
    differs = (vae.encode(image).latent_dist.mode() != vae.encode(changed).latent_dist.mode()).any(dim=1)[0]
    assert differs.nonzero().tolist() == [[1, 2]]


def test_gradients_pass_unchanged() -> None:
    vae, image = AutoencoderSpaceToDepth(), picture(8, 8).requires_grad_()
    weight = picture(8, 8)
    (weight * vae.decode(vae.encode(image).latent_dist.mode()).sample).sum().backward()
    assert torch.equal(image.grad, weight)


def test_it_is_saved_and_loaded_as_diffusers_does(tmp_path: Path) -> None:
    AutoencoderSpaceToDepth(block_size=8, scaling_factor=0.5).save_pretrained(tmp_path)
    loaded = AutoencoderSpaceToDepth.from_pretrained(tmp_path, use_safetensors=True, low_cpu_mem_usage=False)
    assert (loaded.config["block_size"], loaded.config["scaling_factor"]) == (8, 0.5)
    assert loaded.encode(picture(16, 16)).latent_dist.mode().shape == (2, 192, 2, 2)
    assert (loaded.dtype, loaded.device) == (torch.float32, torch.device("cpu"))
