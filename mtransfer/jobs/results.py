"""Results that are already there: folders as `transfer`, `edit` and `run` write them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.evaluation.figures import Edit
from mtransfer.flow.io import load_field
from mtransfer.flow.warp import moved_region
from mtransfer.jobs.recipe_file import find_inputs, read_stored
from mtransfer.media.photo.photo import read_photo

EDITED, FLOW = "edited.png", "flow.npz"


def find_results(places: Sequence[Path]) -> list[Path]:
    """The folders of results among `places` and below them, in order. Raises InputError for a place without any."""
    found: dict[Path, None] = {}
    for place in places:
        here = [place] if (place / EDITED).is_file() else sorted(path.parent for path in place.rglob(EDITED))
        if not here:
            raise InputError(f"{place}: holds no result; name a folder in which mtransfer wrote {EDITED} and {FLOW}")
        found |= dict.fromkeys(here)
    return list(found)


def read_result(folder: Path, photo: Path | None = None) -> tuple[Edit, Tensor]:
    """What a result was asked for, and its picture; the photo is the one given, or the one its recipe names.

    Raises InputError when one of them is missing, is another than the recipe says, or has another size.
    """
    if not (folder / FLOW).is_file():
        raise InputError(f"{folder}: holds no {FLOW}; a result is measured against the flow it was made with")
    if photo is None:
        photo = _photo_of(folder)
    own = read_photo(photo)
    source, edited = own.image[None], read_photo(folder / EDITED, matte=own.matte).image[None]
    if source.shape != edited.shape:
        sizes = " and ".join(f"{image.shape[-1]} x {image.shape[-2]}" for image in (source, edited))
        raise InputError(f"{photo}, {folder / EDITED}: {sizes} pixels; name the photo it was made from with --photo")
    field = load_field(folder / FLOW, size=(source.shape[-2], source.shape[-1]))
    flow = field.flow[:1]
    return Edit(source, flow, moved_region(flow)), edited


def _photo_of(folder: Path) -> Path:
    """The photo that a result's recipe names, beside the result, above it, or where the command is run."""
    try:
        stored = read_stored(str(folder / EDITED))
    except InputError as error:
        raise InputError(
            f"{folder / EDITED}: does not say what it was made from; name the photo with --photo"
        ) from error
    if stored.values.get("camera") == "photo":
        raise InputError(f"{folder}: made with --camera photo, which moves the whole photo; it cannot be measured")
    name = str(stored.values["photo"])
    places = [place / name for place in (folder, folder.parent, Path(), Path(_typed(folder) or name).parent)]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise InputError(f"{folder}: its photo {name} is not beside it; name it with --photo")
    only_photo = {key: value for key, value in stored.values.items() if key == "photo"}
    find_inputs(type(stored)(stored.command, only_photo, stored.hashes, origin=stored.origin), {"photo": str(found)})
    return found


def _typed(folder: Path) -> str | None:
    """The photo's path as it was typed when the result was made."""
    try:
        record: Any = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return str(record["recipe"]["photo"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
