"""The loop against runs of the published sampler on toy networks (tests/golden), and its own promises."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from noise_model import predicting_noise
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.sampling.ddim import Anchor, Guide, Step, Timesteps, ddim_timesteps, invert, sample_steps
from mtransfer.sampling.guidance import EnergyWeights, MotionGuidance

GOLDEN = Path(__file__).parents[1] / "golden"
RUNS = ["paper_cached", "paper_noise"]


class Toy:
    """The toy networks of a golden run."""

    def __init__(self, name: str) -> None:
        arrays = np.load(GOLDEN / f"{name}.npz")
        self.g = {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}
        self.source = self.g["source"] / 2 + 0.5

    def eps(self, z: Tensor, t: int) -> Tensor:
        a_t = self.g["alphas_cumprod"][t]

        def one(c: Tensor) -> Tensor:
            bias = c[:, :, None, None] * t / 1000
            return (1 - a_t).sqrt() * z + 0.04 * torch.tanh(F.conv2d(z, self.g["W_eps"], padding=1) + bias)

        unconditional, conditional = one(self.g["c_uncond"]), one(self.g["c_cond"])
        return unconditional + float(self.g["cfg_scale"]) * (conditional - unconditional)

    def decode(self, z: Tensor) -> Tensor:
        colours = torch.einsum("oc,bchw->bohw", self.g["W_dec"], z)
        return torch.tanh(F.interpolate(colours, scale_factor=8, mode="nearest")) / 2 + 0.5

    def encode(self, source: Tensor) -> None:
        self._remembered = source

    def flow(self, image: Tensor) -> Tensor:
        pair = torch.cat([self._remembered, image], dim=1)
        return 6 * torch.tanh(F.conv2d(pair, self.g["W_flow"], padding=1))

    def guidance(self) -> MotionGuidance:
        energy = MotionGuidance(
            self.source,
            self.g["target_flow"],
            self,
            EnergyWeights(float(self.g["w_flow"]), float(self.g["w_color"])),
        )
        assert (energy.visible != self.g["mask_occ"]).sum() <= 30
        energy.visible = self.g["mask_occ"]
        return energy

    def draw(self) -> Iterator[Tensor]:
        """The recorded noise in the order of use; the run drew one more in each DDIM step, unused at eta 0."""
        kinds = 2 if "cached_latents" in self.g else 3
        recursions = int(self.g["recursions"])
        for evaluation, noise in enumerate(self.g["noise"].unflatten(0, (-1, kinds))):
            yield from noise[: kinds - 2]
            if (evaluation + 1) % recursions:
                yield noise[-1]


def run(toy: Toy) -> list[Step]:
    noises = toy.draw()
    trajectory = toy.g.get("cached_latents")
    return list(
        sample_steps(
            predicting_noise(toy.eps),
            toy.g["z_start"],
            ddim_timesteps(toy.g["alphas_cumprod"], int(toy.g["steps"]), 1000),
            draw=lambda: next(noises),
            recursions=int(toy.g["recursions"]),
            anchors=[
                Anchor(
                    toy.g["copy_mask"].float(),
                    until=1000,
                    clean=toy.g["source_latent"],
                    trajectory=None if trajectory is None else list(trajectory),
                )
            ],
            guide=Guide(
                toy.guidance(),
                toy.decode,
                toy.g["guidance_schedule"].tolist(),
                weight=float(toy.g["weight"]),
                clip=float(toy.g["clip"]),
            ),
        )
    )


@pytest.mark.parametrize("name", RUNS)
def test_the_published_run_is_reproduced(name: str) -> None:
    toy = Toy(name)
    steps, energy = run(toy), toy.guidance()
    # Where the multiplier is 0 our loop evaluates no energy; the published one did, without using it.
    energies = [step.energy or energy(toy.decode(step.x0)) for step in steps]
    found = {
        "losses": [e.total for e in energies],
        "losses_flow": [e.flow_loss for e in energies],
        "losses_color": [e.color_loss for e in energies],
        "guidance_norms": [step.guidance_norm for step in steps],
        "noise_norms": [step.noise_norm for step in steps],
    }
    for key, values in found.items():
        torch.testing.assert_close(torch.cat(values).double(), toy.g[key], rtol=1e-4, atol=1e-6, msg=key)
    scale = toy.g["z_final"].abs().max()
    torch.testing.assert_close(steps[-1].z / scale, toy.g["z_final"] / scale, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", RUNS)
def test_the_published_energy_of_one_image(name: str) -> None:
    toy = Toy(name)
    image = toy.g["probe_image"].clone().requires_grad_(True)
    energy = toy.guidance()(image / 2 + 0.5)
    (gradient,) = torch.autograd.grad(energy.total.sum(), image)
    torch.testing.assert_close(energy.total[0], toy.g["probe_energy"], rtol=1e-4, atol=0)
    torch.testing.assert_close(energy.flow_loss[0], toy.g["probe_flow_loss"], rtol=1e-4, atol=0)
    torch.testing.assert_close(energy.color_loss[0], toy.g["probe_color_loss"], rtol=1e-4, atol=0)
    scale = toy.g["probe_gradient"].abs().max()
    torch.testing.assert_close(gradient / scale, toy.g["probe_gradient"] / scale, rtol=0, atol=1e-4)


def test_inversion_comes_back_where_it_started() -> None:
    toy = Toy("paper_cached")
    timesteps = ddim_timesteps(toy.g["alphas_cumprod"], 250, 1000)

    def gentle(z: Tensor, t: int) -> Tensor:
        return 0.3 * torch.tanh(F.conv2d(z, toy.g["W_eps"], padding=1))

    clean = toy.g["source_latent"]
    start = list(invert(predicting_noise(gentle), clean, timesteps))[-1]
    back = list(sample_steps(predicting_noise(gentle), start, timesteps, draw=lambda: torch.zeros_like(clean)))[-1].z
    assert (back - clean).norm() < 0.05 * clean.norm()


def test_timesteps_of_the_paper() -> None:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    bars = torch.cumprod(1 - betas, 0)
    whole = ddim_timesteps(bars, 500, 1000)
    assert whole.t[0] == 999
    assert whole.t[-1] == 1
    assert len(whole.t) == 500
    assert whole.after[-1].alpha ** 2 == pytest.approx(float(bars[0]))
    assert whole.after[:-1] == whole.levels[1:]
    assert ddim_timesteps(bars, 50, 400).t == [t for t in ddim_timesteps(bars, 50, 1000).t if t <= 400]


@pytest.mark.parametrize("trained", [100, 1000])
def test_as_many_steps_as_were_asked_for_each_at_a_level_of_its_own(trained) -> None:
    bars = torch.linspace(0.999, 0.01, trained)
    for steps in range(1, trained + 1):
        found = ddim_timesteps(bars, steps, 1000)
        assert len(set(found.t)) == len(found.t) == steps
        assert found.t == sorted(found.t, reverse=True)
        assert 0 <= found.t[-1] <= found.t[0] < trained
    half = [t for t in ddim_timesteps(bars, 50, 1000).t if t <= trained // 2]
    assert ddim_timesteps(bars, 50, 500).t == half


@pytest.mark.parametrize(("steps", "trained"), [(1001, 1000), (600, 100)])
def test_more_steps_than_noise_levels_are_refused(steps, trained) -> None:
    with pytest.raises(InputError, match=rf"^sampler.steps {steps}: the model knows {trained} noise levels"):
        ddim_timesteps(torch.linspace(0.999, 0.01, trained), steps, 1000)


def test_gradient_at_x0_is_that_through_a_constant_denoiser() -> None:
    """With eps independent of z both gradients are the same by the chain rule."""
    toy = Toy("paper_noise")
    noise, timesteps = (
        torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0)),
        Timesteps.from_alpha_bar([400], [0.3], [0.5]),
    )

    def one(through: bool) -> Tensor:
        guide = Guide(toy.guidance(), toy.decode, [1.0], weight=20.0, through_denoiser=through)
        steps = sample_steps(
            predicting_noise(lambda z, t: noise + 0 * z), toy.g["z_start"], timesteps, draw=lambda: noise, guide=guide
        )
        return next(iter(steps)).z

    torch.testing.assert_close(one(True), one(False), rtol=1e-5, atol=1e-6)


def test_relative_guidance_has_the_asked_share_of_the_noise_estimate() -> None:
    toy = Toy("paper_noise")
    guide = Guide(toy.guidance(), toy.decode, [1.0], weight=0.25, through_denoiser=False, scale_by_noise_norm=True)
    timesteps = Timesteps.from_alpha_bar([400], [0.3], [0.5])
    plain = toy.eps(toy.g["z_start"], 400).norm()
    step = next(
        iter(
            sample_steps(
                predicting_noise(toy.eps), toy.g["z_start"], timesteps, draw=lambda: toy.g["noise"][0], guide=guide
            )
        )
    )
    assert step.guidance_norm.item() == pytest.approx(0.25 * plain.item(), rel=1e-5)


def test_the_greatest_norm_bounds_relative_guidance_too() -> None:
    toy = Toy("paper_noise")
    guide = Guide(
        toy.guidance(), toy.decode, [1.0], weight=0.25, clip=0.5, through_denoiser=False, scale_by_noise_norm=True
    )
    drawn = toy.g["noise"][0]
    step = next(
        iter(
            sample_steps(
                predicting_noise(toy.eps),
                toy.g["z_start"],
                Timesteps.from_alpha_bar([400], [0.3], [0.5]),
                draw=lambda: drawn,
                guide=guide,
            )
        )
    )
    assert step.guidance_norm.item() == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("relative", [False, True])
def test_guidance_that_leaves_all_bounds_is_said_to(relative) -> None:
    """The gradient of a warp along what is no number would end the process."""
    toy = Toy("paper_noise")

    def decode(z: Tensor) -> Tensor:
        return F.interpolate(torch.einsum("oc,bchw->bohw", toy.g["W_dec"], z), scale_factor=8, mode="nearest")

    guide = Guide(
        toy.guidance(), decode, [1.0, 1.0, 1.0], weight=1e38, through_denoiser=False, scale_by_noise_norm=relative
    )
    timesteps = Timesteps.from_alpha_bar([600, 400, 200], [0.2, 0.4, 0.6], [0.4, 0.6, 0.9])
    with pytest.raises(InputError, match=r"^sampler.weight 1e\+38: "):
        list(
            sample_steps(
                predicting_noise(toy.eps), toy.g["z_start"], timesteps, draw=lambda: toy.g["noise"][0], guide=guide
            )
        )


def test_an_anchor_lets_go_when_its_time_is_over() -> None:
    held = Anchor(torch.ones(1, 1, 2, 2), until=1, clean=torch.full((1, 1, 2, 2), 3.0), noise=torch.zeros(1, 1, 2, 2))
    timesteps = Timesteps.from_alpha_bar([600, 300], [0.25, 0.64], [0.64, 1.0])
    seen: list[Tensor] = []

    def eps(z: Tensor, t: int) -> Tensor:
        seen.append(z)
        return torch.zeros_like(z)

    list(
        sample_steps(
            predicting_noise(eps), torch.zeros(1, 1, 2, 2), timesteps, draw=lambda: torch.zeros(1), anchors=[held]
        )
    )
    assert torch.allclose(seen[0], torch.full((1, 1, 2, 2), 1.5))
    assert torch.allclose(seen[1], torch.full((1, 1, 2, 2), 2.4))
