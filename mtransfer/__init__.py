"""mtransfer: move the subject of a photo the way the subject of a clip moves."""

import importlib
import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "transfer": "mtransfer.transfer",
    "animate": "mtransfer.animate",
    "edit": "mtransfer.transfer",
    "TransferOutput": "mtransfer.transfer",
    "TransferRecipe": "mtransfer.recipe",
    "AnimateRecipe": "mtransfer.recipe",
    "EditRecipe": "mtransfer.recipe",
    "FlowField": "mtransfer.field",
    "Subject": "mtransfer.subject.subject",
    "MotionGuidedPipeline": "mtransfer.sampler",
    "MTransferError": "mtransfer.errors",
    "InputError": "mtransfer.errors",
    "ModelError": "mtransfer.errors",
}
__all__ = [*_PUBLIC, "__version__"]


class _Package(ModuleType):
    """Importing the modules `transfer` and `animate` would put them in place of the functions of these names."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ("transfer", "animate"):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
