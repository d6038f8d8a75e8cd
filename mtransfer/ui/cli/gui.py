"""The command that serves the flow editor. Nothing heavy is imported before."""

import importlib.util
import os
from pathlib import Path
from typing import Annotated

import typer

from mtransfer.errors import InputError, MTransferError
from mtransfer.ui.cli import console

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def register(app: typer.Typer) -> None:
    """Add the command `gui` to an app."""
    app.command("gui")(gui)


def gui(
    host: Annotated[str, typer.Option(help="address to serve on; others than 127.0.0.1 let others in")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="port to serve on")] = 7860,
    model: Annotated[str, typer.Option(help="embedded | auto | a folder or hub id")] = "auto",
    auth: Annotated[str, typer.Option(help="user:password that everyone must give")] = "",
    data: Annotated[
        Path | None, typer.Option(help="keep what is uploaded and made in this folder [default: gone when it stops]")
    ] = None,
) -> None:
    """Open the flow editor: drag what is to move, in the browser."""
    console.run(lambda: _serve(host, port, model, auth, data))


def _serve(host: str, port: int, model: str, auth: str, data: Path | None) -> None:
    if importlib.util.find_spec("gradio") is None:
        raise MTransferError("the editor needs Gradio, which is not installed: pip install 'mtransfer[gui]'")
    user, colon, password = auth.partition(":")
    if auth and not (user and colon and password):
        raise InputError("--auth: write it as user:password")
    _require_free(host, port)
    if data is not None:
        _require_folder(data)
    from mtransfer.sampling.model_folder import resolve_model
    from mtransfer.ui.gui.app import serve

    resolve_model(model)
    console.say(f"mtransfer: http://{f'[{host}]' if ':' in host else host}:{port}   (stop with Ctrl-C)")
    if host not in LOOPBACK and not auth:
        console.warn(f"--host {host}: whoever can reach this machine can use it; --auth user:password keeps others out")
    serve(model, host, port, auth, data)


def _require_folder(data: Path) -> None:
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--data {data}: cannot be made ({error.strerror}); name another folder") from error
    if not os.access(data, os.W_OK):
        raise InputError(f"--data {data}: the folder is read-only; name another")


def _require_free(host: str, port: int) -> None:
    import socket

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family):
            pass
    except OSError as error:
        raise InputError(
            f"--host {host} --port {port}: cannot be served on ({error.strerror}); choose others"
        ) from None
