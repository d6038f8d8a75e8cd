"""An animation's files: its frames, kept in a folder of their own as they are painted, then all results at once."""

import contextlib
import hashlib
import shutil
import threading
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from mtransfer.errors import InputError, MTransferError
from mtransfer.files import DISK_FULL, nearest
from mtransfer.flow.field import FlowField
from mtransfer.flow.io import save_field
from mtransfer.jobs.animation.animate import THREADS, frame_path, liveliest, load_frame
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
from mtransfer.parallel import all_of, until
from mtransfer.sampling.composite import make_composite

HELD_BYTES = 2**28  # of frames: every film shows them all


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
    files, asked = _Files(scene, flow, folder, stage, text), formats(scene.recipe.format)
    films = [files.write_mp4, files.write_side_by_side]
    kinds = {"mp4": films, "gif": [files.write_gif], "png": [files.write_frames]}
    tasks = [task for kind, those in kinds.items() if kind in asked for task in those]
    all_of([*tasks, files.write_sheets], THREADS)
    if text:
        (stage / RECIPE_FILE).write_text(text, encoding="utf-8")
    return sorted(path.name for path in stage.iterdir())


class _Files:
    """The files of one animation; each method writes some, in a thread of its own, and ends early once `stopped`."""

    def __init__(self, scene: Scene, flow: FlowField, folder: Path, stage: Path, text: str) -> None:
        self.scene, self.flow, self.folder, self.stage, self.text = scene, flow, folder, stage, text
        self.order = play_order(len(scene.labels), scene.recipe.loop)
        self.shown_s = scene.shown_s(self.order)
        self._as_srgb = to_srgb(scene.photo.icc_profile)
        self._film_frame = lru_cache(max(1, HELD_BYTES // scene.photo.image.nbytes))(self._in_srgb)

    def write_mp4(self, stopped: threading.Event) -> None:
        """The film."""
        self._write_video(self._film(stopped), "animation.mp4")

    def write_side_by_side(self, stopped: threading.Event) -> None:
        """The film beside the clip, where it is of one."""
        if (clip := self.scene.beside(self.order)) is not None:
            self._write_video(side_by_side(clip, self._film(stopped)), "side_by_side.mp4")

    def write_gif(self, stopped: threading.Event) -> None:
        """The film as a GIF."""
        write_gif(self._film(stopped), self.stage / "animation.gif", self.shown_s, self.text)

    def write_frames(self, stopped: threading.Event) -> None:
        """Every frame by itself."""
        (self.stage / "frames").mkdir()
        for index in until(stopped, range(len(self.scene.labels))):
            _show(self.scene, self.folder, index, frame_path(self.stage / "frames", index), self.text)

    def write_sheets(self, stopped: threading.Event) -> None:
        """The sheet of frames, the preview and the flow."""
        scene, most = self.scene, liveliest(self.flow)
        save_png(contact_sheet(self._film_frame, scene.labels), self.stage / "contact.png", recipe=self.text)
        seen = scene.panels(most, _shown(scene, self.folder, most))
        save_png(sheet(seen, columns=3), self.stage / "preview.png", recipe=self.text)
        save_field(self.flow, self.stage / "flow.npz")

    def _write_video(self, frames: Iterable[Tensor], name: str) -> None:
        uneven_s = self.shown_s if len(set(self.shown_s)) > 1 else None
        write_video(frames, self.stage / name, self.scene.recipe.fps, self.text, uneven_s)

    def _film(self, stopped: threading.Event) -> Iterator[Tensor]:
        return map(self._film_frame, until(stopped, self.order))

    def _in_srgb(self, index: int) -> Tensor:
        return self._as_srgb(_shown(self.scene, self.folder, index))


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
