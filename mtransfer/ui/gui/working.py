"""The addresses of jobs: asked for, listed with how far they are, cancelled; and of what stands in the page's tabs."""

import threading
from functools import cache
from importlib import import_module
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response

from mtransfer.errors import InputError
from mtransfer.ui.gui.forms import PICTURE, chosen, clip_job, edit_job
from mtransfer.ui.gui.jobs import Job
from mtransfer.ui.gui.requests import answered, session_of
from mtransfer.ui.gui.sessions import Session, Sessions

TABS = ("edit", "transfer", "animate")
working = APIRouter()


def ask(session: Session, model: str, asked: dict[str, Any]) -> Job:
    """Begin what a tab asks for: {"tab", "state", "options", "film"}. Raises InputError."""
    tab, state, given = asked.get("tab"), asked.get("state"), asked.get("options")
    if tab not in TABS or not isinstance(state, dict) or not isinstance(given, dict):
        raise InputError("a tab, its state and its options are needed")
    options = chosen(given, model)
    if tab == "edit":
        job = edit_job(session, state, options, str(asked.get("film", PICTURE)))
    else:
        job = clip_job(tab, session, state, options)
    job.tab = tab
    session.asked(job.name, asked)
    session.begin(job)
    job.start()
    return job


def resume(sessions: Sessions, model: str) -> None:
    """Begin again what had not ended when the server did."""
    for session in sessions.all:
        for asked in session.unfinished():
            ask(session, model, asked)


def set_model(app: FastAPI, model: str) -> None:
    """What jobs of this app are done by."""
    app.state.model = model


@cache
def load_ahead() -> None:
    """Import, beside all else, what sampling needs: that takes seconds in which a job could not be stopped."""
    threading.Thread(target=import_module, args=("mtransfer.sampling.loading",), daemon=True).start()


@working.post("/jobs")
async def begin(request: Request) -> dict[str, Any]:
    """A job, as `ask` takes it; how far it is."""
    model: str = request.app.state.model
    job: Job = await answered(request, lambda session, values: ask(session, model, values))
    return job.snapshot()


@working.get("/jobs")
def jobs(request: Request) -> list[dict[str, Any]]:
    """This session's jobs, the oldest first: those under way and the last that have ended."""
    return [job.snapshot() for job in list(session_of(request).jobs.values())]


@working.post("/jobs/{name}/cancel")
def cancel(request: Request, name: str) -> dict[str, Any]:
    """Stop a job, running or waiting."""
    job = _job(request, name)
    job.cancel()
    return dict(job.snapshot())


@working.get("/jobs/{name}/picture")
def picture(request: Request, name: str) -> Response:
    """What a job has made so far."""
    content = _job(request, name).now.picture
    return Response(content, media_type="image/jpeg", headers={"cache-control": "no-store"})


def _job(request: Request, name: str) -> Job:
    found: Job | None = session_of(request).jobs.get(name)
    if found is None:
        raise InputError("that job is over; see the Gallery for what it made")
    return found


@working.get("/desk")
def desk(request: Request) -> dict[str, Any]:
    """What stands in the page's tabs, by their names. Who comes to a page will want the models: they are fetched."""
    load_ahead()
    return session_of(request).desk


@working.post("/desk")
async def put_on_desk(request: Request) -> dict[str, Any]:
    """Note what stands in a tab: {"tab", "state"}."""

    def note(session: Session, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("tab") not in TABS:
            raise InputError("a tab is needed")
        session.put_on_desk(values["tab"], values.get("state"))
        return {}

    return dict(await answered(request, note))
