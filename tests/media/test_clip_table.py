"""Containers x codecs x cuts: every position of every clip is the right frame at the right time, however asked."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from bar_clips import HEIGHT, WIDTH, encode, ffmpeg, needs_ffmpeg, number_in

from mtransfer.errors import InputError
from mtransfer.media.clip_position import parse_position
from mtransfer.media.video import ClipReader

COUNT, RATE = 20, 25
CUT_S = 0.3  # where clips are cut without encoding them again: within a group of pictures
MOST_S = 20.0  # for whatever is done with one clip
GAP = (7, 12)  # frames that a clip of variable rate leaves out

CODECS = {
    "h264": "-c:v libx264 -bf 0 -g 6",
    "h264 with B": "-c:v libx264 -bf 3 -g 6",
    "h264 open": "-c:v libx264 -bf 3 -g 6 -x264-params open-gop=1:scenecut=0",
    "hevc closed": "-c:v libx265 -x265-params log-level=none:open-gop=0:keyint=6:bframes=3",
    "hevc open": "-c:v libx265 -x265-params log-level=none:open-gop=1:keyint=6:min-keyint=6:scenecut=0:bframes=3",
    "vp8": "-c:v libvpx -g 6 -auto-alt-ref 1 -lag-in-frames 8",
    "vp9": "-c:v libvpx-vp9 -g 6 -cpu-used 8 -lag-in-frames 8",
    "av1": "-c:v libaom-av1 -g 6 -cpu-used 8 -lag-in-frames 8",
    "mpeg1": "-c:v mpeg1video -g 6 -bf 2 -q:v 3",
    "mpeg2": "-c:v mpeg2video -g 6 -bf 2 -q:v 3",
    "mpeg4": "-c:v mpeg4 -g 6 -q:v 3",
    "mpeg4 with B": "-c:v mpeg4 -g 6 -bf 2 -q:v 3",
    "wmv2": "-c:v wmv2 -g 6 -q:v 3",
    "flv1": "-c:v flv -g 6 -q:v 3",
    "theora": "-c:v libtheora -g 6 -q:v 8",
    "prores": "-c:v prores_ks -pix_fmt yuv422p10le",
    "mjpeg": "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p",
    "gif": "-c:v gif",
    "apng": "-c:v apng -plays 0",
    "webp": "-c:v libwebp_anim -loop 0 -q:v 90",
}
WITHOUT_FORMAT = ("prores", "mjpeg", "gif", "apng", "webp")  # whose pixel format is not yuv420p
CONTAINERS = {  # what each holds
    "mp4": ("h264", "h264 with B", "h264 open", "hevc closed", "hevc open", "vp9", "av1", "mpeg2", "mpeg4 with B"),
    "mov": ("h264 with B", "hevc open", "prores", "mjpeg", "mpeg4"),
    "mkv": ("h264 with B", "h264 open", "hevc open", "vp9", "av1", "mpeg2", "mpeg4", "theora", "prores", "mjpeg"),
    "webm": ("vp8", "vp9", "av1"),
    "ts": ("h264", "h264 with B", "h264 open", "hevc closed", "hevc open", "mpeg2"),
    "m2ts": ("h264 with B", "hevc open", "mpeg2"),
    "mpg": ("mpeg1", "mpeg2"),
    "vob": ("mpeg2",),
    "avi": ("h264", "h264 with B", "mpeg4", "mpeg4 with B", "mjpeg"),
    "wmv": ("wmv2",),
    "ogv": ("theora",),
    "flv": ("flv1", "h264 with B"),
    "gif": ("gif",),
    "apng": ("apng",),
    "webp": ("webp",),
}
PICTURES = ("gif", "apng", "webp")
CUTS = {  # options when encoding, and where it makes sense (all containers if none is named)
    "whole": ("", ()),
    "late start": ("-output_ts_offset 5", ("mp4", "mov", "mkv", "webm", "ts", "m2ts", "mpg", "vob", "flv")),
    "fragmented": ("-movflags +frag_keyframe+empty_moov", ("mp4", "mov")),
    "no duration": ("", ("mkv", "webm")),
    "rotated": ("", ("mp4", "mov")),
    "SAR": ("-vf setdar=16/9", ("mp4", "mov", "mkv", "webm", "ts", "mpg", "ogv", "avi")),
    "VFR": (f"-vf select=not(between(n\\,{GAP[0]}\\,{GAP[1] - 1})) -vsync vfr", ("mp4", "mov", "mkv", "webm", "ts")),
    "stream-copied": ("", ("mp4", "mov", "mkv", "webm", "ts", "m2ts", "mpg", "vob", "avi", "wmv", "flv")),
}
INTERLACED = {
    "h264 with B": "-c:v libx264 -bf 3 -g 6 -x264-params tff=1",
    "mpeg2": "-c:v mpeg2video -g 6 -bf 2 -q:v 3 -flags +ilme+ildct -top 1",
}
TEN_BITS = {
    "h264 with B": "-c:v libx264 -bf 3 -g 6 -pix_fmt yuv420p10le",
    "hevc open": f"{CODECS['hevc open']} -pix_fmt yuv420p10le",
    "vp9": f"{CODECS['vp9']} -pix_fmt yuv420p10le -profile:v 2",
    "av1": f"{CODECS['av1']} -pix_fmt yuv420p10le",
}
REFUSED: dict[tuple[str, str, str], str] = {}  # with the reason
QUICK = (
    ("mp4", "h264 with B", "whole"),
    ("mp4", "h264 with B", "stream-copied"),
    ("mkv", "h264 with B", "no duration"),
    ("ts", "h264 with B", "whole"),
    ("mpg", "mpeg2", "whole"),
    ("avi", "mpeg4 with B", "whole"),
    ("mov", "mpeg4", "rotated"),
    ("mkv", "mpeg2", "interlaced"),
    ("webp", "webp", "whole"),
)


@dataclass(frozen=True)
class Cell:
    container: str
    codec: str
    cut: str

    def make(self, folder: Path) -> Path:
        path, whole = (folder / f"{name}.{self.container}" for name in ("clip", "whole"))
        encode(whole, *self._words(CUTS.get(self.cut, ("",))[0]), count=COUNT, rate=str(RATE))
        if self.cut == "stream-copied":
            ffmpeg("-ss", str(CUT_S), "-i", whole, "-c", "copy", path)
        elif self.cut == "rotated":
            ffmpeg("-i", whole, "-c", "copy", "-metadata:s:v", "rotate=90", path)
        elif self.cut == "no duration":  # what a pipe cannot go back to write
            kind = {"mkv": "matroska"}.get(self.container, self.container)
            path.write_bytes(ffmpeg("-i", whole, "-c", "copy", "-f", kind, "pipe:1"))
        else:
            return whole
        return path

    def _words(self, more: str) -> list[str]:
        codec = {"interlaced": INTERLACED, "10-bit": TEN_BITS}.get(self.cut, CODECS)[self.codec]
        plain = "" if self.codec in WITHOUT_FORMAT or "-pix_fmt" in codec else "-pix_fmt yuv420p"
        return f"{codec} {plain} {more}".split()

    def numbers(self, path: Path) -> list[int]:
        """The frames that it shows, in order: of copied packets those the edit list leaves, else what ffmpeg shows.

        MP4 and MOV have one, which Debian's ffmpeg disregards for AV1 and MJPEG.
        """
        if self.cut == "stream-copied" and self.container in ("mp4", "mov"):
            return list(range(math.ceil(CUT_S * RATE), COUNT))
        if self.cut == "stream-copied":
            shown = ffmpeg("-i", path, "-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1")
            return [number_in(each) for each in np.frombuffer(shown, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)]
        return [number for number in range(COUNT) if self.cut != "VFR" or not GAP[0] <= number < GAP[1]]

    @property
    def size(self) -> tuple[int, int]:
        if self.cut == "rotated":
            return WIDTH, HEIGHT
        return HEIGHT, round(HEIGHT * 16 / 9) if self.cut == "SAR" else WIDTH

    def number(self, picture: np.ndarray) -> int:
        return number_in(np.rot90(picture, -1 if self.cut == "rotated" else 0))


def cells() -> list[Cell]:
    found = [
        Cell(container, codec, cut)
        for container, codecs in CONTAINERS.items()
        for codec in codecs
        for cut, (_, where) in CUTS.items()
        if not where or container in where
    ]
    found += [Cell(to, codec, "interlaced") for to in ("mp4", "mkv", "ts", "m2ts") for codec in INTERLACED]
    found += [Cell(to, "mpeg2", "interlaced") for to in ("mpg", "vob")]
    found += [Cell(to, codec, "10-bit") for to in ("mp4", "mkv") for codec in TEN_BITS]
    return found + [Cell("ts", codec, "10-bit") for codec in ("h264 with B", "hevc open")]


def faults(cell: Cell, path: Path) -> list[str]:
    """What is wrong with how the clip is read."""
    reader = ClipReader(path)
    clip, found = reader.clip, []
    in_order = [cell.number(picture) for picture in reader.walk(range(clip.frame_count))]
    wanted = cell.numbers(path)
    if in_order != wanted:
        return [f"in order: {in_order}, not {wanted}"]
    if clip.size != cell.size:
        found.append(f"size {clip.size}")
    times_s = [(number - wanted[0]) / RATE for number in wanted]
    if (late_s := np.abs(np.subtract(clip.timestamps_s, times_s)).max()) > 0.1 / RATE:
        found.append(f"times wrong by {late_s:.3f} s")
    positions = [parse_position(f"{time_s:.4f}s", clip) for time_s in times_s]
    if positions != list(range(len(wanted))):
        found.append(f"positions in seconds: {positions}")
    return found + _asked_otherwise(cell, path, reader, wanted)


def _asked_otherwise(cell: Cell, path: Path, reader: ClipReader, wanted: list[int]) -> list[str]:
    indices = range(len(wanted))
    alone = [cell.number(next(ClipReader(path).walk([index]))) for index in indices]
    backwards = [cell.number(picture) for picture in reader.walk(indices[::-1])][::-1]
    others = [(7 * index + 3) % len(wanted) for index in indices]
    pairs = [[cell.number(each) for each in reader.walk(pair)] for pair in zip(indices, others, strict=True)]
    asked = {"alone": alone, "backwards": backwards, "first of a pair": [pair[0] for pair in pairs]}
    found = [f"{how}: {numbers}" for how, numbers in asked.items() if numbers != wanted]
    if [pair[1] for pair in pairs] != [wanted[other] for other in others]:
        found.append("second of a pair")
    return found


def check(cell: Cell, folder: Path) -> list[str]:
    path = cell.make(folder)
    refused = REFUSED.get((cell.container, cell.codec, cell.cut))
    started_s = time.monotonic()
    try:
        found = faults(cell, path)
    except InputError as error:
        found = [] if refused and "\n" not in str(error) else [f"refused: {error}"]
    taken_s = time.monotonic() - started_s
    return [*found, *([f"took {taken_s:.0f} s"] if taken_s > MOST_S else [])]


@needs_ffmpeg
@pytest.mark.parametrize("cell", [Cell(*names) for names in QUICK], ids=[" ".join(names) for names in QUICK])
def test_every_position_is_the_right_frame(cell: Cell, tmp_path: Path):
    assert check(cell, tmp_path) == []


@needs_ffmpeg
@pytest.mark.slow
def test_every_cell_of_the_table_is_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    wrong = {}
    for number, cell in enumerate(cells()):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            if found := check(cell, folder):
                wrong[cell] = found
        except AssertionError as error:
            wrong[cell] = [str(error)[:300]]
    with capsys.disabled():
        print(f"\n{len(cells())} cells of containers x codecs x cuts, {len(REFUSED)} of them may be refused")
    assert not wrong, "\n".join(f"{cell}: {found}" for cell, found in wrong.items())


def test_what_may_be_refused_is_in_the_table():
    assert {Cell(*names) for names in (*REFUSED, *QUICK)} <= set(cells())
