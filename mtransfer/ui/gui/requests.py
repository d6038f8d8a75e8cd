"""What the editor's addresses have in common: whose request it is, its JSON object, an upload."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from mtransfer.errors import InputError
from mtransfer.ui.gui.sessions import LIMITS, MB, Session, require_suffix

SHOWN_PX = 1600  # long side of pictures in the page


def session_of(request: Request) -> Session:
    """Whose request this is, as the guard has found."""
    session: Session = request.state.session
    return session


async def answered(request: Request, make: Callable[[Session, dict[str, Any]], Any]) -> Any:
    """What `make` makes of the session and the request's object, in a thread."""
    values = await request.json()
    if not isinstance(values, dict):
        raise InputError("a JSON object is needed")
    return await run_in_threadpool(make, session_of(request), values)


async def received(request: Request, kind: str, name: str) -> tuple[str, Path]:
    """A file that is the body of a request, as a new thing's name and path. Raises InputError for one not wanted."""
    session = session_of(request)
    require_suffix(name, kind)
    length = int(request.headers["content-length"])
    if length > LIMITS[kind]:
        raise InputError(f"{name}: has {length // MB} MB; a {kind} may have {LIMITS[kind] // MB} MB")
    await run_in_threadpool(session.require_room, length)
    handle, path = session.place(name)
    with path.open("wb") as file:
        async for chunk in request.stream():
            file.write(chunk)
    return handle, path
