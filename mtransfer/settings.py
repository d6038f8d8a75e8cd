"""Settings of the shared sampler. Presets (pipelines/presets/*.toml) hold the values; every field is required there."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]


class SamplerSettings(BaseModel):
    """What the sampler does; symbols of the paper (arXiv 2401.18085) in brackets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(ge=0, le=1000, description="DDIM steps over the whole schedule; 0: the warp alone")
    start: Literal["noise", "inverted", "warp"] = Field(
        description="first latents: pure noise, the photo's inverted noise, or the warped photo noised"
    )
    start_t: int = Field(ge=1, le=1000, description="highest visited timestep of 1000")
    guidance_scale: float = Field(ge=0, description="classifier-free guidance scale of the prompt")
    recursions: int = Field(ge=1, description="evaluations a step [K]")
    weight: float = Field(ge=0, description="weight of the energy's gradient [s]; 0: no motion guidance")
    relative: bool = Field(description="weight counts in sizes of the noise estimate, so it suits any step count")
    w_flow: float = Field(ge=0, description="weight of the flow term [lambda_flow]")
    w_color: float = Field(ge=0, description="weight of the colour term [lambda_color]")
    occlusion: bool = Field(description="leave what the motion hides out of the colour term [m_occ]")
    clip: float = Field(ge=0, description="greatest norm of the guidance an image [c_g]; 0: none")
    through_denoiser: bool = Field(description="gradient through the denoiser (paper) or at the clean estimate (fast)")
    window: tuple[Share, Share] = Field(description="shares of the steps between which guidance acts")
    subject_until: Share = Field(description="share of the steps up to which the moved subject is held to its warp")
    flow_updates: int = Field(ge=1, le=32, description="RAFT updates in guidance")
    flow_levels: int = Field(ge=1, le=3, description="RAFT sizes in guidance, coarse to fine")
