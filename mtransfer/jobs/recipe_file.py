"""Recipes at rest: TOML in a file, a folder, a PNG's or an MP4's metadata, with the content hashes of their inputs.

A stored recipe holds resolved values and file names, no paths, so a picture says how it was made and nothing of where.
"""

import os.path
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from mtransfer.cache import file_hash
from mtransfer.errors import InputError
from mtransfer.jobs.recipe import COMMANDS, Recipe
from mtransfer.media.photo.mask_image import split_label
from mtransfer.media.photo.png import CHUNK
from mtransfer.sampling.settings import pipelines_folder
from mtransfer.subject.prompt import SUBJECT_FIELDS, SubjectPrompt, join_prompts, split_prompts

RECIPE_FILE = "recipe.toml"
RESULTS = ("edited.png", "generated.png")  # which carry theirs
FILE_FIELDS = ("photo", "clip", "flow", "noise", "strength_mask")
OWN_TABLES = ("command", "inputs", "versions")
SUBJECT_MASK = "subject_mask"  # among the hashes of inputs: of the mask that was found, not of a file
OF_MASK = ("subject", "segmenter", "camera")  # fields of which it depends


@dataclass(frozen=True)
class StoredRecipe:
    """A recipe's table as it was found, where its inputs are looked for, and what they must hash to (sha256)."""

    command: str
    values: dict[str, Any]
    hashes: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    home: Path = Path()
    origin: str = ""


def write_stored(recipe: Recipe, versions: dict[str, str], subject_mask: str | None = None) -> str:
    """The recipe as TOML: inputs by name and hash, values as they are in it; and the hash of its subject's mask."""
    command = next(name for name, kind in COMMANDS.items() if type(recipe) is kind)
    values = recipe.model_dump(mode="json", exclude_none=True)
    inputs = input_files(values)
    # A file's name need not be text, a recipe must be.
    names = {key: path.name.encode(errors="replace").decode() for key, path in inputs.items()}
    if Path(recipe.model).is_dir():
        names["model"] = Path(recipe.model).resolve().name
    table = {"command": command, **with_files(values, names)}
    # Tables come last in TOML.
    sampler = table.pop("sampler")
    hashes = {key: input_hash(path) for key, path in inputs.items()}
    hashes |= {} if subject_mask is None else {SUBJECT_MASK: subject_mask}
    return tomli_w.dumps({**table, "sampler": sampler, "inputs": hashes, "versions": versions})


def input_files(values: dict[str, Any]) -> dict[str, Path]:
    """The files among a recipe's values, by field; of several subjects by field and place, such as `subject.2`."""
    files = {key: Path(str(values[key])) for key in FILE_FIELDS if values.get(key) is not None}
    for key in SUBJECT_FIELDS:
        text = str(values.get(key, "auto"))
        several = split_prompts(text)
        names = [f"{key}.{place}" for place in range(1, len(several) + 1)] if len(several) > 1 else [key]
        prompts = zip(names, map(SubjectPrompt.parse, several), strict=True)
        files |= {name: Path(split_label(prompt.text)[0]) for name, prompt in prompts if prompt.kind == "file"}
    return files


def with_files(values: dict[str, Any], files: dict[str, str]) -> dict[str, Any]:
    """A recipe's values with other `files`, named as `input_files` does, in the place of theirs."""
    changed = dict(values)
    for name, file in files.items():
        key, _, place = name.partition(".")
        before = str(changed.get(key, ""))
        specs = split_prompts(before)
        label = split_label(specs[int(place or 1) - 1])[1] if key in SUBJECT_FIELDS else None
        named = key not in SUBJECT_FIELDS or SubjectPrompt.parse(file).kind == "file"
        path = file if named else f"./{file}"  # a file called 2 or all
        specs[int(place or 1) - 1] = path if label is None else f"{path}#{label}"
        changed[key] = join_prompts(specs) if key in SUBJECT_FIELDS else path
    return changed


def input_hash(path: Path) -> str:
    """sha256 of a file, as hex. Raises InputError when it cannot be read."""
    try:
        return file_hash(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the name") from error


def read_stored(target: str) -> StoredRecipe:
    """The recipe in a file, of a folder its recipe.toml or result, in a PNG, GIF or MP4 of ours, or named in pipelines.

    Raises InputError for one that is not there or not a recipe.
    """
    path = Path(target)
    named = pipelines_folder() / f"{target}.toml"
    if os.path.isdir(path):
        path = next(
            (path / name for name in (RECIPE_FILE, *RESULTS) if os.path.isfile(path / name)), path / RECIPE_FILE
        )
    elif not os.path.exists(path) and target == path.name and os.path.isfile(named):
        path = named
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such recipe; name a .toml file, a folder that holds {RECIPE_FILE}, or a result")
    if path.suffix.lower() not in CARRIERS:
        return parse(_content(path), path)
    return parse(carried_text(path).encode(), path, names_only=True)


def carried_text(path: Path) -> str:
    """The recipe's TOML that a PNG, GIF or MP4 carries. Raises InputError when it carries none."""
    text = CARRIERS[path.suffix.lower()](path)
    if not text:
        raise InputError(f"{path}: carries no recipe; give a result that mtransfer made without --no-metadata")
    return text


def parse(content: bytes, path: Path, *, names_only: bool = False) -> StoredRecipe:
    """A recipe's TOML; of a file that may come from anyone only the names of inputs count, not where they point.

    Raises InputError that names the file.
    """
    try:
        table = tomllib.loads(content.decode())
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a recipe, nor a result that carries one; name another") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not a recipe ({str(error).splitlines()[0]}); fix it or copy one anew") from None
    command, hashes, versions = table.get("command"), table.get("inputs", {}), table.get("versions", {})
    if not isinstance(command, str) or command not in COMMANDS:
        raise InputError(f"{path}: command = {command!r}; a recipe's command is one of {', '.join(COMMANDS)}")
    if not all(isinstance(part, dict) and all(map(_is_text, part.values())) for part in (hashes, versions)):
        raise InputError(f"{path}: [inputs] and [versions] must be tables of text; fix it or copy one anew")
    values = {key: value for key, value in table.items() if key not in OWN_TABLES}
    if names_only:
        values = with_files(values, {key: file.name for key, file in input_files(values).items()})
    return StoredRecipe(command, values, hashes, versions, path.parent, str(path))


def find_inputs(stored: StoredRecipe, given: dict[str, Any]) -> dict[str, Any]:
    """The recipe's values with every input as a path: beside the recipe, or where `given` says.

    Raises InputError for an input that is missing or is not the one the recipe was made with.
    """
    values = stored.values | given
    found_files: dict[str, str] = {}
    for key, path in input_files(values).items():
        field_name = key.partition(".")[0]
        flag = f"--{field_name.replace('_', '-')}"
        found = path if field_name in given else stored.home / path
        if not os.path.isfile(found):  # which, unlike Path's, takes names of any length
            raise InputError(f"{found}: missing input of {stored.origin}; put it there or name it with {flag}")
        wanted = stored.hashes.get(key)
        if wanted is not None and (actual := input_hash(found)) != wanted:
            raise InputError(
                f"{found}: not the file {stored.origin} was made with (sha256 {actual[:12]}, not {wanted[:12]}); "
                f"name the right one with {flag}"
            )
        found_files[key] = str(found)
    return with_files(values, found_files)


def wanted_mask(stored: StoredRecipe, recipe: Recipe) -> str | None:
    """What the mask of the recipe's subject hashed to when it was stored; None where another one is asked for."""
    same = all(getattr(recipe, key, None) == stored.values.get(key) for key in OF_MASK)
    return stored.hashes.get(SUBJECT_MASK) if same else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _picture_text(path: Path) -> str:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.load()  # text may stand after the pixels
            comment = picture.info.get("comment", b"") if picture.format == "GIF" else b""
            return comment.decode(errors="replace") or str(picture.info.get(CHUNK, ""))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be read as a picture; give a result of mtransfer") from error


def _mp4_comment(path: Path) -> str:
    import av

    try:
        with av.open(str(path)) as container:
            return str(container.metadata.get("comment", ""))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a video; give a result of mtransfer") from error


CARRIERS = {".png": _picture_text, ".gif": _picture_text, ".mp4": _mp4_comment}
