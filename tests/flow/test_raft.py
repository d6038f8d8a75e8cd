"""RAFT taken apart against torchvision's own forward, and the embedded weights on a photo whose motion is known."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models.optical_flow import RAFT

from mtransfer.errors import ModelError
from mtransfer.flow.estimator import FlowModel
from mtransfer.flow.raft import FlowNet, build_raft, encode_source, level_sizes, pad, padding_for, refine
from mtransfer.media.photo.photo import read_photo
from mtransfer.sampling.loading import WEIGHTS

SAMPLES = Path(__file__).parents[2] / "samples"
EMBEDDED = WEIGHTS / "flow" / "embedded.safetensors"
UPDATES = 3


@pytest.fixture(scope="module")
def net() -> RAFT:
    torch.manual_seed(0)
    return build_raft("raft_small", None)


def picture(seed: int, height: int = 128, width: int = 136) -> Tensor:
    noise = torch.rand(1, 3, height // 8 + 1, width // 8 + 1, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, (height, width), mode="bicubic", align_corners=False).clamp(0, 1)


@pytest.mark.parametrize("name", ["raft_small", "raft_large"])
def test_every_update_is_torchvisions(name: str) -> None:
    torch.manual_seed(1)
    net, first, second = build_raft(name, None), picture(0), picture(1)
    with torch.no_grad():
        theirs = net(2 * first - 1, 2 * second - 1, num_flow_updates=UPDATES)
        ours = refine(net, encode_source(net, first), second, UPDATES)
    assert len(ours) == UPDATES
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their, atol=1e-5, rtol=1e-5)


def test_the_gradient_is_torchvisions(net: RAFT) -> None:
    first, weight = picture(0), torch.randn(1, 2, 128, 136, generator=torch.Generator().manual_seed(2))

    def gradient(flow_to) -> Tensor:
        second = picture(1).requires_grad_()
        return torch.autograd.grad((weight * flow_to(second)).sum(), second)[0]

    theirs = gradient(lambda second: net(2 * first - 1, 2 * second - 1, num_flow_updates=UPDATES)[-1])
    model = FlowNet(net, UPDATES)
    model.encode(first)
    scale = theirs.abs().max()
    assert scale > 0
    torch.testing.assert_close(gradient(model.flow) / scale, theirs / scale, atol=1e-5, rtol=0)


def test_a_remembered_source_serves_many_images_and_a_new_one_replaces_it(net: RAFT) -> None:
    model = FlowNet(net, UPDATES)
    assert isinstance(model, FlowModel)
    model.encode(picture(0))
    model.flow(picture(1))
    torch.testing.assert_close(model.flow(picture(2)), FlowNet(net, UPDATES).between(picture(0), picture(2)))
    model.encode(picture(3))
    torch.testing.assert_close(model.flow(picture(2)), FlowNet(net, UPDATES).between(picture(3), picture(2)))


def test_images_of_a_batch_do_not_mix(net: RAFT) -> None:
    both = FlowNet(net, UPDATES).between(torch.cat([picture(0), picture(2)]), torch.cat([picture(1), picture(3)]))
    for i, (first, second) in enumerate([(0, 1), (2, 3)]):
        alone = FlowNet(net, UPDATES).between(picture(first), picture(second))
        torch.testing.assert_close(both[i : i + 1], alone, atol=1e-4, rtol=1e-4)


def test_the_net_keeps_no_gradients_of_its_own(net: RAFT) -> None:
    assert not net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize(
    ("size", "grown"), [((131, 150), (136, 152)), ((60, 70), (128, 128)), ((128, 200), (128, 200))]
)
def test_any_size_is_padded_with_its_own_edge_and_cropped_again(net: RAFT, size, grown) -> None:
    rows, columns = padding_for(*size)
    assert (size[0] + rows, size[1] + columns) == grown
    padded = [pad(picture(i, *size)) for i in range(2)]
    assert padded[0].shape[-2:] == grown
    assert torch.equal(padded[0][..., : size[0], : size[1]], picture(0, *size))
    last = padded[0][..., size[0] - 1 :, : size[1]]
    assert torch.equal(last, last[..., :1, :].expand_as(last))
    flow = FlowNet(net, UPDATES).between(picture(0, *size), picture(1, *size))
    assert flow.shape == (1, 2, *size)
    with torch.no_grad():
        whole = net(2 * padded[0] - 1, 2 * padded[1] - 1, num_flow_updates=UPDATES)[-1]
    torch.testing.assert_close(flow, whole[..., : size[0], : size[1]], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "levels", "sizes"),
    [
        ((512, 640), 3, [(128, 160), (256, 320), (512, 640)]),
        ((512, 640), 2, [(256, 320), (512, 640)]),
        ((512, 640), 1, [(512, 640)]),
        ((257, 401), 3, [(129, 201), (257, 401)]),
        ((190, 999), 3, [(190, 999)]),
    ],
)
def test_levels_halve_while_raft_can_take_them(size, levels, sizes) -> None:
    assert level_sizes(*size, levels) == sizes


def test_a_finer_level_starts_from_the_coarser_ones_flow(net: RAFT) -> None:
    """Done by hand, with torchvision's resampling: twice the coarse flow, in cells, is where the fine level starts."""
    first, second = picture(0, 256, 264), picture(1, 256, 264)
    coarse_flow = FlowNet(net, UPDATES).between(*(F.interpolate(p, (128, 132), mode="area") for p in (first, second)))
    start = F.interpolate(2 * coarse_flow, (256, 264), mode="bilinear", align_corners=False)
    with torch.no_grad():
        source = encode_source(net, first)
        wanted = refine(net, source, second, UPDATES, F.interpolate(start, (32, 33), mode="area") / 8)[-1]
    torch.testing.assert_close(FlowNet(net, UPDATES, 2).between(first, second), wanted, atol=1e-4, rtol=1e-5)
    alone = FlowNet(net, UPDATES).between(first, second)
    assert (alone - wanted).abs().max() > 1e-3


def test_two_levels_have_a_gradient_for_the_image(net: RAFT) -> None:
    model, second = FlowNet(net, 1, 2), picture(1, 256, 256).requires_grad_()
    model.encode(picture(0, 256, 256))
    model.flow(second).square().mean().backward()
    assert second.grad is not None
    assert second.grad.abs().max() > 0


def shifted_crops(dx: int, dy: int) -> tuple[Tensor, Tensor]:
    """256 px of a photo, and the same moved by (dx, dy)."""
    photo = read_photo(SAMPLES / "moss_star.jpg").image[None]
    y, x = 90, 150
    return photo[..., y : y + 256, x : x + 256], photo[..., y - dy : y - dy + 256, x - dx : x - dx + 256]


def error_px(levels: int, dx: int, dy: int) -> float:
    found = FlowNet(build_raft("embedded", EMBEDDED), 12, levels).between(*shifted_crops(dx, dy))
    return float((found - torch.tensor([dx, dy]).view(1, 2, 1, 1)).norm(dim=1).mean())


def test_the_embedded_weights_read_a_known_motion() -> None:
    assert error_px(3, 6, -4) < 1.5


def test_coarse_to_fine_reads_farther_than_one_size() -> None:
    assert error_px(3, 24, -16) < max(1.5, 0.8 * error_px(1, 24, -16))
    assert error_px(3, 24, -16) < 14  # half the motion: far more than a net that sees nothing


@pytest.mark.parametrize("content", ["other net", "text", "nothing"])
def test_weights_that_do_not_fit_are_named_in_one_line(content: str, tmp_path: Path) -> None:
    path = tmp_path / "flow.safetensors"
    if content == "other net":
        save_file(build_raft("raft_large", None).state_dict(), path)
    elif content == "text":
        path.write_text("not weights")
    with pytest.raises(ModelError) as error:
        build_raft("raft_small", path)
    assert "flow.safetensors: not the weights of raft_small" in str(error.value)
    assert "\n" not in str(error.value)


def test_half_precision_and_torch_files_are_read(net: RAFT, tmp_path: Path) -> None:
    torch.save(net.state_dict(), tmp_path / "flow.pth")
    save_file({key: value.half() for key, value in net.state_dict().items()}, tmp_path / "flow.safetensors")
    whole, half = (build_raft("raft_small", tmp_path / name) for name in ("flow.pth", "flow.safetensors"))
    for ours, theirs, rounded in zip(net.parameters(), whole.parameters(), half.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert rounded.dtype == torch.float32
        torch.testing.assert_close(ours, rounded, atol=1e-4, rtol=1e-3)


def test_a_torch_file_with_code_in_it_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": Path("x")}, tmp_path / "flow.pth")
    with pytest.raises(ModelError, match=r"flow\.pth: not the weights of raft_small"):
        build_raft("raft_small", tmp_path / "flow.pth")


def test_in_half_precision_flow_and_gradient_stay_near() -> None:
    first, second = (picture[..., :128, :128] for picture in shifted_crops(6, -4))
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        model = FlowNet(build_raft("embedded", EMBEDDED), 5, dtype=dtype)
        image = second.clone().requires_grad_()
        model.encode(first)
        flow = model.flow(image)
        found.append((flow.detach(), torch.autograd.grad((flow - 3).abs().mean(), image)[0].flatten()))
    (exact, slope), (flow, near) = found
    assert flow.dtype == near.dtype == torch.float32
    assert float((flow - exact).norm(dim=1).mean()) < 0.1
    assert float(F.cosine_similarity(slope, near, dim=0)) > 0.95


def test_nothing_of_a_reading_is_kept(net: RAFT) -> None:
    model = FlowNet(net, 1)
    model.encode(picture(0))
    model.flow(picture(1).requires_grad_())
    assert net.corr_block.corr_pyramid == []
