"""Recipes: everything a job needs to know, as frozen models. Command-line options are generated from their fields."""

import math
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mtransfer.errors import InputError
from mtransfer.media.frame_rates import LEAST_FPS, MOST_FPS, MOST_FRAMES
from mtransfer.sampling.settings import REFUSED, SamplerSettings, by_names_now, changed_preset, refuse

MOST_STRENGTH = 1000.0
DESCRIPTION_OF_SUBJECT = "x,y | x0,y0,x1,y1 | mask file | all"


class Recipe(BaseModel):
    """What every job has."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    preset: str = Field("fast", description="sampler settings: paper | best | fast | draft | sdedit | repaint")
    model: str = Field("auto", description="embedded | auto | a folder or hub id in diffusers' layout")
    prompt: str = Field("", description="what the photo shows, for models that take text")
    negative_prompt: str = Field("", description="what it must not show")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of the sampler's noise")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="auto | cpu | cuda | mps")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="auto | float32 | float16 | bfloat16"
    )
    low_memory: bool = Field(False, description="slower, in less memory: activations are computed twice")
    compile: bool = Field(False, description="compile the denoiser first: slow to start, pays off over many frames")
    sampler: SamplerSettings = Field(description="filled from the preset; override with --set sampler.steps=20")

    @classmethod
    def build(cls, given: dict[str, Any], overrides: list[str], recipe: dict[str, Any] | None = None) -> Self:
        """Named values over `a.b=c` overrides over a recipe's table over the preset over the defaults.

        A preset that is named takes the place of the recipe's and its settings.
        Raises InputError, in one line, for what does not fit.
        """
        changed: dict[str, Any] = {}
        for override in overrides:
            _set(changed, override)
        tables = [dict(table) for table in (recipe or {}, changed, given)]
        if "preset" in changed or "preset" in given:
            tables[0].pop("sampler", None)  # which is of the recipe's own preset
        sampler: dict[str, Any] = {}
        for table in tables:
            part = table.pop("sampler", {})
            if not isinstance(part, dict):
                raise InputError(f"--set sampler={part}: set one of its fields, such as sampler.steps=20")
            sampler |= by_names_now(part)
        values = tables[0] | tables[1] | tables[2]
        preset = values.get("preset", cls.model_fields["preset"].default)
        try:
            return cls.model_validate({**values, "sampler": changed_preset(str(preset), sampler)})
        except ValidationError as error:
            raise InputError(_one_line(error)) from None


class PhotoRecipe(Recipe):
    """What every job on a photo has. Sizes and points are pixels of the photo."""

    photo: Path = Field(description="the still image", json_schema_extra={"argument": True})
    subject: str = Field(
        "auto",
        description=f"what of the photo moves: auto | N, a number | all-salient | alpha | {DESCRIPTION_OF_SUBJECT}",
    )
    segmenter: Literal["embedded", "grabcut", "sam"] = Field(
        "embedded",
        description="finds and cuts out the subject: embedded (U2-Netp and MobileSAM) | grabcut (colours) | sam",
    )
    falloff: float = Field(
        0.5, ge=0, le=10, description="how far an object follows a part of it that moves, in sizes of the part; 0: not"
    )
    shadow: Literal["move", "keep"] = Field(
        "move", description="the shadow at the subject's foot, where it is surely found: move (along) | keep (in place)"
    )
    strength: float = Field(1.0, ge=-MOST_STRENGTH, le=MOST_STRENGTH, description="factor on the motion")
    flow_model: Literal["auto", "embedded", "raft_large", "raft_small", "dis"] = Field(
        "auto",
        description="reads the clip and guides: auto | embedded | raft_large | raft_small; dis reads only, auto guides",
    )
    guidance_decoder: str = Field(
        "auto", description="decodes what guidance looks at: auto (taesd if on disk) | vae | taesd | a folder"
    )
    noise: Path | None = Field(None, description="start noise of a generated photo, for sampler.start=own")

    @model_validator(mode="after")
    def _noise_is_begun_with(self) -> Self:
        if self.noise is not None and self.sampler.start != "own":
            refuse(f"--noise {self.noise}: sampler.start={self.sampler.start} ignores it; add --set sampler.start=own")
        return self


class ClipRecipe(PhotoRecipe):
    """What every job that takes its motion from a clip has."""

    clip: Path = Field(description="the video", json_schema_extra={"argument": True})
    clip_subject: str = Field("auto", description=f"what of the clip moves: auto | moving | {DESCRIPTION_OF_SUBJECT}")
    clip_subject_at: str = Field(
        "",
        description="the clip position that clip_subject is named in; default: where the motion starts",
    )
    shot: int = Field(0, ge=0, description="which shot of a clip with cuts, from 1 on; 0: the one of the frames")
    camera: Literal["remove", "keep", "photo"] = Field(
        "remove", description="the clip's camera motion: remove | keep | photo (it moves the whole photo)"
    )
    align: Literal["similarity", "affine", "thinplate", "none"] = Field(
        "similarity",
        description="subject onto subject, or frame onto frame: similarity | affine | thinplate (silhouettes) | none",
    )
    turn: bool = Field(False, description="turn the motion too, as the photo's subject is turned against the clip's")
    mirror: bool | None = Field(
        None, description="mirror the motion left for right; left out: where the silhouettes clearly face apart"
    )
    deinterlace: Literal["auto", "on", "off"] = Field(
        "auto", description="make whole pictures of interlaced frames: auto (where the clip says so) | on | off"
    )
    max_stretch: float = Field(
        1.6,
        description="smooth a motion that stretches or squeezes parts of the subject by more than this; 0: do not",
    )
    strength_mask: Path | None = Field(None, description="grey picture of the photo's size: how much of it to apply")

    @property
    def stretch_limit(self) -> float:
        """What holds: frame onto frame, and of all that is in a picture, motion is left as it is (0)."""
        return 0.0 if self.align == "none" or self.subject == "all" else self.max_stretch

    @model_validator(mode="after")
    def _a_factor(self) -> Self:
        if self.max_stretch and not 1 <= self.max_stretch < math.inf:
            refuse(f"--max-stretch {self.max_stretch:g}: give a factor of at least 1, such as 1.6; 0: no limit")
        return self

    @model_validator(mode="after")
    def _turned_onto_a_subject(self) -> Self:
        if self.align == "none" and (self.turn or self.mirror):
            flag = "--turn" if self.turn else "--mirror"
            refuse(
                f"{flag}: --align none lays frame onto frame as they are; choose another --align, or leave {flag} out"
            )
        return self


class TransferRecipe(ClipRecipe):
    """Move the photo's subject the way the clip's moves."""

    pair: str = Field("", description="clip positions A:B, frames or seconds (12:40, 0.5s:1.5s); default: found")


class AnimateRecipe(ClipRecipe):
    """Make a short animation: the photo's subject moves the way the clip's does, frame by frame."""

    frames: str = Field(
        "", description="clip positions A:B, without B, or A:B:S, every S-th (12:36, 1s:2s, 0:90:3); default: all"
    )
    reference: str = Field("first", description="the clip's frame that the photo stands for: first | auto | a position")
    fps: float = Field(0.0, ge=0, le=MOST_FPS, description="frames a second of the animation; 0: as fast as the clip")
    loop: Literal["none", "pingpong"] = Field("none", description="none | pingpong: there and back again")
    stay: Literal["auto", "always", "never"] = Field(
        "auto", description="move in place, without the subject's travel: auto (where it would leave the photo)"
    )
    format: str = Field("mp4,gif,png", description="what to write: one or more of mp4,gif,png")

    @model_validator(mode="after")
    def _fps_can_be_written(self) -> Self:
        if 0 < self.fps < LEAST_FPS:
            refuse(f"--fps {self.fps:g}: give {LEAST_FPS:g} to {MOST_FPS:g} frames a second; 0: as fast as the clip")
        return self


class EditRecipe(PhotoRecipe):
    """Move the photo's subject along a flow file or elementary motions about its centroid."""

    flow: Path | None = Field(None, description="flow file: .npz .npy .flo .png .pth")
    translate: str = Field("", description="dx,dy in pixels")
    rotate: float = Field(0.0, description="degrees, counter-clockwise on screen")
    scale: float = Field(1.0, gt=0, description="factor")
    stretch: str = Field("", description="sx,sy factors")
    pin: tuple[str, ...] = Field((), description="x,y:dx,dy smooth deformation; repeat for more")


class AnimateEditRecipe(EditRecipe):
    """Make a short animation of an edit: the photo's subject moves from rest to it, without a clip."""

    via: tuple[str, ...] = Field(
        (), description="dx,dy[,deg[,scale]]: a pose on the way, from rest, in pixels and degrees; repeat for more"
    )
    frames: int = Field(24, ge=2, le=MOST_FRAMES, description="how many, the first the photo itself")
    ease: Literal["smooth", "linear"] = Field("smooth", description="begin and end gently, or at one speed")
    fps: float = Field(24.0, ge=LEAST_FPS, le=MOST_FPS, description="frames a second of the animation")
    loop: Literal["none", "pingpong"] = Field("none", description="none | pingpong: there and back again")
    format: str = Field("mp4,gif,png", description="what to write: one or more of mp4,gif,png")


class GenerateRecipe(Recipe):
    """Let the model make an image, and keep the noise it came from: such an image can be edited without inversion."""

    preset: str = Field("paper", description="whose steps and guidance scale: paper | best | fast | sdedit | repaint")
    size: str = Field("", description="WIDTHxHEIGHT, multiples of 64 [default: the model's own square]")

    @model_validator(mode="after")
    def _takes_steps(self) -> Self:
        if not self.sampler.steps:
            refuse(f"--preset {self.preset}: takes no sampler.steps, and an image needs some; use --preset paper")
        return self


COMMANDS: dict[str, type[Recipe]] = {
    "transfer": TransferRecipe,
    "animate": AnimateRecipe,
    "edit": EditRecipe,
    "animate-edit": AnimateEditRecipe,
    "generate": GenerateRecipe,
}


def _set(values: dict[str, Any], override: str) -> None:
    """Put `a.b=c` into nested values; c is read as TOML, or is a plain string."""
    path, equals, text = override.partition("=")
    *parents, name = path.strip().split(".")
    if not equals or not name:
        raise InputError(f"--set {override}: write it as name=value, such as sampler.steps=20")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise InputError(f"--set {override}: {parent} was already set to {values!r}")
    try:
        values[name] = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        values[name] = text.strip()


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == REFUSED:
        return first["msg"]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden" and isinstance(first["input"], dict):
        return f"{name}: there is no such table of settings; see docs/settings.md"
    flag = name if "." in name else f"--{name.replace('_', '-')}"
    given = "" if first["type"] == "missing" else f" {first['input']!r}"
    return f"{flag}{given}: {first['msg'][0].lower()}{first['msg'][1:]}".replace("\n", " ")
