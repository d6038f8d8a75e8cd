"""Recipes put to every place at which they rest, and read from there."""

from pathlib import Path
from typing import Any

import torch

from mtransfer.jobs.recipe import COMMANDS, Recipe
from mtransfer.jobs.recipe_file import (
    StoredRecipe,
    find_inputs,
)
from mtransfer.media.gif import write_gif
from mtransfer.media.photo.photo import save_png
from mtransfer.media.video_writer import write_video

PLACES = ["toml", "folder", "png", "gif", "mp4"]


def put(text: str, place: str, home: Path) -> Path:
    """Store a recipe's text where `place` says; what `run` is to be given."""
    picture = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    if place == "png":
        save_png(picture, home / "edited.png", recipe=text)
        return home / "edited.png"
    if place == "mp4":
        write_video(picture.expand(2, -1, -1, -1), home / "moved.mp4", 12, comment=text)
        return home / "moved.mp4"
    if place == "gif":
        write_gif(picture.expand(2, -1, -1, -1), home / "moved.gif", [0.1, 0.1], comment=text)
        return home / "moved.gif"
    (home / "recipe.toml").write_text(text, encoding="utf-8")
    return home if place == "folder" else home / "recipe.toml"


def restored(stored: StoredRecipe, **given: Any) -> Recipe:
    return COMMANDS[stored.command].build({}, [], find_inputs(stored, given))
