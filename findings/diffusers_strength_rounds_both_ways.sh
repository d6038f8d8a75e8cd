#!/usr/bin/env bash
# diffusers' image-to-image pipelines take one `strength`, and make different numbers of steps of it by family.
#
# Behaviour. Stable Diffusion and SDXL round strength * steps down before they count from the end of the schedule; Stable
# Diffusion 3 and FLUX round down what is left out, and so strength * steps up. The documentation of both speaks of
# about strength * steps. Who carries a setting from one family to the other begins at another noise level.
#
# Seen (diffusers 0.42.1, transformers 5.24.0, torch 2.14.1; 10 steps, strength 0.55 and 0.5):
#     strength 0.55: StableDiffusion 5, StableDiffusionXL 5, StableDiffusion3 6, Flux 6
#     strength 0.5: StableDiffusion 5, StableDiffusionXL 5, StableDiffusion3 5, Flux 5
#
# Exit: 0 as described, 1 the behaviour has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    diffusers==0.42.1 transformers==5.24.0 torch==2.14.1 numpy==2.3.5
cd "$folder"
timeout 300 "$folder/venv/bin/python" - <<'PY'
import sys
from types import SimpleNamespace

from diffusers import (
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxImg2ImgPipeline,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionXLImg2ImgPipeline,
)

STEPS = 10
KINDS = {
    StableDiffusionImg2ImgPipeline: DDIMScheduler,
    StableDiffusionXLImg2ImgPipeline: DDIMScheduler,
    StableDiffusion3Img2ImgPipeline: FlowMatchEulerDiscreteScheduler,
    FluxImg2ImgPipeline: FlowMatchEulerDiscreteScheduler,
}


def made(kind, scheduler, strength):
    scheduler.set_timesteps(STEPS)
    timesteps, _ = kind.get_timesteps(SimpleNamespace(scheduler=scheduler), STEPS, strength, device="cpu")
    return len(timesteps)


seen = {}
for strength in (0.55, 0.5):
    seen[strength] = [made(kind, scheduler(), strength) for kind, scheduler in KINDS.items()]
    names = [kind.__name__.removesuffix("Img2ImgPipeline") for kind in KINDS]
    print(f"strength {strength}:", ", ".join(f"{name} {count}" for name, count in zip(names, seen[strength])))
sys.exit(seen != {0.55: [5, 5, 6, 6], 0.5: [5, 5, 5, 5]})
PY
