"""The command that reads a clip's flow into a file."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mtransfer.errors import InputError
from mtransfer.ui.cli import console


def flow(
    clip: Annotated[Path, typer.Argument(help="the video")],
    output: Annotated[Path, typer.Option("-o", "--output", help="flow file: .npz .npy .flo .png")],
    pair: Annotated[str, typer.Option(help="clip positions A:B, frames or seconds [default: first and last]")] = "",
    flow_model: Annotated[
        Literal["auto", "embedded", "raft_large", "raft_small", "dis"], typer.Option(help="reads the clip")
    ] = "auto",
    deinterlace: Annotated[
        Literal["auto", "on", "off"], typer.Option(help="make whole pictures of interlaced frames: auto | on | off")
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto | cpu | cuda | mps")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a file already there")] = False,
    json_: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Read the flow between two frames of a clip into a file: forward, in pixels of the clip."""
    console.run(
        lambda: console.show(_flow(clip, output, pair, flow_model, deinterlace, device, overwrite), as_json=json_)
    )


def _flow(
    clip: Path, output: Path, pair: str, flow_model: str, deinterlace: Any, device: str, overwrite: bool
) -> dict[str, Any]:
    from mtransfer.devices import choose_device
    from mtransfer.flow.estimator import estimate_field
    from mtransfer.flow.field import resize
    from mtransfer.flow.io import ENCODERS, save_field
    from mtransfer.flow.loading import load_reader, reading_side_px
    from mtransfer.media.clip_position import parse_pair
    from mtransfer.media.photo.sizes import require_size, shrunk
    from mtransfer.media.video import ClipReader

    if output.suffix.lower() not in ENCODERS:
        raise InputError(f"-o {output}: its suffix must be one of {' '.join(ENCODERS)}")
    if output.exists() and not overwrite:
        raise InputError(f"-o {output}: is already there; add --overwrite or choose another name")
    if not output.absolute().parent.is_dir():
        raise InputError(f"-o {output}: its folder is not there; make it first")
    reader = ClipReader(clip, deinterlace=deinterlace)
    found = reader.clip
    first, second = parse_pair(pair or f"0:{found.frame_count - 1}", found)
    place = choose_device(device)
    require_size(found.size, str(found.path))
    side = max(shrunk(found.size, reading_side_px(flow_model)))
    frames = reader.read([first, second], long_side=side).to(place)
    field = resize(estimate_field(load_reader(flow_model, place), frames[:1], frames[1:]), found.size)
    save_field(field, output)
    confident = float(field.confidence.mean())
    return {
        "flow": str(output),
        "pair": f"{first}:{second}",
        "confident_share": round(confident, 3),
        "clip_reader": reader.by,
    }
