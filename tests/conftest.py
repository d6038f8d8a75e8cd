"""Every annotated function of the package checks its shapes and types while the tests run, and only then."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("mtransfer", "shape_check.check")

# The examples run beside whatever else the machine does: a slow one is no failure.
settings.register_profile("mtransfer", deadline=None, max_examples=30, derandomize=True)
settings.load_profile("mtransfer")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The cache of the tests alone, empty at their start."""
    os.environ["MTRANSFER_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def gui_url(tmp_path_factory: pytest.TempPathFactory, own_cache: None) -> Iterator[str]:
    """The address of the editor, which all its tests share."""
    from gui_server import served

    with served(tmp_path_factory.mktemp("gui") / "log") as url:
        yield url


GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(params=["paper_cached", "paper_noise"])
def golden(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    """The arrays of one run of the published sampler on toy networks."""
    with np.load(GOLDEN / f"{request.param}.npz") as arrays:
        return dict(arrays)
