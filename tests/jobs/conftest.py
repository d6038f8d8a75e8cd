from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder of inputs; their content does not matter here."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("photo.png", "clip.mp4", "mask.png", "clip_mask.png", "flow.npz", "noise.safetensors", "grey.png"):
        (folder / name).write_bytes(f"content of {name}".encode())
    return folder
