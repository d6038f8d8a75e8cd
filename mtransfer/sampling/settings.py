"""Settings of the shared sampler. Presets (pipelines/presets/*.toml) hold the values; every field is required there."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from mtransfer.errors import InputError

PACKAGE = Path(__file__).parents[1]
SIDE_MULTIPLE = 64  # pixels: what every net here can halve as often as it does
TRAINED = 1000  # noise levels of the schedule that settings count in
FEW_STEPS = 8  # that nets distilled to few steps are asked for at most
SMALLEST_LOOK_PX = 32  # at which guidance still sees something
# What only guidance has: who sets one of them wants to be guided.
OF_GUIDANCE = {
    *("weight", "scale_by_noise_norm", "w_flow", "w_color", "occlusion", "clip", "through_denoiser", "window"),
    *("charbonnier_eps", "oracle_flow", "guidance_side_px", "flow_updates", "flow_levels", "recursions"),
}
OLD_NAMES = {"relative": "scale_by_noise_norm", "rounding": "charbonnier_eps"}
REFUSED = "refused"  # type of an error whose message is the whole line
Share = Annotated[float, Field(ge=0, le=1)]


class EmbeddedChanges(BaseModel):
    """Settings that the embedded net, which refines a warp, has in place of the sampler's."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: int | None = Field(default=None, ge=0, le=1000)
    weight: float | None = Field(default=None, ge=0)


class SamplerSettings(BaseModel):
    """What the sampler does; symbols of the paper (arXiv 2401.18085) in brackets."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: int = Field(ge=0, le=1000, description="DDIM steps over the whole schedule; 0: the warp alone")
    start: Literal["noise", "inverted", "own", "photo", "warp"] = Field(
        description="first latents: pure noise, the photo's inverted or own noise, the photo or its warp noised"
    )
    start_t: int = Field(ge=1, le=1000, description="highest visited timestep of 1000")
    show_draft: bool = Field(description="the embedded net sees the warped photo where it paints, not grey")
    guidance_scale: float = Field(ge=0, description="classifier-free guidance scale of the prompt")
    recursions: int = Field(ge=1, description="evaluations a step [K]")
    weight: float = Field(ge=0, description="weight of the energy's gradient [s]; 0: no motion guidance")
    scale_by_noise_norm: bool = Field(
        description="weight counts in sizes of the noise estimate, so it suits any step count"
    )
    w_flow: float = Field(ge=0, description="weight of the flow term [lambda_flow]")
    w_color: float = Field(ge=0, description="weight of the colour term [lambda_color]")
    occlusion: bool = Field(description="leave what the motion hides out of the colour term [m_occ]")
    clip: float = Field(ge=0, description="greatest norm of the guidance an image, so scaled or not [c_g]; 0: none")
    through_denoiser: bool = Field(description="gradient through the denoiser (paper) or at the clean estimate (fast)")
    window: tuple[Share, Share] = Field(description="shares of the steps between which guidance acts")
    subject_until: Share = Field(
        description="share of the steps up to which the moved subject is held to its warp (not from inverted noise)"
    )
    crop: bool = Field(description="sample a window around what may change, not the whole photo")
    snap_mask: bool = Field(description="draw a given mask, or flow's region, that misses the picture's edges to them")
    edit_mask: bool = Field(description="hold all outside the edit region to the photo while sampling [m]")
    charbonnier_eps: float = Field(
        ge=0, description="of 1: colour differences smaller than this weigh little; 0: L1 (paper)"
    )
    oracle_flow: bool = Field(description="colour term along the target flow instead of the flow that is found")
    guidance_side_px: int = Field(ge=0, description="long side at which RAFT looks while guiding; 0: the sampler's own")
    flow_updates: int = Field(ge=1, le=32, description="RAFT updates in guidance")
    flow_levels: int = Field(ge=1, le=3, description="RAFT sizes in guidance, coarse to fine")
    embedded: EmbeddedChanges = Field(
        description="steps and weight with the embedded net, which refines a warp; not where they, or what only "
        "guidance has, are set otherwise",
    )

    @model_validator(mode="before")
    @classmethod
    def _by_their_names_now(cls, values: Any) -> Any:
        """Recipes of before name two settings otherwise."""
        return by_names_now(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _each_does_something(self) -> Self:
        low, high = self.window
        given = f"sampler.window [{low:g}, {high:g}]"
        if low > high:
            refuse(f"{given}: ends before it begins; write the smaller share first")
        count = len(visited(self.steps, self.start_t)) if self.steps else 0
        if count and self.weight and not any(guided(self.window, count)):
            refuse(f"{given}: holds none of the {count} steps, so nothing guides; widen it, or set sampler.weight=0")
        if 0 < self.guidance_side_px < SMALLEST_LOOK_PX:
            given = f"sampler.guidance_side_px {self.guidance_side_px}"
            refuse(f"{given}: shows guidance nothing; give {SMALLEST_LOOK_PX} or more, or 0 for the sampler's own")
        return self

    @classmethod
    def from_preset(cls, name: str, **changes: Any) -> Self:
        """The settings of a preset, some of them changed. Raises InputError for a preset that is not there."""
        return cls.model_validate(changed_preset(name, changes))

    def for_model(self, *, refines: bool, guided: bool) -> Self:
        """These settings for the embedded net, which `refines` a warp and has its own unless the caller guides it, or
        for any other."""
        return self.for_embedded() if refines and not guided else self.for_any_model()

    def for_embedded(self) -> Self:
        """These settings with those of the embedded net in place."""
        own = self.embedded.model_dump(exclude_none=True)
        return self.model_copy(update={**own, "embedded": EmbeddedChanges()})

    def for_few_steps(self, *, keep_scale: bool) -> Self:
        """These settings for a net distilled to few steps: not guided by its prompt, but where it is told the scale."""
        changes = {"steps": min(self.steps, FEW_STEPS)}
        return self.model_copy(update=changes if keep_scale else {**changes, "guidance_scale": 1.0})

    def for_any_model(self) -> Self:
        """These settings without those of the embedded net."""
        return self.model_copy(update={"embedded": EmbeddedChanges()})


def changed_preset(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """A preset's values, some of them changed: for the embedded net too. Raises InputError as `load_preset` does."""
    values = load_preset(name)
    own = values["embedded"]
    if OF_GUIDANCE & changes.keys():
        own = {}
    kept = {key: own[key] for key in own.keys() - changes.keys()}
    asked = changes.get("embedded", {})
    return {**values, **changes, "embedded": {**kept, **asked} if isinstance(asked, dict) else asked}


def by_names_now(values: dict[str, Any]) -> dict[str, Any]:
    """Settings under their names of today, where a recipe of before says them."""
    return {OLD_NAMES.get(name, name): value for name, value in values.items()}


def visited(steps: int, start_t: int, trained: int = TRAINED) -> list[int]:
    """The timesteps, rising, of `steps` uniform DDIM steps over `trained` noise levels that `start_t` of 1000 allows.

    At least one; the first is 1, as Stable Diffusion's schedulers have it, or 0 where every level is a step.
    """
    offset = int(steps < trained)
    highest = max(1, start_t * trained // TRAINED)
    return [t for index in range(steps) if (t := index * trained // steps + offset) <= highest]


def guided(window: tuple[float, float], count: int) -> list[bool]:
    """Which of `count` steps lie in a window of shares."""
    low, high = (round(share * count) for share in window)
    return [low <= index < high for index in range(count)]


def refuse(message: str) -> NoReturn:
    """End validation with this line."""
    raise PydanticCustomError(REFUSED, "{message}", {"message": message})


def load_preset(name: str) -> dict[str, Any]:
    """The [sampler] table of pipelines/presets/<name>.toml. Raises InputError for a name that is not there."""
    folder = pipelines_folder() / "presets"
    known = sorted(preset.stem for preset in folder.glob("*.toml"))
    if name not in known:
        raise InputError(f"--preset {name}: unknown; use one of {', '.join(known)}")
    table: dict[str, Any] = tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))["sampler"]
    return table


def pipelines_folder() -> Path:
    """The folder of recipes: inside the installed package, or beside it in an editable install."""
    inside = PACKAGE / "pipelines"
    return inside if inside.is_dir() else PACKAGE.parent / "pipelines"
