import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mtransfer.errors import InputError
from mtransfer.flow.field import FlowField, translate_flow
from mtransfer.flow.io import load_field, save_field

vectors = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda size: arrays(np.float32, (1, 2, *size), elements=st.floats(-500, 500, width=32))
)


@pytest.fixture
def field() -> FlowField:
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(1, 1, 6, 9, generator=generator)
    return FlowField(torch.randn(1, 2, 6, 9, generator=generator) * 20, confidence)


def round_trip(field: FlowField, suffix: str) -> FlowField:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"flow{suffix}"
        save_field(field, path)
        assert [child.name for child in Path(folder).iterdir()] == [path.name]
        return load_field(path, size=field.size)


@given(vectors)
def test_every_format_returns_what_it_was_given(flow) -> None:
    field = FlowField.from_flow(torch.from_numpy(flow))
    for suffix, tolerance_px in ((".npz", 0), (".npy", 0), (".flo", 0), (".png", 1 / 128)):
        again = round_trip(field, suffix)
        torch.testing.assert_close(again.flow, field.flow, atol=tolerance_px, rtol=0)
        assert bool((again.confidence == 1).all())


def test_npz_keeps_frames_and_confidence_and_its_bytes(field, tmp_path) -> None:
    many = FlowField(field.flow.repeat(3, 1, 1, 1), field.confidence.repeat(3, 1, 1, 1))
    again = round_trip(many, ".npz")
    torch.testing.assert_close((again.flow, again.confidence), (many.flow, many.confidence), rtol=0, atol=0)
    save_field(many, tmp_path / "a.npz")
    save_field(many, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_opencv_reads_our_flo_and_we_read_its(field, tmp_path) -> None:
    save_field(field, tmp_path / "ours.flo")
    flow = field.flow[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(cv2.readOpticalFlow(str(tmp_path / "ours.flo")), flow)
    cv2.writeOpticalFlow(str(tmp_path / "theirs.flo"), flow)
    torch.testing.assert_close(load_field(tmp_path / "theirs.flo").flow, field.flow, rtol=0, atol=0)


def test_png_has_the_layout_of_kitti(field, tmp_path) -> None:
    save_field(field, tmp_path / "flow.png")
    blue, green, red = cv2.split(cv2.imread(str(tmp_path / "flow.png"), cv2.IMREAD_UNCHANGED))
    valid = field.confidence[0, 0].numpy() > 0.5
    u, v = field.flow[0].numpy()
    assert red.dtype == np.uint16
    np.testing.assert_array_equal(blue, valid)
    np.testing.assert_array_equal(red[valid], np.rint(u[valid] * 64 + 2**15))
    np.testing.assert_array_equal(green[valid], np.rint(v[valid] * 64 + 2**15))
    again = load_field(tmp_path / "flow.png")
    np.testing.assert_array_equal(again.confidence[0, 0].numpy() > 0.5, valid)
    assert not again.flow[0, :, ~valid].any()


def test_unknown_vectors_of_middlebury_have_no_confidence(field, tmp_path) -> None:
    flow = field.flow[0].permute(1, 2, 0).numpy().copy()
    flow[2, 3] = 1e10
    cv2.writeOpticalFlow(str(tmp_path / "flow.flo"), flow)
    again = load_field(tmp_path / "flow.flo")
    assert again.flow[0, :, 2, 3].tolist() == [0, 0]
    assert again.confidence[0, 0, 2, 3] == 0
    assert again.confidence.sum() == 6 * 9 - 1


@pytest.mark.parametrize("mark", [1e9, -1e9, 1e10, 1.6e9])
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".flo", ".pth"])
def test_unknown_vectors_are_no_motion_in_any_format(field, tmp_path, suffix, mark) -> None:
    flow, path = field.flow.clone(), tmp_path / f"flow{suffix}"
    flow[0, 1, 2, 3] = mark
    if suffix == ".pth":
        torch.save(flow, path)
    else:
        save_field(FlowField(flow, field.confidence), path)
    again, known = load_field(path), torch.ones(6, 9, dtype=torch.bool)
    known[2, 3] = False
    assert (again.flow[0, :, 2, 3].tolist(), float(again.confidence[0, 0, 2, 3])) == ([0, 0], 0)
    torch.testing.assert_close(again.flow[..., known], flow[..., known], rtol=0, atol=0)
    wanted = field.confidence if suffix == ".npz" else torch.ones_like(field.confidence)
    torch.testing.assert_close(again.confidence[..., known], wanted[..., known], rtol=0, atol=0)


@pytest.mark.parametrize("layout", [(0, 1, 2), (1, 2, 0)])
def test_published_tensors_are_read_in_every_layout(field, tmp_path, layout) -> None:
    flow = field.flow[0].permute(layout).contiguous()
    torch.save(flow if layout[0] else flow[None], tmp_path / "flow.pth")
    torch.testing.assert_close(load_field(tmp_path / "flow.pth").flow, field.flow, rtol=0, atol=0)
    np.save(tmp_path / "flow.npy", flow.double().numpy())
    torch.testing.assert_close(load_field(tmp_path / "flow.npy").flow, field.flow, rtol=0, atol=0)


class Dangerous:
    def __reduce__(self) -> tuple:
        return print, ("unpickled",)


def write_broken(folder: Path) -> dict[str, Path]:
    """One broken file for every way there is, by what its message must say."""
    nan = torch.full((1, 2, 4, 4), torch.nan)
    torch.save(nan, folder / "nan.pth")
    torch.save({"flow": nan}, folder / "dict.pth")
    torch.save(Dangerous(), folder / "code.pth")
    torch.save(torch.zeros(3, 4, 5), folder / "shape.pth")
    np.savez(folder / "nan.npz", flow=nan.numpy())
    np.savez(folder / "name.npz", motion=nan.numpy())
    np.savez(folder / "object.npz", flow=np.array([None]))
    np.save(folder / "integer.npy", np.zeros((1, 2, 4, 4), int))
    (folder / "size.flo").write_bytes(np.float32(202021.25).tobytes() + np.array([9, 9], "<i4").tobytes())
    cv2.imwrite(str(folder / "eight.png"), np.zeros((4, 4, 3), np.uint8))
    for suffix in (".npz", ".npy", ".flo", ".png", ".pth"):
        (folder / f"empty{suffix}").write_bytes(b"")
        (folder / f"noise{suffix}").write_bytes(bytes(range(64)))
    (folder / "folder.npz").mkdir()
    return {path.name: path for path in folder.iterdir()} | {"gone.npz": folder / "gone.npz", "a.txt": folder / "a.txt"}


def test_broken_files_end_in_one_line_that_names_them(tmp_path, capsys) -> None:
    for name, path in write_broken(tmp_path).items():
        with pytest.raises(InputError) as error:
            load_field(path)
        assert name in str(error.value)
        assert "\n" not in str(error.value)
    assert "unpickled" not in capsys.readouterr().out


def test_another_size_is_refused(field, tmp_path) -> None:
    save_field(field, tmp_path / "flow.npz")
    with pytest.raises(InputError, match=r"flow\.npz: the flow is 9 x 6 pixels, the photo 8 x 6"):
        load_field(tmp_path / "flow.npz", size=(6, 8))


@pytest.mark.parametrize(
    ("name", "field", "words"),
    [
        ("flow.pth", translate_flow((4, 4), 1, 0), "suffix"),
        ("flow", translate_flow((4, 4), 1, 0), "suffix"),
        ("flow.png", translate_flow((4, 4), 600, 0), "512 px, not 600"),
        ("flow.flo", FlowField.from_flow(torch.zeros(2, 2, 4, 4)), "one frame, not 2"),
        ("gone/flow.npz", translate_flow((4, 4), 1, 0), "No such file"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(name, field, words, tmp_path) -> None:
    with pytest.raises(InputError, match=words):
        save_field(field, tmp_path / name)
    assert not list(tmp_path.iterdir())
