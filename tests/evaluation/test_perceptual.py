from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor
from torchmetrics.functional.image.lpips import learned_perceptual_image_patch_similarity
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from mtransfer.evaluation.perceptual import BACKBONES, _load_clip, clip_similarity, lpips


def picture(seed: int, size: tuple[int, int] = (64, 80)) -> Tensor:
    coarse = torch.rand(1, 3, size[0] // 8, size[1] // 8, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size, mode="bilinear")


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CLIP of the usual layout, random and tiny, saved as a directory."""
    torch.manual_seed(0)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokens = {"vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = CLIPConfig(
        projection_dim=16, vision_config={**tower, "image_size": 32, "patch_size": 8}, text_config={**tower, **tokens}
    )
    folder = tmp_path_factory.mktemp("clip")
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Path]:
    """An empty folder where torchvision looks for its weights meanwhile."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(tmp_path)
    yield tmp_path / "checkpoints"
    torch.hub.set_dir(before)


def test_clip_finds_a_picture_most_like_itself(tiny_clip: str) -> None:
    photo = picture(0)
    same = clip_similarity(photo, photo, tiny_clip)
    near = clip_similarity(photo, (photo + 0.02 * picture(5)).clamp(0, 1), tiny_clip)
    far = clip_similarity(photo, 1 - photo, tiny_clip)
    assert same == pytest.approx(1, abs=1e-5)
    assert same > near > far
    assert far < 0.995


def test_clip_takes_pictures_of_any_size(tiny_clip: str) -> None:
    assert -1 <= clip_similarity(picture(0), picture(0, (120, 40)), tiny_clip) <= 1


def test_clip_loads_without_a_word(tiny_clip: str, capfd: pytest.CaptureFixture[str]) -> None:
    _load_clip.cache_clear()
    clip_similarity(picture(0), picture(1), tiny_clip)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("hub")
def test_without_weights_there_is_no_figure(tmp_path: Path) -> None:
    assert clip_similarity(picture(0), picture(0), str(tmp_path)) is None
    assert clip_similarity(picture(0), picture(0), "nobody/no-such-clip") is None
    assert [lpips(picture(0), picture(0), net) for net in BACKBONES] == [None] * 3


def test_nothing_is_fetched(tiny_clip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    for part in (CLIPModel, CLIPImageProcessor):
        load = part.from_pretrained
        monkeypatch.setattr(part, "from_pretrained", lambda *a, load=load, **o: asked.append(o) or load(*a, **o))
    _load_clip.cache_clear()
    clip_similarity(picture(0), picture(0), tiny_clip)
    assert asked == [{"local_files_only": True, "use_safetensors": True}, {"local_files_only": True}]


@pytest.fixture
def squeeze(hub: Path) -> None:
    """A backbone of random weights where torchvision keeps its own."""
    torch.manual_seed(0)
    hub.mkdir()
    weights = torchvision.models.squeezenet1_1(weights=None).state_dict()
    torch.save(weights, hub / Path(BACKBONES["squeeze"].url).name)


@pytest.mark.usefixtures("squeeze")
def test_lpips_grows_with_the_difference() -> None:
    photo = picture(0)
    near = lpips(photo, (photo + 0.05 * picture(5)).clamp(0, 1), "squeeze")
    assert lpips(photo, photo, "squeeze") == 0
    assert lpips(photo, picture(1), "squeeze") > 2 * near > 0
    expected = learned_perceptual_image_patch_similarity(photo, picture(1), "squeeze", normalize=True)
    assert lpips(photo, picture(1), "squeeze") == pytest.approx(float(expected))


def test_lpips_unpickles_nothing_but_tensors(hub: Path) -> None:
    hub.mkdir()
    torch.save({"harm": Path("x")}, hub / Path(BACKBONES["vgg"].url).name)
    with pytest.raises(UnpicklingError):
        lpips(picture(0), picture(0), "vgg")
