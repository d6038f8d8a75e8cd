"""What an edit costs: seconds and memory of a guided evaluation and of an image, for every preset, beside a plain form.

python -m benchmarks.speed [--quick] [--arch ARCH] [--side PX] [--device cpu|cuda] [--dtype ...] [--json FILE]
python -m benchmarks.speed --against VENV [--pairs 5] [--rows NAME ...] [--json FILE]

ARCH is `embedded`, or a published architecture with random weights: sd14, sd15-inpaint, sdxl, sd35-medium or
flux-schnell (which wants 40 GB). Nothing is guided by a prompt. The plain form caches nothing, decodes in full, and
differentiates through the denoiser, at the same precision.

With --against whole commands are timed instead, beside those of the build installed in another environment: median
ratios of seconds and of peak memory, pair by pair.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models.optical_flow import RAFT

from benchmarks import architectures, commands
from mtransfer.flow.estimator import FlowModel
from mtransfer.flow.loading import load_flow_model
from mtransfer.flow.raft import FlowNet, build_raft
from mtransfer.sampling.composite import make_composite
from mtransfer.sampling.context import SamplingContext
from mtransfer.sampling.denoiser import Denoiser, Prompt
from mtransfer.sampling.guidance import MotionGuidance
from mtransfer.sampling.loading import load_pipeline
from mtransfer.sampling.pipeline import MotionGuidedPipeline
from mtransfer.sampling.settings import SamplerSettings
from mtransfer.strict_json import strict_json

PRESETS = ("paper", "best", "fast")
RAFTS = ("raft_small", "raft_large")
CACHED, PLAIN = "cached source", "torchvision's forward"  # of RAFT at one size, forward and backward
SIDE_PX = {"embedded": 256} | architectures.SIDE_PX


class PlainRaft:
    """torchvision's own forward at one size: both images encoded together, every time."""

    def __init__(self, net: RAFT, updates: int) -> None:
        self.net, self.updates = net, updates

    def encode(self, source: Tensor) -> None:
        self._source = 2 * source - 1

    def flow(self, image: Tensor) -> Tensor:
        flow: Tensor = self.net(self._source, 2 * image - 1, num_flow_updates=self.updates)[-1]
        return flow


@dataclass(frozen=True)
class Bench:
    """What is timed: a pipeline, a flow net that guides, and an edit."""

    arch: str
    pipe: MotionGuidedPipeline
    guide: FlowNet
    photo: Tensor
    flow: Tensor
    mask: Tensor
    repeats: int


def build(arch: str, side: int, device: torch.device, dtype: torch.dtype, repeats: int) -> Bench:
    """A square that moves, on a picture of noise: content does not change the time."""
    embedded = arch == "embedded"
    pipe = load_pipeline("embedded", device, dtype) if embedded else architectures.random_pipeline(arch, device, dtype)
    name = "embedded" if arch == "embedded" else "raft_large"
    fast = SamplerSettings.from_preset("fast")
    if arch == "embedded":
        guide = load_flow_model(name, fast.flow_updates, fast.flow_levels, device)
    else:
        guide = FlowNet(build_raft(name, None), fast.flow_updates, dtype=dtype).to(device)
    assert isinstance(guide, FlowNet)
    photo = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    mask = torch.zeros(1, 1, side, side, device=device)
    mask[..., side // 4 : side // 2, side // 4 : side // 2] = 1
    flow = torch.tensor([side / 8, 0.0], device=device).view(1, 2, 1, 1) * mask
    return Bench(arch, pipe, guide, photo, flow, mask, repeats)


def seconds_of(work: Callable[[], Any], repeats: int, device: torch.device) -> float:
    """The median time of `work`, once warm."""
    work()
    times = []
    for _ in range(repeats):
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def evaluation(bench: Bench, settings: SamplerSettings) -> Callable[[], Any]:
    """One guided step of the loop, everything that is done once an image left out."""
    plan, eps, guidance = _prepared(bench, settings.model_copy(update={"window": (0.0, 1.0), "recursions": 1}))

    def work() -> None:
        next(plan.steps(eps, guidance))

    plan.settings = plan.settings.model_copy(update={"start": "warp"})  # starting is not what is timed
    return work


def _prepared(
    bench: Bench, settings: SamplerSettings, guide: FlowModel | None = None
) -> tuple[SamplingContext, Denoiser, MotionGuidance]:
    draft = make_composite(bench.photo, bench.flow, bench.mask, bench.photo)
    plan = SamplingContext(bench.pipe, bench.photo, draft, settings, torch.Generator().manual_seed(0))
    eps = plan.denoiser(_prompt(bench))
    return plan, eps, plan.guidance(bench.flow, guide or bench.guide, ())


def _prompt(bench: Bench) -> Prompt | None:
    if bench.arch == "embedded":
        return None
    text = architectures.random_text(bench.arch, bench.photo.device)
    return Prompt(text, text, 1.0)


def plain(bench: Bench) -> Callable[[], Any]:
    """The reference: torchvision's RAFT on both images, the full decoder, the gradient through the denoiser."""
    fast = SamplerSettings.from_preset("fast")
    changes = {"through_denoiser": True, "window": (0.0, 1.0)}
    plan, eps, guidance = _prepared(
        bench, fast.model_copy(update=changes), PlainRaft(bench.guide.net, fast.flow_updates)
    )

    def work() -> None:
        small, bench.pipe.guidance_vae = bench.pipe.guidance_vae, None
        next(plan.steps(eps, guidance))
        bench.pipe.guidance_vae = small

    return work


def parts(bench: Bench) -> dict[str, Callable[[], Any]]:
    """The pieces of a guided evaluation as `fast` makes it, each alone."""
    plan, eps, guidance = _prepared(bench, SamplerSettings.from_preset("fast"))
    z, t, level = plan.warped.detach(), plan.timesteps.t[0], plan.timesteps.levels[0]
    image = bench.pipe.decode_for_guidance(z).detach()

    def decode_and_back() -> None:
        variable = z.clone().requires_grad_(True)
        bench.pipe.decode_for_guidance(variable).sum().backward()

    def energy_and_back() -> None:
        variable = image.clone().requires_grad_(True)
        guidance(variable).total.sum().backward()

    return {
        "denoiser": lambda: _without_graph(lambda: eps(z, t, level)),
        "decoder, forward and backward": decode_and_back,
        "energy (RAFT in it), forward and backward": energy_and_back,
    }


def raft_parts(bench: Bench) -> dict[str, dict[str, Callable[[], Any]]]:
    """RAFT forward and backward at one size, its source cached and not; torchvision's nets with random weights."""
    device, updates = bench.photo.device, bench.guide.updates
    nets = {"the guiding one": bench.guide.net} | {name: build_raft(name, None).to(device) for name in RAFTS}

    def back_through(model: FlowModel) -> Callable[[], None]:
        model.encode(bench.photo)

        def work() -> None:
            variable = bench.photo.flip(-1).requires_grad_(True)
            model.flow(variable).abs().mean().backward()

        return work

    kinds = {CACHED: FlowNet, PLAIN: PlainRaft}
    return {name: {how: back_through(kind(net, updates)) for how, kind in kinds.items()} for name, net in nets.items()}


def _without_graph(work: Callable[[], Any]) -> None:
    with torch.no_grad():
        work()


def push(bench: Bench) -> Tensor:
    """What guidance adds to the latents in the first step of `fast`, on latents that both precisions share."""
    latents = []
    for weight in (1.0, 0.0):
        changes = {"window": (0.0, 1.0), "weight": weight}
        plan, eps, guidance = _prepared(bench, SamplerSettings.from_preset("fast").model_copy(update=changes))
        latents.append(next(plan.steps(eps, guidance)).z)
    return (latents[0] - latents[1]).flatten().float()


def against_float32(bench: Bench, exact: Bench) -> dict[str, float]:
    """A guided evaluation in half precision beside one in float32: its time, and the cosine of their guidance."""
    fast = SamplerSettings.from_preset("fast")
    device = bench.photo.device
    half, whole = (seconds_of(evaluation(each, fast), bench.repeats, device) for each in (bench, exact))
    cosine = float(torch.nn.functional.cosine_similarity(push(bench), push(exact), dim=0))
    return {"evaluation, half precision to float32": half / whole, "cosine of guidance, half precision": cosine}


def image_seconds(bench: Bench, preset: str, each: float) -> tuple[int, float]:
    """Guided evaluations an image takes, and its estimated seconds: evaluations times the time of one."""
    settings = SamplerSettings.from_preset(preset)
    plan, _, _ = _prepared(bench, settings)
    low, high = (round(share * len(plan.timesteps.t)) for share in settings.window)
    guided = (high - low) * settings.recursions
    return guided, guided * each


def peak_memory_gb(device: torch.device) -> float:
    """The most memory used so far: of the GPU, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def run(bench: Bench, presets: tuple[str, ...]) -> dict[str, Any]:
    """Every figure by name."""
    device = bench.photo.device
    timed = {name: seconds_of(work, bench.repeats, device) for name, work in parts(bench).items()}
    found: dict[str, Any] = {"parts_s": timed}
    rafts = {
        name: {how: seconds_of(work, bench.repeats, device) for how, work in ways.items()}
        for name, ways in raft_parts(bench).items()
    }
    timed |= {f"RAFT ({name}), {how}": seconds for name, ways in rafts.items() for how, seconds in ways.items()}
    fast = seconds_of(evaluation(bench, SamplerSettings.from_preset("fast")), bench.repeats, device)
    reference = seconds_of(plain(bench), bench.repeats, device)
    sum_of_parts = (
        timed["denoiser"] + timed["decoder, forward and backward"] + timed["energy (RAFT in it), forward and backward"]
    )
    found["evaluation_s"] = {"fast": fast, "plain": reference}
    found["ratios"] = {
        "evaluation, fast to plain": fast / reference,
        "evaluation, fast to the denoiser alone": fast / timed["denoiser"],
        **{f"RAFT ({name}), cached to plain": ways[CACHED] / ways[PLAIN] for name, ways in rafts.items()},
        "loop over its parts": fast / sum_of_parts,
    }
    found["images"] = {}
    for preset in presets:
        each = (
            fast
            if preset == "fast"
            else seconds_of(evaluation(bench, SamplerSettings.from_preset(preset)), bench.repeats, device)
        )
        guided, seconds = image_seconds(bench, preset, each)
        found["images"][preset] = {"guided_evaluations": guided, "s_each": each, "s_estimated": seconds}
    found["peak_memory_gb"] = peak_memory_gb(device)
    return found


def table(found: dict[str, Any]) -> str:
    """The figures in Markdown."""
    lines = ["| part | seconds |", "| --- | --- |"]
    lines += [f"| {name} | {value:.4f} |" for name, value in found["parts_s"].items()]
    lines += [f"| guided evaluation, {name} | {value:.4f} |" for name, value in found["evaluation_s"].items()]
    lines += [
        "",
        "| ratio | |",
        "| --- | --- |",
        *(f"| {name} | {value:.3f} |" for name, value in found["ratios"].items()),
    ]
    lines += ["", "| preset | guided evaluations | seconds each | seconds an image |", "| --- " * 4 + "|"]
    for name, row in found["images"].items():
        lines.append(f"| {name} | {row['guided_evaluations']} | {row['s_each']:.3f} | {row['s_estimated']:.1f} |")
    return "\n".join([*lines, "", f"peak memory: {found['peak_memory_gb']:.2f} GB"])


def compare_commands(options: argparse.Namespace) -> int:
    """Print the table of whole commands as it comes to be."""
    load = ", ".join(f"{each:.2f}" for each in os.getloadavg())
    print(f"load {load}; {os.cpu_count()} processors; medians of {options.pairs} pairs\n\n{commands.HEAD}", flush=True)
    found = commands.compare(
        options.against, options.pairs, options.rows, lambda each: print(commands.line(each), flush=True)
    )
    if options.json:
        rows = {"rows": [vars(each) for each in found]}
        options.json.write_text(strict_json(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, without `best`")
    parser.add_argument("--arch", choices=tuple(SIDE_PX), default="embedded")
    parser.add_argument("--side", type=int, help="pixels a side [default: those the architecture was made for]")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--against", type=Path, metavar="VENV", help="an environment with another build")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rows", nargs="+", choices=commands.NAMES, default=commands.NAMES)
    options = parser.parse_args(arguments)
    if options.against:
        return compare_commands(options)
    repeats = 1 if options.arch != "embedded" and options.device == "cpu" else 5 if options.quick else 15
    side = options.side or SIDE_PX[options.arch]
    bench = build(options.arch, side, torch.device(options.device), getattr(torch, options.dtype), repeats)
    found = run(bench, ("paper", "fast") if options.quick else PRESETS)
    if options.dtype != "float32":  # after the memory of the first was measured
        exact = build(options.arch, side, torch.device(options.device), torch.float32, repeats)
        found["ratios"] |= against_float32(bench, exact)
    print(table(found))
    if options.json:
        options.json.write_text(strict_json(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
