"""An animation's files: its frames, kept in a folder of their own as they are painted, then all results at once."""

import contextlib
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from mtransfer.errors import InputError, MTransferError
from mtransfer.files import DISK_FULL, nearest
from mtransfer.flow.field import FlowField
from mtransfer.flow.io import save_field
from mtransfer.jobs.animation.animate import frame_path, liveliest, load_frame
from mtransfer.jobs.animation.scene import Scene
from mtransfer.jobs.cutout import with_alpha
from mtransfer.jobs.recipe_file import RECIPE_FILE
from mtransfer.log import say
from mtransfer.media.contact_sheet import contact_sheet, sheet, side_by_side
from mtransfer.media.frame_selection import formats, play_order
from mtransfer.media.gif import write_gif
from mtransfer.media.photo.colour import to_srgb
from mtransfer.media.photo.photo import save_png
from mtransfer.media.video_writer import write_video
from mtransfer.sampling.composite import make_composite


@contextlib.contextmanager
def kept_frames(out: Path, key: str) -> Iterator[Path]:
    """A folder beside `out` for frames of the animation that `key` describes: found again until the block ends well.

    Raises InputError when it cannot be made there.
    """
    out = out.absolute()
    name = f".{out.name}-animate-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    folder = nearest(out.parent) / name
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"-o {out}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        yield folder
    except KeyboardInterrupt:
        say(f"{len(list(folder.glob('[0-9]*.png')))} frames are kept in {folder}; the same command goes on from there")
        raise
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise MTransferError(f"{folder}: the disk is full; free some space, the same command goes on") from error
    else:
        shutil.rmtree(folder)
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # without a frame it is of no use


def write_animation(scene: Scene, flow: FlowField, folder: Path, stage: Path, text: str) -> list[str]:
    """Write the files that the recipe asks for into `stage`, from the frames in `folder`; returns their names.

    Each carries the recipe `text`. The frames keep the photo's colour profile; films and the sheet are sRGB.
    """
    recipe, count, most = scene.recipe, len(scene.labels), liveliest(flow)
    order, as_srgb = play_order(count, recipe.loop), to_srgb(scene.photo.icc_profile)
    shown_s = scene.shown_s(order)
    uneven_s = shown_s if len(set(shown_s)) > 1 else None

    def film_frame(index: int) -> Tensor:
        return as_srgb(_shown(scene, folder, index))

    if "png" in formats(recipe.format):
        (stage / "frames").mkdir()
        for index in range(count):
            _show(scene, folder, index, frame_path(stage / "frames", index), text)
    if "gif" in formats(recipe.format):
        write_gif(map(film_frame, order), stage / "animation.gif", shown_s, text)
    if "mp4" in formats(recipe.format):
        write_video(map(film_frame, order), stage / "animation.mp4", recipe.fps, text, uneven_s)
        if (clip := scene.beside(order)) is not None:
            both = side_by_side(clip, map(film_frame, order))
            write_video(both, stage / "side_by_side.mp4", recipe.fps, text, uneven_s)
    save_png(contact_sheet(film_frame, scene.labels), stage / "contact.png", recipe=text)
    seen = scene.panels(most, _shown(scene, folder, most))
    save_png(sheet(seen, columns=3), stage / "preview.png", recipe=text)
    save_field(flow, stage / "flow.npz")
    if text:
        (stage / RECIPE_FILE).write_text(text, encoding="utf-8")
    return sorted(path.name for path in stage.iterdir())


def _shown(scene: Scene, folder: Path, index: int) -> Tensor:
    return scene.shown(load_frame(folder, index), index)


def _show(scene: Scene, folder: Path, index: int, path: Path, text: str) -> None:
    if scene.photo.alpha is not None:
        save_png(_with_alpha(scene, folder, index), path, scene.photo.icc_profile, text)
    elif scene.pans:
        save_png(_shown(scene, folder, index), path, scene.photo.icc_profile, text)
    else:
        shutil.copyfile(frame_path(folder, index), path)


def _with_alpha(scene: Scene, folder: Path, index: int) -> Tensor:
    """A frame float32[4,H,W] of a photo that is not opaque, in straight alpha."""
    seen, flow, mask = load_frame(folder, index)[None], scene.flow(index).flow.cpu(), scene.mask.cpu()
    edit = make_composite(seen, flow, mask, seen).edit if bool(flow.any()) else torch.zeros_like(mask)
    colours, alpha = with_alpha(scene.photo, seen, flow, mask, edit)
    return torch.cat([scene.shown(colours[0], index), scene.shown(alpha[0].expand(3, -1, -1), index)[:1]])
