"""One training run: warm-up and cosine decay, moving average of the weights, checkpoints, a learning curve.

A run goes on from `.training/<name>/last.pt` where it stopped.
"""

import csv
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(".training")


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train."""

    name: str
    steps: int
    learning_rate: float
    warm_up: int = 200
    ema: float = 0.998
    clip: float = 1.0
    save_every: int = 100


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def batches(sample: Callable[[], tuple[Tensor, ...]], count: int) -> Iterator[tuple[Tensor, ...]]:
    """Endless batches of `count` samples on the training device."""
    while True:
        samples = [sample() for _ in range(count)]
        yield tuple(torch.stack(part).to(device()) for part in zip(*samples, strict=True))


def as_tensor(array: np.ndarray) -> Tensor:
    """An array [H,W,C] as a float32 tensor [C,H,W]."""
    return torch.from_numpy(np.ascontiguousarray(array, np.float32)).permute(2, 0, 1)


def half_precision() -> torch.autocast:
    """bfloat16 where the processor multiplies matrices in it."""
    kind = device().type
    enabled = kind == "cuda" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.autocast(kind, torch.bfloat16, enabled=enabled)


def train(plan: Plan, model: nn.Module, loss_of: Callable[[int], Tensor]) -> nn.Module:
    """Minimise `loss_of(step)` over the model's parameters; returns the model holding the averaged weights."""
    folder = ROOT / plan.name
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, weight_decay=1e-4)
    average = {key: value.clone() for key, value in model.state_dict().items()}
    first = _resume(folder / "last.pt", model, optimizer, average)
    started, losses = time.monotonic(), []
    for step in range(first, plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * _schedule(step, plan)
        with half_precision():
            loss = loss_of(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
        optimizer.step()
        _average(average, model, min(plan.ema, (1 + step) / (10 + step)))
        losses.append(loss.item())
        if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
            _save(folder, model, optimizer, average, step + 1)
            _log(folder, step + 1, float(np.mean(losses)), (time.monotonic() - started) / len(losses))
            started, losses = time.monotonic(), []
    model.load_state_dict(average)
    return model


def stream(name: str, steps: int) -> np.random.Generator:
    """What a run draws its samples from: another stream after every stop."""
    last = ROOT / name / "last.pt"
    reached = int(torch.load(last, map_location="cpu", weights_only=True)["step"]) if last.exists() else 0
    return np.random.default_rng([steps, reached])


def _schedule(step: int, plan: Plan) -> float:
    if step < plan.warm_up:
        return (step + 1) / plan.warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - plan.warm_up) / max(1, plan.steps - plan.warm_up)))


@torch.no_grad()
def _average(average: dict[str, Tensor], model: nn.Module, keep: float) -> None:
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            average[key].lerp_(value, 1 - keep)
        else:
            average[key].copy_(value)


def _resume(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor]) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, map_location=device(), weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    average.update(state["average"])
    return int(state["step"])


def _save(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: dict[str, Tensor], step: int
) -> None:
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average, "step": step}
    torch.save(state, folder / "last.tmp")
    os.replace(folder / "last.tmp", folder / "last.pt")


def _log(folder: Path, step: int, loss: float, seconds: float) -> None:
    print(f"{folder.name} step {step}: loss {loss:.4f}, {seconds:.2f} s a step", flush=True)
    with (folder / "curve.csv").open("a", newline="") as file:
        csv.writer(file).writerow([step, f"{loss:.5f}", f"{seconds:.3f}"])


def draw_curve(name: str, out: Path) -> None:
    """The learning curve of a run (loss on a log scale against steps) as a PNG."""
    steps, losses, _ = np.loadtxt(ROOT / name / "curve.csv", delimiter=",", ndmin=2).T
    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    axes.semilogy(steps, losses)
    axes.set(title=f"{name}: loss {losses[0]:.3f} to {losses[-1]:.3f}", xlabel="step", ylabel="loss")
    figure.savefig(out, dpi=100)
    plt.close(figure)
