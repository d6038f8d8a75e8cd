"""The same jobs for programs, through gradio_client: names and order of arguments stay as they are.

client = gradio_client.Client("http://127.0.0.1:7860")
picture, folder, figures = client.predict(handle_file("bird.jpg"), "40,0", preset="draft", api_name="/edit")
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from mtransfer.errors import InputError, MTransferError
from mtransfer.ui.gui.forms import chosen, recipe_job
from mtransfer.ui.gui.jobs import RESULT, Cancelled, Job, reason
from mtransfer.ui.gui.requests import session_of
from mtransfer.ui.gui.routes import zipped
from mtransfer.ui.gui.sessions import Session, Thing, look_at, require_suffix

QUEUE: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "jobs"}  # one device, one job at a time
Made = tuple[str, str, dict[str, Any]]


def add_api(model: str) -> None:
    """Register /edit, /transfer, /animate and /cancel in the page that is being built."""
    with gr.Row(visible=False):
        common = [_choice("preset", "fast"), gr.Number(0, label="seed"), _choice("prompt", "")]
        subject = _choice("subject", "auto")
        clipped = [subject, _choice("clip_subject", "auto"), gr.Number(1, label="strength")]
        motion = [_choice("translate", ""), gr.Number(0, label="rotate"), gr.Number(1, label="scale")]
        motion += [_choice("stretch", ""), _choice("pins", ""), subject]
        photo, clip = gr.File(label="photo", type="filepath"), gr.File(label="clip", type="filepath")
        made = [gr.File(label="result"), gr.File(label="recipe"), gr.JSON(label="figures")]
        _endpoint(_edit_with(model), [photo, *motion, *common], made)
        _endpoint(_transfer_with(model), [clip, photo, _choice("pair", ""), *clipped, *common], made)
        _endpoint(
            _animate_with(model), [clip, photo, _choice("frames", ""), *clipped, _choice("loop", "none"), *common], made
        )
        gr.Button().click(stop, None, None, queue=False, api_name="cancel")


def _edit_with(model: str) -> Callable[..., Made]:
    def edit(
        photo: str,
        translate: str,
        rotate: float,
        scale: float,
        stretch: str,
        pins: str,
        subject: str,
        preset: str,
        seed: float,
        prompt: str,
        request: gr.Request,
    ) -> Made:
        """Move a photo's subject. Pins are x,y:dx,dy with spaces between. Returns picture, recipe folder, figures."""
        motion = {"translate": translate, "rotate": rotate, "scale": scale, "stretch": stretch, "subject": subject}
        values = motion | {"pin": tuple(pins.split())} | _chosen(model, preset, seed, prompt)
        return _done("edit", request, {"photo": photo}, values)

    return edit


def _transfer_with(model: str) -> Callable[..., Made]:
    def transfer(
        clip: str,
        photo: str,
        pair: str,
        subject: str,
        clip_subject: str,
        strength: float,
        preset: str,
        seed: float,
        prompt: str,
        request: gr.Request,
    ) -> Made:
        """Move a photo's subject the way a clip's moves. Returns picture, recipe folder, figures."""
        motion = {"pair": pair, "subject": subject, "clip_subject": clip_subject, "strength": strength}
        return _done("transfer", request, {"clip": clip, "photo": photo}, motion | _chosen(model, preset, seed, prompt))

    return transfer


def _animate_with(model: str) -> Callable[..., Made]:
    def animate(
        clip: str,
        photo: str,
        frames: str,
        subject: str,
        clip_subject: str,
        strength: float,
        loop: str,
        preset: str,
        seed: float,
        prompt: str,
        request: gr.Request,
    ) -> Made:
        """A photo's subject through the frames of a clip. Returns film, recipe folder, figures."""
        motion = {"frames": frames, "subject": subject, "clip_subject": clip_subject, "strength": strength}
        values = motion | {"loop": loop} | _chosen(model, preset, seed, prompt)
        return _done("animate", request, {"clip": clip, "photo": photo}, values)

    return animate


def _choice(label: str, value: str) -> gr.Textbox:
    return gr.Textbox(value, label=label)


def _endpoint(fn: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
    gr.Button().click(fn, inputs, outputs, api_name=fn.__name__, **QUEUE)


def _chosen(model: str, preset: str, seed: float, prompt: str) -> dict[str, Any]:
    return chosen({"preset": preset, "seed": seed, "prompt": prompt}, model)


def stop(request: gr.Request) -> None:
    """Stop the jobs that the same program has asked for, running or waiting, and no other's."""
    for job in _session(request).jobs.values():
        if job.tab == f"api {request.session_hash}":
            job.cancel()


def _session(request: gr.Request) -> Session:
    assert request.request is not None
    return session_of(request.request)


def _done(command: str, request: gr.Request, files: dict[str, str], values: dict[str, Any]) -> Made:
    session = _session(request)
    try:
        inputs = {kind: _taken_in(session, path, kind) for kind, path in files.items()}
        job = recipe_job(command, session, inputs, values)
        job.tab = f"api {request.session_hash}"
        session.begin(job)
        return _made(session, job)
    except Cancelled:
        raise gr.Error("cancelled", print_exception=False) from None
    except MTransferError as error:
        raise gr.Error(reason(session, error), print_exception=False) from None


def _taken_in(session: Session, path: str | None, kind: str) -> Thing:
    """An upload of Gradio's as a thing of the session. Raises InputError for one that is not what it should be."""
    if not path:
        raise InputError(f"no {kind}; give one")
    require_suffix(path, kind)
    name, target = session.place(Path(path).name)
    target.write_bytes(Path(path).read_bytes())
    try:
        return look_at(session, name, target, kind)
    except MTransferError as error:
        raise InputError(str(error).replace(f"{target.parent}/", "")) from None


def _made(session: Session, job: Job) -> Made:
    for _ in job.follow():
        pass
    run = session.find(job.name, "run")
    figures = {key: run.facts[key] for key in ("id", "metrics", "seconds", "seed", "preset")}
    return str(run.path / RESULT / run.facts["shown"]), str(zipped(run)), figures
