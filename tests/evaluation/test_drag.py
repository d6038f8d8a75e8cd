"""Dragging: which points, how they are found again, and that on the real denoiser the picture goes where they go."""

import pytest
import torch
import torch.nn.functional as F
from tiny_sd import build_tiny_sd

from benchmarks.motionbench import load_cases
from mtransfer.errors import InputError
from mtransfer.evaluation.drag import EMBEDDED, PUBLISHED, Features, _Drag, at, drag, handle_points
from mtransfer.evaluation.metrics import flow_error
from mtransfer.flow.field import FlowField, affine_flow, resize, translate_flow
from mtransfer.flow.loading import load_flow_model
from mtransfer.sampling.adapters.stable_diffusion import StableDiffusion
from mtransfer.sampling.denoiser import Denoiser, Level
from mtransfer.sampling.loading import load_pipeline

CPU = torch.device("cpu")
SIZE = (128, 128)


def square(side: int = 40) -> torch.Tensor:
    mask = torch.zeros(1, 1, *SIZE)
    mask[..., 44 : 44 + side, 30 : 30 + side] = 1
    return mask


def test_handles_lie_inside_far_apart_and_go_where_the_flow_goes() -> None:
    mask = square()
    flow = affine_flow(SIZE, (50.0, 64.0), rotate_deg=30).flow * mask
    start, target = handle_points(flow, mask, 12)
    assert start.shape == target.shape == (12, 2)
    x, y = start.long().T
    assert bool((mask[0, 0, y, x] > 0).all())
    torch.testing.assert_close(target - start, flow[0, :, y, x].T)
    assert float((target - start).norm(dim=1).min()) >= 2  # not the centre, which only turns
    gaps = torch.cdist(start, start) + 1000 * torch.eye(12)
    assert float(gaps.min()) > 8
    again, _ = handle_points(flow, mask, 12)
    assert torch.equal(again, start)


@pytest.mark.parametrize("dx", [0.5, 500.0])
def test_what_cannot_be_dragged_is_refused(dx) -> None:
    mask = square()
    with pytest.raises(
        InputError, match=r"^no point of the subject moves by 2 px and stays in the frame to be dragged$"
    ):
        handle_points(translate_flow(SIZE, dx, 0).flow * mask, mask, 8)


def test_features_are_read_at_cells() -> None:
    features = torch.arange(12.0).view(1, 1, 3, 4)
    points = torch.tensor([[[0.0, 0.0], [3.0, 2.0]], [[1.5, 1.0], [9.0, 9.0]]])
    assert at(features, points).tolist() == [[[0.0], [11.0]], [[5.5], [11.0]]]


def test_dragging_moves_what_the_features_show() -> None:
    """On features that are the latents themselves: the blob is pulled, found again, the held side stays."""
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    blob = torch.exp(-((x - 10) ** 2 + (y - 16) ** 2) / 18)
    latents = torch.stack([blob, blob * (x - 10) / 4, blob * (y - 16) / 4, 0.1 * torch.rand(32, 32)])[None]
    held = (x > 26).float()[None, None]
    moved = _Drag(lambda z: z, latents, held, 32, EMBEDDED)
    result = moved.run(torch.tensor([[10.0, 16.0]]), torch.tensor([[18.0, 16.0]]))
    before, after = moved.distances_px()
    assert float(before) == 8
    assert float(after) < 1
    assert int(result[0, 0].flatten().argmax()) % 32 in (17, 18, 19)
    assert torch.equal((result - latents)[..., 28:], torch.zeros(1, 4, 32, 4))


def test_the_features_are_the_nets_own_and_nothing_is_left_hooked() -> None:
    pipe = load_pipeline("embedded", CPU, torch.float32)
    block, seen = pipe.unet.up_blocks[-1], []
    handle = block.register_forward_hook(lambda *call: seen.append(call[-1]))
    eps = Denoiser(pipe.unet, StableDiffusion(), "sample", surround=torch.rand(1, 49, 16, 16))
    found = Features(eps, 100, Level(0.8, 0.6), -1)(torch.rand(1, 48, 16, 16))
    handle.remove()
    assert torch.equal(found, seen[0])
    assert not block._forward_hooks


@pytest.fixture(scope="module")
def small_case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A bird of MotionBench to be moved to the side: photo, flow and mask at half size."""
    (case,) = load_cases("reported", quick=True, most=1)
    flow = resize(FlowField.from_flow(case.flow), SIZE).flow
    return F.interpolate(case.source, SIZE, mode="area"), flow, F.interpolate(case.mask, SIZE, mode="area")


def test_on_the_embedded_model_handles_arrive_and_the_picture_follows(small_case) -> None:
    photo, flow, mask = small_case
    pipe = load_pipeline("embedded", CPU, torch.float32)
    found = drag(pipe, photo, flow, mask)
    assert float(found.after_px.mean()) < 0.5 * float(found.before_px.mean())
    raft = load_flow_model("embedded", 12, 3, CPU)
    left, still = (flow_error(raft, photo, image, flow, mask)["mean_px"] for image in (found.image, photo))
    assert left < 0.7 * still
    assert torch.equal(found.image[..., -12:, :], photo[..., -12:, :])  # far from the edit
    assert not any(parameter.requires_grad for parameter in pipe.unet.parameters())


@pytest.mark.slow
def test_on_stable_diffusions_layout_it_runs_with_the_published_settings(tmp_path) -> None:
    pipe = load_pipeline(str(build_tiny_sd(tmp_path)), CPU, torch.float32)
    mask = square()
    photo = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    found = drag(pipe, photo, translate_flow(SIZE, 24, 0).flow * mask, mask, prompt="a bird")
    assert 1 <= found.updates <= PUBLISHED.updates
    assert bool(found.image.isfinite().all())
    assert float((found.image - photo).abs().max()) > 0.01
