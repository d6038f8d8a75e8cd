"""What ends in the decoding process does not end here: one line, in time, and the next clip is read."""

import gc
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mtransfer.errors import InputError
from mtransfer.media.decoding import decoder
from mtransfer.media.decoding.decoder import DecoderDied
from mtransfer.media.video import ClipReader
from mtransfer.media.video_writer import write_video

STALLS = "import time; time.sleep(60)"
CRASHES = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
BREAKS = "raise KeyError('surprise')"
PATCHED = """
from mtransfer.media.decoding import decoder_process
from mtransfer.media.decoding import decoder_selection
decoder_process.STALLED_S = 1.0
real = decoder_selection.open_source
def open_source(path, *, fast, **told):
    if fast or "always" in path.name:
        exec({what!r})
    return real(path, fast=fast, **told)
decoder_selection.open_source = open_source
decoder_process.main()
"""


@pytest.fixture(autouse=True)
def nothing_kept():
    gc.collect()
    decoder.end_idle()
    yield
    gc.collect()
    decoder.end_idle()


def clip(path: Path) -> Path:
    write_video(torch.rand(6, 3, 32, 48, generator=torch.Generator().manual_seed(0)), path, 12)
    return path


def decode_with(monkeypatch, what: str) -> None:
    monkeypatch.setattr(decoder, "COMMAND", [sys.executable, "-c", PATCHED.format(what=what)])


@pytest.mark.parametrize(("what", "said"), [(STALLS, "stalls"), (CRASHES, "crashes"), (BREAKS, "KeyError")])
def test_a_clip_that_ends_its_decoder_is_one_line(tmp_path: Path, monkeypatch, what: str, said: str):
    path = clip(tmp_path / "always.mp4")
    decode_with(monkeypatch, what)
    started_s = time.monotonic()
    with pytest.raises(InputError) as caught:
        ClipReader(path)
    assert time.monotonic() - started_s < 10
    assert said in str(caught.value)
    assert "always.mp4" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", [STALLS, CRASHES])
def test_where_the_fast_reader_dies_the_other_reads(tmp_path: Path, monkeypatch, what: str):
    path = clip(tmp_path / "clip.mp4")
    decode_with(monkeypatch, what)
    reader = ClipReader(path)
    assert (reader.by, reader.clip.frame_count) == ("pyav", 6)


def test_a_process_that_dies_on_the_way_is_one_line_and_another_takes_its_place(tmp_path: Path):
    path = clip(tmp_path / "clip.mp4")
    reader = ClipReader(path)
    reader._decoder._process.kill()
    for _ in range(2):
        with pytest.raises(DecoderDied, match=r"clip\.mp4 crashes"):
            reader.read([5])
    reader.close()
    assert ClipReader(path).read([5]).shape == (1, 3, 32, 48)


def test_processes_are_used_again_whatever_was_left_unread(tmp_path: Path):
    path = clip(tmp_path / "clip.mp4")
    reader = ClipReader(path)
    first = reader._decoder
    unread = reader.walk(range(6))
    next(unread)
    reader.close()
    again = ClipReader(path)
    assert again._decoder is first
    assert again.read(range(6)).shape[0] == 6


def test_two_walks_at_once_each_get_their_frames(tmp_path: Path):
    reader = ClipReader(clip(tmp_path / "clip.mp4"))
    wanted = list(reader.walk(range(6)))
    forth, back = reader.walk(range(6)), reader.walk(range(5, -1, -1))
    for index in range(6):
        np.testing.assert_array_equal(next(back), wanted[5 - index])
        np.testing.assert_array_equal(next(forth), wanted[index])


def test_a_file_is_called_what_the_caller_calls_it(tmp_path: Path, monkeypatch):
    clip(tmp_path / "clip.mp4").rename(tmp_path / "1:2 %d.mp4")
    for folder in (tmp_path, tmp_path.parent):
        monkeypatch.chdir(folder)
        assert ClipReader((tmp_path / "1:2 %d.mp4").relative_to(folder)).clip.frame_count == 6
