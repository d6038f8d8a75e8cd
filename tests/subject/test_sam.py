"""Segment Anything's part in choosing the subject, on a tiny random net of the same layout."""

import numpy as np
import pytest
import torch
from model_cache import snapshot
from torch import Tensor
from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

from mtransfer.errors import InputError, ModelError
from mtransfer.subject import sam
from mtransfer.subject.sam import automatic_points, segment_sam
from mtransfer.subject.segment import segment

SIDE_PX, WIDTH = 64, 16
FRAME = {"image_size": SIDE_PX, "patch_size": 8}
BOX = (20.0, 10.0, 70.0, 60.0)


def build_tiny_sam(folder) -> None:
    torch.manual_seed(0)
    vision = {"hidden_size": WIDTH, "output_channels": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision |= {"window_size": 2, "global_attn_indexes": [1], "num_pos_feats": WIDTH // 2, "mlp_dim": 32}
    decoder = {"hidden_size": WIDTH, "mlp_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = SamConfig(
        vision_config={**vision, **FRAME, "initializer_range": 0.5},
        prompt_encoder_config={"hidden_size": WIDTH, "mask_input_channels": 4, **FRAME},
        mask_decoder_config={**decoder, "iou_head_depth": 2, "iou_head_hidden_dim": WIDTH},
    )
    net = SamModel(config)
    for weight in net.parameters():  # of the usual start's size its masks are all alike
        torch.nn.init.normal_(weight, std=0.4)
    net.save_pretrained(folder)
    square = {"height": SIDE_PX, "width": SIDE_PX}
    small = {"mask_size": {"longest_edge": 16}, "mask_pad_size": {"height": 16, "width": 16}}
    SamProcessor(SamImageProcessor(size={"longest_edge": SIDE_PX}, pad_size=square, **small)).save_pretrained(folder)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("sam")
    build_tiny_sam(folder)
    return str(folder)


@pytest.fixture(autouse=True)
def empty_disk(monkeypatch, tmp_path) -> None:
    sam.load_sam.cache_clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def image() -> Tensor:
    """A bright disc with a dark spot on noise, 72 x 96 pixels."""
    image = 0.1 * torch.rand(3, 72, 96, generator=torch.Generator().manual_seed(1))
    y, x = torch.meshgrid(torch.arange(72), torch.arange(96), indexing="ij")
    image[0][(x - 45) ** 2 + (y - 35) ** 2 < 20**2] += 0.8
    return image.clamp(0, 1)


class FakeNet:
    """Answers with three masks of its own, and remembers what it was asked."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, masks: Tensor, scores: list[float]) -> None:
        self.masks, self.scores = masks, scores
        self.asked: dict[str, Tensor] = {}

    def __call__(self, *, multimask_output: bool, **asked: Tensor):
        assert multimask_output
        self.asked = asked

        class Found:
            pred_masks = self.masks[None, None]
            iou_scores = torch.tensor([[self.scores]])

        return Found


@pytest.fixture
def fake(tiny, monkeypatch) -> FakeNet:
    """Three quarters of SAM's square, of which the second is the best."""
    masks = torch.full((3, 16, 16), -9.0)
    masks[0, :8, :8] = masks[1, :8, 8:] = masks[2, 8:, :8] = 9.0
    net = FakeNet(masks, [0.2, 0.9, 0.5])
    processor = sam.load_sam(tiny, torch.device("cpu"))[1]
    monkeypatch.setattr(sam, "load_sam", lambda model, device: (net, processor))
    return net


@pytest.mark.parametrize(
    "prompt", [{"points": [(45.0, 35.0)]}, {"box": BOX}, {"points": [(45.0, 35.0), (50, 40)], "box": BOX}]
)
def test_a_mask_of_the_pictures_size(prompt, tiny, image, capfd) -> None:
    mask = segment_sam(image, model=tiny, **prompt)
    assert mask.shape == (1, 72, 96)
    assert mask.dtype == torch.float32
    assert 0 <= mask.min() <= mask.max() <= 1
    assert mask.max() > 0.5
    assert torch.equal(segment_sam(image, model=tiny, **prompt), mask)
    assert capfd.readouterr() == ("", "")


def test_it_is_what_transformers_own_recipe_gives(tiny, image) -> None:
    net, processor = SamModel.from_pretrained(tiny).eval(), SamProcessor.from_pretrained(tiny)
    pixels = (255 * image).round().byte().permute(1, 2, 0).numpy()
    inputs = processor(pixels, input_points=[[[45.0, 35.0]]], return_tensors="pt").to(torch.float32)
    with torch.no_grad():
        found = net(**inputs)
    (masks,) = processor.post_process_masks(
        found.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"], binarize=True
    )
    wanted = masks[0, found.iou_scores[0, 0].argmax()]
    mask = segment_sam(image, points=[(45.0, 35.0)], model=tiny)[0]
    assert torch.equal(mask > 0.5, wanted)
    assert 0 < wanted.sum() < wanted.numel()


def test_the_mask_with_the_best_score_without_the_padding(fake, image) -> None:
    mask = segment_sam(image, points=[(45.0, 35.0)])
    assert mask[0, :30, 52:].min() == 1  # 96 x 72 fills three quarters of the square's height: its half is row 48
    assert mask[0, 50:].max() == mask[0, :, :44].max() == 0
    assert ((mask > 0) & (mask < 1)).any()  # a soft edge


def test_prompts_are_pixels_of_the_picture(fake, image) -> None:
    segment_sam(image, points=[(48.0, 36.0)], box=BOX)
    scale = SIDE_PX / 96
    assert fake.asked["input_points"].tolist() == [[[[48 * scale, 36 * scale]]]]
    assert fake.asked["input_labels"].tolist() == [[[1]]]
    np.testing.assert_allclose(fake.asked["input_boxes"], [[[at * scale for at in BOX]]], rtol=1e-6)


def test_without_a_prompt_the_points_lie_deep_in_what_stands_out(fake, image) -> None:
    segment(image, "auto", by="sam")
    points = fake.asked["input_points"][0, 0] * 96 / SIDE_PX
    assert "input_boxes" not in fake.asked
    assert fake.asked["input_labels"].unique().tolist() == [1]
    mask = segment(image, "auto").mask[0]
    assert all(mask[int(y), int(x)] == 1 for x, y in points)
    assert (points[0] - torch.tensor([45.5, 35.5])).norm() < 3


def test_automatic_points_spread_over_the_subject() -> None:
    mask = torch.zeros(1, 40, 100)
    mask[0, 10:30, 5:95] = 1
    points = automatic_points(mask)
    assert len(points) == 3
    assert all(15 < y < 25 for _, y in points)
    assert min(abs(a[0] - b[0]) for a in points for b in points if a != b) >= 20
    assert automatic_points(torch.ones(1, 9, 9))[0] == (4.5, 4.5)
    dot = torch.zeros(1, 9, 9)
    dot[0, 2, 6] = 1
    assert automatic_points(dot) == [(6.5, 2.5)]


@pytest.mark.parametrize(
    "prompt", [{"points": [(97, 3)]}, {"points": [(9, 9), (-1, 3)]}, {"box": (5, 5, 5, 9)}, {"box": (0, 0, 9, 73)}]
)
def test_prompts_outside_the_picture(prompt, tiny, image) -> None:
    with pytest.raises(
        InputError, match=r"^--clip-subject [\d,-]+: outside the picture of 96 x 72 pixels, or an empty"
    ):
        segment_sam(image, model=tiny, flag="--clip-subject", **prompt)


def test_nothing_found_is_said(fake, image) -> None:
    fake.masks = -fake.masks.abs()
    with pytest.raises(InputError, match=r"^--subject: segment anything found nothing there; give another point"):
        segment_sam(image, points=[(45.0, 35.0)])


def test_a_plain_picture_has_no_automatic_subject(fake) -> None:
    with pytest.raises(InputError, match=r"^--subject auto: no clear subject found"):
        segment(torch.full((3, 72, 96), 0.5), "auto", by="sam")


@pytest.mark.parametrize("model", ["sam", "facebook/sam-vit-base", "owner/other"])
def test_it_is_not_fetched_unasked(model, image) -> None:
    name = "sam" if "other" not in model else model
    with pytest.raises(ModelError, match=rf"^--segmenter sam: \S+ is not on this disk; fetch it with [^\n]+ {name}`$"):
        segment_sam(image, points=[(45.0, 35.0)], model=model)


def test_it_is_found_in_the_hubs_folder(image, tmp_path) -> None:
    build_tiny_sam(snapshot(tmp_path / "hub", "facebook/sam-vit-base"))
    assert segment_sam(image, points=[(45.0, 35.0)]).shape == (1, 72, 96)


def test_a_broken_model_is_one_line(image, tmp_path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"^--segmenter sam: \S+ cannot be loaded \([^\n]+\); download it again$"):
        segment_sam(image, points=[(45.0, 35.0)], model=str(tmp_path))


def test_a_model_of_another_kind_is_not_taken_for_it(image, tmp_path) -> None:
    from safetensors.torch import save_file

    build_tiny_sam(tmp_path)
    save_file({"text_model.weight": torch.zeros(1)}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"cannot be loaded \(it is no segment anything model\)"):
        segment_sam(image, points=[(45.0, 35.0)], model=str(tmp_path))
