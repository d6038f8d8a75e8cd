import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from mtransfer.errors import InputError, MTransferError
from mtransfer.files import staged
from mtransfer.media.photo.photo import save_png
from mtransfer.strict_json import save_json


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def write_results(stage: Path, text: str = "new") -> None:
    for name in ("edited.png", "flow.npz", "run.json"):
        (stage / name).write_text(text)


def test_results_arrive_together_when_the_work_is_done(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with staged(out, overwrite=False) as stage:
        write_results(stage)
        assert not out.exists()
    assert contents(tmp_path) == {f"deep/out/{name}": "new" for name in ("edited.png", "flow.npz", "run.json")}
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert out.stat().st_mode & 0o777 == 0o777 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, InputError, FileNotFoundError])
@pytest.mark.parametrize("existing", [True, False])
def test_work_that_fails_leaves_everything_as_it_was(tmp_path: Path, failure, existing) -> None:
    out = tmp_path / "out"
    if existing:
        out.mkdir()
        write_results(out, "old")
    before = contents(tmp_path), sorted(tmp_path.rglob("*"))

    def work() -> None:
        with staged(out, overwrite=True) as stage:
            write_results(stage)
            raise failure("stop")

    with pytest.raises(failure, match="stop"):
        work()
    assert (contents(tmp_path), sorted(tmp_path.rglob("*"))) == before


def fail_at_the_third_rename(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    calls, rename = [], os.replace

    def replace(source, target) -> None:
        calls.append(target)
        if len(calls) == 3:
            raise error
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)


@pytest.mark.parametrize("existing", [True, False])
def test_a_disk_that_fills_while_moving_leaves_everything_as_it_was(tmp_path, monkeypatch, existing) -> None:
    out = tmp_path / "new" / "out"
    if existing:
        out.mkdir(parents=True)
        write_results(out, "old")
    before = contents(tmp_path), sorted(tmp_path.rglob("*"))
    fail_at_the_third_rename(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    with (
        pytest.raises(MTransferError, match=r"-o .*out: the disk is full; free some space") as error,
        staged(out, overwrite=True) as stage,
    ):
        write_results(stage)
    assert error.value.exit_code == 1
    assert (contents(tmp_path), sorted(tmp_path.rglob("*"))) == before


def test_an_interruption_while_moving_leaves_everything_as_it_was(tmp_path, monkeypatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_results(out, "old")
    before = contents(tmp_path)
    fail_at_the_third_rename(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt), staged(out, overwrite=True) as stage:
        write_results(stage)
    assert contents(tmp_path) == before


def test_a_disk_that_fills_while_writing_is_named(tmp_path: Path) -> None:
    def work() -> None:
        with staged(tmp_path / "out", overwrite=False):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(MTransferError, match="disk is full"):
        work()
    assert list(tmp_path.iterdir()) == []


def test_results_already_there_stay_unless_overwritten(tmp_path: Path) -> None:
    write_results(tmp_path, "old")
    (tmp_path / "notes.txt").write_text("mine")
    with (
        pytest.raises(InputError, match=r"already holds edited\.png; add --overwrite"),
        staged(tmp_path, overwrite=False),
    ):
        pass
    with staged(tmp_path, overwrite=True) as stage:
        (stage / "edited.png").write_text("new")
    assert contents(tmp_path) == {"edited.png": "new", "flow.npz": "old", "run.json": "old", "notes.txt": "mine"}


def test_a_folder_with_other_things_is_used(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with staged(tmp_path, overwrite=False) as stage:
        write_results(stage)
    assert contents(tmp_path)["notes.txt"] == "mine"
    assert len(contents(tmp_path)) == 4


def test_out_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("mine")
    for out, words in ((file, "is a file; name a folder"), (file / "below", "cannot be written")):
        with pytest.raises(InputError, match=words) as error, staged(out, overwrite=True):
            pass
        assert "\n" not in str(error.value)
    assert contents(tmp_path) == {"out": "mine"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    for out in (tmp_path, tmp_path / "below"):
        with pytest.raises(InputError, match="choose another"), staged(out, overwrite=True):
            pass


def test_a_place_where_no_folder_can_be_made_is_refused_before_the_work() -> None:
    with pytest.raises(InputError, match=r"-o /proc/mtransfer: cannot be written"):
        staged(Path("/proc/mtransfer"), overwrite=False).__enter__()


def picture() -> torch.Tensor:
    return torch.rand(3, 9, 13, generator=torch.Generator().manual_seed(0))


def test_a_png_holds_the_nearest_of_256_levels(tmp_path: Path) -> None:
    save_png(picture() * 1.2 - 0.1, tmp_path / "a.png")
    pixels = np.asarray(Image.open(tmp_path / "a.png")).transpose(2, 0, 1) / 255
    assert np.abs(pixels - (picture() * 1.2 - 0.1).clamp(0, 1).numpy()).max() <= 0.5 / 255 + 1e-6


def test_the_same_picture_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save_png(picture(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_colour_profile_is_kept(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    save_png(picture(), tmp_path / "a.png", profile)
    save_png(picture(), tmp_path / "b.png")
    with Image.open(tmp_path / "a.png") as kept, Image.open(tmp_path / "b.png") as bare:
        assert kept.info["icc_profile"] == profile
        assert "icc_profile" not in bare.info


def test_json_is_strict(tmp_path: Path) -> None:
    figures = {"a": float("inf"), "b": [float("nan"), 1.5], "c": {"d": (-float("inf"), None)}, "e": Path("x")}
    save_json(figures, tmp_path / "run.json")
    found = json.loads((tmp_path / "run.json").read_text(), parse_constant=pytest.fail)
    assert found == {"a": None, "b": [None, 1.5], "c": {"d": [None, None]}, "e": "x"}
