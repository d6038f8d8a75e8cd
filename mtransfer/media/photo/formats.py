"""The formats of still pictures that are read: what they are called, their files' suffixes, what reads them."""

import importlib
from functools import lru_cache
from pathlib import Path

from mtransfer.errors import InputError

# Pillow's names. What it reads besides are documents, drawings and data of no fixed look.
FORMATS: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".mpo",),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
    "JXL": (".jxl",),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf", ".j2c"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TGA": (".tga",),
    "PSD": (".psd",),
    "QOI": (".qoi",),
    "ICO": (".ico",),
}
PHOTO_SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
# Camera raw files pass for TIFFs that hold a thumbnail.
RAW_SUFFIXES = (".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw")
PLUGINS = {"HEIF": ("pillow_heif", "pillow-heif", "HEIC"), "JXL": ("pillow_jxl", "pillow-jxl-plugin", "JPEG XL")}
EXTRA = "photos"
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
HEAD_BYTES = 64


def format_of(head: bytes) -> str | None:
    """`HEIF`, `AVIF` or `JXL` by a file's first bytes; None for any other."""
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return "JXL"
    if head[4:8] != b"ftyp":
        return None
    brands = head[8 : max(12, int.from_bytes(head[:4], "big"))]
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    return "HEIF" if head[8:12] in HEIF_BRANDS else None


def openable(head: bytes, path: Path) -> list[str]:
    """The formats among which Pillow is to look for that of a file.

    Raises InputError for camera raw, and where what reads the format is not installed.
    """
    from PIL import Image

    if path.suffix.lower() in RAW_SUFFIXES:
        raise InputError(f"photo {path} is camera raw; develop it and save it as a TIFF or JPEG")
    found = format_of(head)
    if found in PLUGINS:
        _require_plugin(found, path)
    Image.init()
    if found == "AVIF" and "AVIF" not in Image.OPEN:
        raise InputError(f"photo {path} is AVIF, which this Pillow was built without; install Pillow 11.3 or later")
    return [name for name in FORMATS if name in Image.OPEN]


def _require_plugin(name: str, path: Path) -> None:
    package, called = PLUGINS[name][1:]
    try:
        _register(name)
    except ImportError:
        raise InputError(f"photo {path} is {called}, which {package} reads: pip install 'mtransfer[{EXTRA}]'") from None


@lru_cache
def _register(name: str) -> None:
    """Make a plugin known to Pillow. Raises ImportError where it is not installed."""
    plugin = importlib.import_module(PLUGINS[name][0])  # the other one makes itself known
    if name == "HEIF":
        plugin.register_heif_opener()
