"""One face for every denoiser: the same clean estimate from whatever a net predicts, prompts and extra channels."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from mtransfer.sampling.adapters.stable_diffusion import StableDiffusion
from mtransfer.sampling.denoiser import Denoiser, Level, Prompt, Text

BARS = torch.tensor([0.99, 0.6, 0.2])
T = 1
LEVEL = Level(float(BARS[T]) ** 0.5, float(1 - BARS[T]) ** 0.5)


class Net(nn.Module):
    """A net whose answer is fixed, or depends on its text; it remembers what it was given."""

    def __init__(self, answer: Tensor | None = None, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, dtype=dtype))
        self.answer = answer
        self.calls: list[tuple[Tensor, Tensor | None]] = []

    def forward(self, full: Tensor, t: int, encoder_hidden_states: Tensor | None = None) -> SimpleNamespace:
        assert t == T
        self.calls.append((full, encoder_hidden_states))
        if self.answer is not None:
            return SimpleNamespace(sample=self.answer.to(full.dtype))
        level = 0 if encoder_hidden_states is None else encoder_hidden_states.mean(dim=(1, 2)).view(-1, 1, 1, 1)
        return SimpleNamespace(sample=full[:, :4] * self.weight + level)


def latents(count: int = 1) -> Tensor:
    return torch.randn(count, 4, 6, 5, generator=torch.Generator().manual_seed(0))


def text(value: float) -> Text:
    return Text(torch.full((1, 7, 3), value))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_the_noise_is_found_from_whatever_is_predicted(prediction_type) -> None:
    clean, noise, a_t = latents(), torch.randn(1, 4, 6, 5, generator=torch.Generator().manual_seed(1)), BARS[T]
    z = a_t**0.5 * clean + (1 - a_t) ** 0.5 * noise
    predicted = {
        "epsilon": noise,
        "v_prediction": a_t**0.5 * noise - (1 - a_t) ** 0.5 * clean,
        "sample": clean,
    }
    found = Denoiser(Net(predicted[prediction_type]), StableDiffusion(), prediction_type)(z, T, LEVEL)
    torch.testing.assert_close(found.noise, noise, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.clean, clean, rtol=1e-4, atol=1e-5)


def test_flow_that_is_predicted_gives_both_at_every_level() -> None:
    clean, noise = latents(), torch.randn(1, 4, 6, 5, generator=torch.Generator().manual_seed(1))
    for sigma in (1.0, 0.7, 0.01):
        z = (1 - sigma) * clean + sigma * noise
        found = Denoiser(Net(noise - clean), StableDiffusion(), "flow")(z, T, Level(1 - sigma, sigma))
        torch.testing.assert_close(found.noise, noise)
        torch.testing.assert_close(found.clean, clean)


def test_a_net_without_text_is_given_none() -> None:
    net = Net()
    assert torch.equal(Denoiser(net, StableDiffusion(), "epsilon")(latents(), T, LEVEL).noise, latents())
    assert [given for _, given in net.calls] == [None]


def test_scale_1_runs_the_prompt_alone() -> None:
    net = Net()
    found = Denoiser(net, StableDiffusion(), "epsilon", Prompt(text(2.0), text(-1.0), 1.0))(latents(2), T, LEVEL).noise
    torch.testing.assert_close(found, latents(2) + 2)
    assert [len(full) for full, _ in net.calls] == [2]


def test_guidance_goes_past_the_prompt_in_one_pass() -> None:
    net = Net()
    found = Denoiser(net, StableDiffusion(), "epsilon", Prompt(text(2.0), text(-1.0), 3.0))(latents(2), T, LEVEL).noise
    torch.testing.assert_close(found, latents(2) - 1 + 3 * 3)
    ((full, given),) = net.calls
    assert len(full) == 4
    assert given is not None
    assert given.mean(dim=(1, 2)).tolist() == [-1, -1, 2, 2]


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_extra_channels_go_to_every_row(scale) -> None:
    net, surround = Net(), torch.rand(1, 5, 6, 5)
    Denoiser(net, StableDiffusion(), "epsilon", Prompt(text(2.0), text(-1.0), scale), surround)(latents(2), T, LEVEL)
    ((full, _),) = net.calls
    assert full.shape[1] == 9
    assert all(torch.equal(row[4:], surround[0]) for row in full)


def test_a_net_in_half_precision_gets_its_own_type_and_gives_back_ours() -> None:
    net = Net(dtype=torch.bfloat16)
    found = Denoiser(
        net, StableDiffusion(), "v_prediction", Prompt(text(2.0), text(-1.0), 3.0), torch.rand(1, 5, 6, 5)
    )(latents(), T, LEVEL)
    assert found.noise.dtype == found.clean.dtype == torch.float32
    ((full, given),) = net.calls
    assert given is not None
    assert full.dtype == given.dtype == torch.bfloat16
