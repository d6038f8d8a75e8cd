"""mtransfer: move the subject of a photo the way the subject of a clip moves."""

import importlib
from typing import Any

from mtransfer.processors import settle_threads

settle_threads()

__version__ = "0.1.0"

_PUBLIC = {
    "transfer": "mtransfer.jobs.transfer",
    "animate": "mtransfer.jobs.animation.animate",
    "animate_edit": "mtransfer.jobs.animation.animate",
    "edit": "mtransfer.jobs.transfer",
    "generate": "mtransfer.jobs.generate",
    "TransferOutput": "mtransfer.jobs.render",
    "Animation": "mtransfer.jobs.animation.animate",
    "TransferRecipe": "mtransfer.jobs.recipe",
    "AnimateRecipe": "mtransfer.jobs.recipe",
    "AnimateEditRecipe": "mtransfer.jobs.recipe",
    "EditRecipe": "mtransfer.jobs.recipe",
    "GenerateRecipe": "mtransfer.jobs.recipe",
    "SamplerSettings": "mtransfer.sampling.settings",
    "MotionGuidedPipeline": "mtransfer.sampling.pipeline",
    "load_pipeline": "mtransfer.sampling.loading",
    "EnergyTerm": "mtransfer.sampling.guidance",
    "FlowModel": "mtransfer.flow.estimator",
    "FlowField": "mtransfer.flow.field",
    "load_field": "mtransfer.flow.io",
    "save_field": "mtransfer.flow.io",
    "backward_warp": "mtransfer.flow.warp",
    "Subject": "mtransfer.subject.subject",
    "Clip": "mtransfer.media.video",
    "Photo": "mtransfer.media.photo.photo",
    "read_photo": "mtransfer.media.photo.photo",
    "MTransferError": "mtransfer.errors",
    "InputError": "mtransfer.errors",
    "ModelError": "mtransfer.errors",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
