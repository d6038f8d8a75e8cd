"""The editor's server: what it refuses, whose files are whose, and its stable names for programs."""

import asyncio
import base64
import contextlib
import functools
import http.client
import io
import json
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import gradio
import gradio_client
import httpx
import numpy as np
import pytest
import starlette.requests
import torch
from command_line import command
from gui_server import uploaded, visitor
from pictures import CENTRE_XY, disc, disc_photo, save_clip, save_picture
from PIL import Image

from mtransfer.errors import InputError
from mtransfer.interruption import checked_by
from mtransfer.subject.segment import segment
from mtransfer.ui.gui import jobs, sessions
from mtransfer.ui.gui.access import COOKIE, UPLOAD, Guard
from mtransfer.ui.gui.api import stop
from mtransfer.ui.gui.forms import clip_job, edit_job, keep_mask, recipe_job, scene_of
from mtransfer.ui.gui.jobs import Cancelled, Job
from mtransfer.ui.gui.sessions import Session, Sessions, look_at
from mtransfer.ui.gui.working import resume

AT = f"{CENTRE_XY[0]},{CENTRE_XY[1]}"
TWO_GB = 2 * 2**30


@pytest.fixture
def url(gui_url):
    return gui_url


@pytest.fixture
def client(url):
    with visitor(url) as one:
        yield one


@pytest.fixture
def other(url):
    with visitor(url) as one:
        yield one


@pytest.fixture
def photo(tmp_path) -> Path:
    return save_picture(tmp_path / "disc.png", disc_photo())


def gradio_upload(client: httpx.Client, path: Path) -> str:
    answer = client.post("/gradio_api/upload", files={"files": (path.name, path.read_bytes())})
    assert answer.status_code == 200, answer.text
    return str(answer.json()[0])


def selected(client: httpx.Client, photo: Path) -> dict:
    name = uploaded(client, photo).json()["id"]
    mask = client.post("/mtransfer/select", json={"photo": name, "at": AT}).json()
    return {"photo": name, "objects": [{"mask": mask["id"], "motion": {"dx": 12}}]}


def test_a_visitor_gets_a_cookie_that_no_script_and_no_other_site_can_use(url) -> None:
    answer = httpx.get(url, timeout=60)
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=Strict" in answer.headers["set-cookie"]
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_a_drag_is_answered_with_what_changed_and_where(client, photo) -> None:
    answer = client.post("/mtransfer/preview", json=selected(client, photo))
    assert answer.status_code == 200, answer.text
    x, y, width, height = map(int, answer.headers["x-box"].split(","))
    assert answer.headers["x-size"] == "160,160"
    assert x < CENTRE_XY[0] < x + width
    assert y < CENTRE_XY[1] < y + height
    assert Image.open(io.BytesIO(answer.content)).size == (width, height)


def test_the_flow_is_shown_on_demand(client, photo) -> None:
    scene = selected(client, photo)
    plain, flow = (client.post("/mtransfer/preview", json={**scene, "shown": what}) for what in ("picture", "flow"))
    assert flow.headers["x-box"] == "0,0,160,160"
    assert flow.content != plain.content


def test_a_brush_makes_a_mask_and_a_tint_of_it(client, photo) -> None:
    name = uploaded(client, photo).json()["id"]
    stroke = {"photo": name, "mask": None, "points": [[20, 30], [60, 30]], "radius": 5, "add": True}
    mask = client.post("/mtransfer/brush", json=stroke).json()
    assert mask["box"] == pytest.approx([15, 25, 66, 36], abs=1)
    tint = np.asarray(Image.open(io.BytesIO(client.get(f"/mtransfer/mask/{mask['id']}").content)))
    assert tint[30, 40, 3] > 100
    assert tint[80, 80, 3] == 0


@pytest.mark.parametrize(
    ("points", "radius"), [("[[NaN, 30]]", "5"), ("[[20, 1e300]]", "5"), ("[[20, 30]]", "NaN"), ("[[20, 30]]", "1e9")]
)
def test_a_stroke_that_is_none_is_refused_in_one_line(client, photo, points, radius) -> None:
    name = uploaded(client, photo).json()["id"]
    body = f'{{"photo": "{name}", "mask": null, "points": {points}, "radius": {radius}, "add": true}}'
    answer = client.post("/mtransfer/brush", content=body)
    assert (answer.status_code, "radius of at most" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize(("how", "added"), [("add", True), ("remove", False)])
def test_a_click_adds_an_object_to_a_mask_or_takes_it_off(client, photo, how, added) -> None:
    name = uploaded(client, photo).json()["id"]
    disc = client.post("/mtransfer/select", json={"photo": name, "at": AT}).json()["box"]
    x, y = CENTRE_XY
    stroke = {"photo": name, "mask": None, "points": [[8, 150], [x, y]], "radius": 4, "add": True}
    drawn = client.post("/mtransfer/brush", json=stroke).json()
    asked = {"photo": name, "at": AT, "mask": drawn["id"], "how": how}
    left, top, right, _ = client.post("/mtransfer/select", json=asked).json()["box"]
    assert left == drawn["box"][0]
    assert (top == pytest.approx(disc[1], abs=2)) == added
    assert (right == pytest.approx(disc[2], abs=2)) == added


def test_a_click_changes_no_mask_that_is_not_there(client, photo) -> None:
    name = uploaded(client, photo).json()["id"]
    answer = client.post("/mtransfer/select", json={"photo": name, "at": AT, "mask": "x", "how": "add"})
    assert answer.status_code == 400
    assert "mask" in answer.json()["error"]


def test_a_mask_on_the_server_cannot_be_selected(client, photo, tmp_path) -> None:
    name = uploaded(client, photo).json()["id"]
    mask = save_picture(tmp_path / "a,b.png", disc_photo())
    answer = client.post("/mtransfer/select", json={"photo": name, "at": str(mask)})
    assert (answer.status_code, "a point x,y or a box" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../../../../etc/passwd",
        "/gradio_api/file=%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/gradio_api/file=pyproject.toml",
        "/gradio_api/file=http://127.0.0.1:1/x",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=http://127.0.0.1:1/x",
        "/gradio_api/deep_link",
        "/mtransfer/canvas/%2e%2e%2fgui.py",
        "/mtransfer/canvas/..%2f..%2fpyproject.toml",
        "/mtransfer/photo/%2fetc%2fpasswd",
        "/mtransfer/run/x/%2e%2e%2frecipe.toml",
        "/file=/etc/passwd",
        "/monitoring",
        "/docs",
    ],
)
def test_no_file_of_the_server_is_readable(client, path) -> None:
    answer = client.get(path)
    assert answer.status_code in (400, 403, 404)
    assert "root:" not in answer.text
    assert "[project]" not in answer.text


def test_an_upload_is_its_own_sessions_alone(client, other, photo) -> None:
    path = gradio_upload(client, photo)
    assert client.get(f"/gradio_api/file={path}").content == photo.read_bytes()
    assert other.get(f"/gradio_api/file={path}").status_code == 403
    assert httpx.get(f"{client.base_url}/gradio_api/file={path}", timeout=60).status_code == 403


@pytest.mark.parametrize("what", ["photo", "mask", "things"])
def test_what_a_session_has_no_other_sees(client, other, photo, what) -> None:
    scene = selected(client, photo)
    name = scene["objects"][0]["mask"] if what == "mask" else scene["photo"]
    assert client.get(f"/mtransfer/{what}/{name}").status_code == 200
    assert other.get(f"/mtransfer/{what}/{name}").status_code == 400
    assert other.post("/mtransfer/preview", json=scene).status_code == 400


@pytest.mark.parametrize("route", ["queue/join", "call/edit", "call/v2/edit", "run/predict", "run/edit"])
def test_another_sessions_files_cannot_be_worked_on(client, other, photo, route) -> None:
    path = gradio_upload(client, photo)
    asked = {"fn_index": 0, "session_hash": "mine", "data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
    assert other.post(f"/gradio_api/{route}", json=asked).status_code == 403
    asked["data"] = [[{"deep": {"path": "/etc/passwd"}}]]
    assert client.post(f"/gradio_api/{route}", json=asked).status_code == 403
    asked["data"] = [{"path": "http://127.0.0.1:1/x.png", "meta": {"_type": "gradio.FileData"}}]
    assert client.post(f"/gradio_api/{route}", json=asked).status_code == 403


def test_another_sessions_events_cannot_be_heard(client, other) -> None:
    assert client.post("/gradio_api/reset", json={"session_hash": "abc", "event_id": "1"}).status_code == 200
    assert other.get("/gradio_api/queue/data", params={"session_hash": "abc"}).status_code == 403
    assert other.post("/gradio_api/reset", json={"session_hash": "abc", "event_id": "1"}).status_code == 403


def declared(url: str, path: str, length: int) -> tuple[int, str]:
    """What becomes of an upload that says how long it will be, and of which nothing is sent."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.putrequest("POST", path)
    connection.putheader("content-length", str(length))
    connection.endheaders()
    with contextlib.closing(connection), connection.getresponse() as answer:
        return answer.status, answer.read().decode()


@pytest.mark.parametrize("path", ["/mtransfer/upload?kind=clip&name=a.mp4", "/gradio_api/upload"])
def test_an_upload_of_2_gb_is_refused_before_it_is_sent(url, path) -> None:
    status, line = declared(url, path, TWO_GB)
    assert (status, "512 MB" in line) == (413, True)


def test_a_photo_has_a_limit_of_its_own(url) -> None:
    status, line = declared(url, "/mtransfer/upload?kind=photo&name=a.png", 65 * 2**20)
    assert (status, "64 MB" in line) == (400, True)


def test_an_upload_that_does_not_say_its_length_is_refused(client) -> None:
    assert client.post("/mtransfer/upload?kind=photo&name=a.png", content=iter([b"a"])).status_code == 411


@pytest.mark.parametrize("name", ["notes.jpg", "notes.png", "notes.mp4", "notes.txt", "notes", "notes.svg"])
def test_a_renamed_text_file_is_refused_in_one_line(client, tmp_path, name) -> None:
    path = tmp_path / name
    path.write_text("no picture at all\n" * 20)
    answer = uploaded(client, path, "clip" if name.endswith("mp4") else "photo")
    assert answer.status_code == 400
    line = answer.json()["error"]
    assert name in line
    assert "\n" not in line
    assert "/" not in line.replace("x,y", "")


def test_a_page_elsewhere_can_neither_rename_this_machine_nor_post_to_it(url, client) -> None:
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403
    headers = {"origin": "http://evil.example"}
    assert client.post("/mtransfer/sample", json={}, headers=headers).status_code == 403


async def answered(scope: dict, receive: object, send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"yes"})


@pytest.mark.parametrize(("given", "status"), [(None, 401), ("ann:guess", 401), ("ann:secret", 200), ("nonsense", 401)])
def test_user_and_password_are_asked_of_everyone(tmp_path, given, status) -> None:
    guard = Guard(answered, Sessions(tmp_path), auth="ann:secret")
    code = given if given == "nonsense" else base64.b64encode((given or "").encode()).decode()
    headers = [(b"host", b"localhost")] + ([] if given is None else [(b"authorization", f"Basic {code}".encode())])
    told = []

    async def send(message: dict) -> None:
        told.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "query_string": b""}
    asyncio.run(guard(scope, None, send))
    assert told[0]["status"] == status


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def as_client(url: str) -> gradio_client.Client:
    return gradio_client.Client(url, verbose=False)


def edit_by_api(client: gradio_client.Client, photo: Path, translate: str, **more):
    given = {"photo": gradio_client.handle_file(photo), "translate": translate, "subject": AT, "preset": "draft"}
    return client.predict(api_name="/edit", **given, **more)


def test_two_clients_at_once_get_their_own_results(url, photo, tmp_path) -> None:
    second = save_picture(tmp_path / "dark.png", 0.5 * disc_photo())
    results = {}

    def ask(name: str, path: Path, translate: str) -> None:
        results[name] = edit_by_api(as_client(url), path, translate)

    threads = [threading.Thread(target=ask, args=each) for each in (("a", photo, "20,0"), ("b", second, "0,20"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bright, dark = (pixels(results[name][0]).mean() for name in "ab")
    assert dark == pytest.approx(bright / 2, rel=0.1)
    seen = [results[name][2]["metrics"]["flow_error_dis"] for name in "ab"]
    assert (seen[0]["dx_px"], seen[1]["dy_px"]) == pytest.approx((20, 20), abs=2)


def test_the_names_for_programs_are_these(url) -> None:
    named = as_client(url).view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {"/edit", "/transfer", "/animate", "/cancel"}
    names = {path: [each["parameter_name"] for each in facts["parameters"]] for path, facts in named.items()}
    common = ["preset", "seed", "prompt"]
    carried = ["subject", "clip_subject", "strength"]
    assert names["/edit"] == ["photo", "translate", "rotate", "scale", "stretch", "pins", "subject", *common]
    assert names["/transfer"] == ["clip", "photo", "pair", *carried, *common]
    assert names["/animate"] == ["clip", "photo", "frames", *carried, "loop", *common]


@pytest.mark.slow
def test_a_program_transfers_and_animates(url, photo, tmp_path) -> None:
    clip, client = save_clip(tmp_path / "clip.mp4"), as_client(url)
    inputs = {"clip": gradio_client.handle_file(clip), "photo": gradio_client.handle_file(photo), "subject": AT}
    picture, _, figures = client.predict(**inputs, pair="0:5", preset="draft", api_name="/transfer")
    assert pixels(picture).shape == (160, 160, 3)
    assert figures["metrics"]["flow_error_dis"]["dx_px"] == pytest.approx(15, abs=4)
    film, _, figures = client.predict(**inputs, frames="0:4", preset="draft", api_name="/animate")
    assert Path(film).suffix == ".mp4"
    assert figures["metrics"]["frames"] == 4


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"subject": "/etc/passwd"}, "give a word"),
        ({"preset": "quick"}, "unknown"),
        ({"translate": "far"}, "two numbers"),
        ({"pins": "1,2"}, "x,y:dx,dy"),
    ],
)
def test_a_programs_mistake_is_told_in_one_line(url, photo, more, line) -> None:
    given = {"photo": gradio_client.handle_file(photo), "translate": "9,0", "subject": AT, "preset": "draft", **more}
    with pytest.raises(gradio_client.exceptions.AppError, match=line) as error:
        as_client(url).predict(api_name="/edit", **given)
    assert str(photo.parent) not in str(error.value)


def test_a_programs_renamed_text_file_is_refused(url, tmp_path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("no picture")
    with pytest.raises(gradio_client.exceptions.AppError, match=r"notes\.png is no picture"):
        edit_by_api(as_client(url), path, "9,0")


def test_the_exported_folder_makes_the_same_image(url, photo, tmp_path, capsys) -> None:
    picture, folder, _ = edit_by_api(as_client(url), photo, "9,4", pins="60,70:0,0 80,90:4,-3")
    with zipfile.ZipFile(folder) as archive:
        archive.extractall(tmp_path)
    assert command(capsys, "run", tmp_path / "recipe", "-o", tmp_path / "again", "--quiet").code == 0
    assert (tmp_path / "again" / "edited.png").read_bytes() == Path(picture).read_bytes()


@pytest.fixture
def session(tmp_path, photo):
    """A session with a photo and a mask in it, and no server."""
    one = Session(tmp_path / "session")
    name, path = one.place("disc.png")
    path.write_bytes(photo.read_bytes())
    look_at(one, name, path, "photo")
    mask = torch.zeros(1, 160, 160)
    mask[:, 50:110, 40:100] = 1
    kept = keep_mask(one, mask, {"photo": name})
    return SimpleNamespace(
        own=one, photo=name, state={"photo": name, "objects": [{"mask": kept.name, "motion": {"dx": 9}}]}
    )


def test_a_job_tells_how_far_it_is_and_shows_the_picture(session, monkeypatch) -> None:
    monkeypatch.setattr(jobs, "SEEN_EVERY_S", 0.0)
    monkeypatch.setattr(jobs, "TOLD_EVERY_S", 0.002)
    options = {"model": "embedded", "sampler": {"steps": 16, "window": (0, 1)}}
    job, shares = edit_job(session.own, session.state, options), []
    told = [(each, shares.append(job.snapshot()["share"])) for each in job.follow()]
    steps = [each for each, _ in told if each.stage == "sample" and each.done]
    assert [each.done for each in steps][-1] == steps[-1].total == 4
    assert all(each.energy is not None and each.energy > 0 for each in steps)
    assert steps[1].left_s is not None
    assert steps[-1].picture.startswith(b"\xff\xd8")
    assert shares == sorted(shares)
    assert len({round(share, 2) for share in shares}) > 6
    assert session.own.things[job.name].facts["save_as"] == "disc-edit.png"


def _wait_until(holds: Callable[[], bool], most_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + most_s
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_jobs_wait_in_line_and_who_is_cancelled_leaves_it_at_once(session) -> None:
    first, second = (edit_job(session.own, session.state, {"model": "embedded", "preset": "draft"}) for _ in "ab")
    with jobs.LINE.turn(session, lambda: None):  # another's job
        for job in (first, second):
            session.own.begin(job)
            job.start()
            _wait_until(lambda job=job: jobs.LINE.ahead(job) > 0)
        assert [job.snapshot()["ahead"] for job in (first, second)] == [1, 2]
        first.cancel()
        _wait_until(lambda: first.ended, 1.0)
        assert (first.state, second.state, jobs.LINE.ahead(second)) == ("cancelled", "waiting", 1)
    _wait_until(lambda: second.ended)
    assert (second.state, first.home.exists()) == ("done", False)


@pytest.mark.parametrize("stage", ["prepare", "photo", "warp", "measure"])
def test_a_job_is_stopped_within_its_stages_too(session, stage, monkeypatch) -> None:
    job = edit_job(session.own, session.state, {"model": "embedded", "preset": "draft"})
    looks: list[str] = []

    def check() -> None:
        if job.now.stage == stage:
            looks.append(stage)
            if len(looks) == 3:
                job.cancel()
        Job._check(job)

    monkeypatch.setattr(job, "_check", check)
    with pytest.raises(Cancelled):
        list(job.follow())
    _wait_until(lambda: job.ended)
    assert len(looks) >= 3
    assert job.now.stage == stage


def test_what_is_asked_of_the_finder_is_stopped_between_its_nets() -> None:
    looks: list[int] = []
    with checked_by(lambda: looks.append(1)):
        segment(disc_photo(), "80.4,80.2")
    assert len(looks) >= 3


def test_a_program_cancels_its_own_jobs_and_no_others(session) -> None:
    stopped: list[str] = []
    for tab in ("api one", "api two", "edit"):
        session.own.jobs[tab] = SimpleNamespace(cancel=functools.partial(stopped.append, tab), ended=False, tab=tab)
    inner = starlette.requests.Request({"type": "http", "state": {"session": session.own}})
    stop(gradio.Request(request=inner, session_hash="one"))
    assert stopped == ["api one"]


@pytest.mark.parametrize(
    ("of", "kind", "shown", "name"),
    [
        ("fish.jpg", "edit", "edited.png", "fish-edit.png"),
        ("a.mov and b c.jpg", "animate", "animation.mp4", "b c-animate.mp4"),
    ],
)
def test_a_result_is_saved_under_the_photos_name(of, kind, shown, name) -> None:
    assert jobs.save_name(of, kind, shown) == name


def test_a_cancelled_job_leaves_nothing(session) -> None:
    job = edit_job(session.own, session.state, {"model": "embedded"})
    done = []

    def listen() -> None:
        for progress in job.follow():
            if progress.stage == "sample":
                job.cancel()
                done.append(progress.done)

    with pytest.raises(Cancelled):
        listen()
    _wait_until(lambda: job.ended)
    assert len(done) <= 2
    assert not job.home.exists()
    assert not [thing for thing in session.own.things.values() if thing.kind == "run"]


def test_a_server_started_again_knows_what_was_there_and_does_what_was_under_way(tmp_path, photo) -> None:
    session = Sessions(tmp_path / "data").of("s" * 32)
    name, path = session.place("disc.png")
    path.write_bytes(photo.read_bytes())
    look_at(session, name, path, "photo")
    mask = keep_mask(session, disc()[None], {"photo": name})
    state = {"photo": name, "objects": [{"mask": mask.name, "motion": {"dx": 9}}]}
    session.put_on_desk("edit", state)
    asked = {"tab": "edit", "state": state, "options": {"preset": "draft"}, "film": "picture"}
    session.asked(session.place("edit")[0], asked)
    again = Sessions(tmp_path / "data")
    resume(again, "embedded")
    known = again.of("s" * 32)
    assert known.things == {name: session.things[name], mask.name: mask}
    assert known.desk == {"edit": state}
    (job,) = known.jobs.values()
    _wait_until(lambda: job.ended)
    assert job.state == "done"
    assert known.unfinished() == []
    assert list(Sessions(tmp_path / "data").of("s" * 32).things) == [name, mask.name, job.name]


def test_a_film_goes_along_the_path_of_one_object(session) -> None:
    scene = session.state["objects"][0]
    scene["motion"] = {"dx": 9, "rotate": 20, "path": [(0, -9, 0, 1), (9, -9, 10, 1.1)]}
    options = {"model": "embedded", "preset": "draft"}
    recipe = edit_job(session.own, session.state, options, "film")._prepare()
    assert (recipe.via, recipe.translate, recipe.rotate) == (("0.0,-9.0,0.0,1.0", "9.0,-9.0,10.0,1.1"), "9.0,0.0", 20)
    assert recipe.flow is None
    session.state["objects"].append({"mask": scene["mask"], "motion": {"dx": 1}})
    with pytest.raises(InputError, match="one object alone"):
        edit_job(session.own, session.state, options, "film")


def test_marks_are_what_moves_and_the_clips_belongs_to_its_frame(session) -> None:
    own = session.own
    name, path = own.place("clip.mp4")
    save_clip(path)
    look_at(own, name, path, "clip")
    pictures = {"photo": session.photo}, {"clip": name, "frame": 3}
    marks = [keep_mask(own, disc()[None], each).name for each in pictures]
    state = {"clip": name, "photo": session.photo, "photo_mark": marks[0], "clip_mark": marks[1], "pair": "0:5"}
    job = clip_job("transfer", own, state, {"model": "embedded", "preset": "draft"})
    recipe = job._prepare()
    assert (recipe.clip_subject_at, recipe.subject.endswith("photo-mask.png#grey")) == ("3", True)
    assert list(job.follow())
    assert job.state == "done"


@pytest.mark.parametrize(
    ("state", "line"),
    [
        ({"photo": "x", "objects": []}, "click on it"),
        ({"photo": "x", "objects": [{"mask": "x", "motion": {"scale": -1}}]}, "scale"),
        ({"photo": "x", "objects": [{"mask": "x", "motion": {}}], "flow": "/etc/passwd"}, "flow"),
    ],
)
def test_what_the_page_could_not_say_is_refused(state, line) -> None:
    with pytest.raises(InputError, match=line):
        scene_of(state)


def test_messages_do_not_say_where_the_server_keeps_things(session) -> None:
    path = session.own.find(session.photo, "photo").path
    assert session.own.told(InputError(f"{path}: broken")) == "disc.png: broken"


def test_the_visitor_who_was_idle_for_longest_makes_room(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 2)
    visitors = Sessions(tmp_path)
    busy, idle = visitors.of("a" * 32), visitors.of("b" * 32)
    busy.jobs["page/edit"] = SimpleNamespace(ended=False)
    shared = save_picture(tmp_path / "shared.png", disc_photo())
    idle.shared.add(shared)
    visitors.of("c" * 32)
    assert visitors.of("a" * 32) is busy
    assert busy.folder.exists()
    assert not idle.folder.exists()
    assert not shared.exists()


def test_what_gradio_keeps_of_a_session_counts_too(tmp_path, monkeypatch) -> None:
    visitors, told = Sessions(tmp_path / "sessions"), []
    secret, kept = "s" * 32, save_picture(tmp_path / "shared.png", disc_photo())
    visitors.of(secret).shared.add(kept)
    monkeypatch.setattr(sessions, "MOST_IN_ALL", kept.stat().st_size + 1000)

    async def send(message: dict) -> None:
        told.append(message)

    for length in (b"1000", b"1001"):
        headers = [(b"host", b"localhost"), (b"cookie", f"{COOKIE}={secret}".encode()), (b"content-length", length)]
        scope = {"type": "http", "method": "POST", "path": UPLOAD, "headers": headers, "query_string": b""}
        asyncio.run(Guard(answered, visitors)(scope, None, send))
    assert [message["status"] for message in told if "status" in message] == [200, 413]


def test_a_scene_in_which_nothing_moves_is_refused(session) -> None:
    session.state["objects"][0]["motion"] = {}
    with pytest.raises(InputError, match="nothing moves"):
        edit_job(session.own, session.state, {})


def test_a_mask_file_of_the_server_is_no_subject(session) -> None:
    inputs = {"photo": session.own.find(session.photo, "photo")}
    with pytest.raises(InputError, match="give a word"):
        recipe_job("edit", session.own, inputs, {"subject": "auto;/etc/passwd", "translate": "9,0"})


def test_the_command_says_how_to_get_gradio(capsys, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ended = command(capsys, "gui")
    assert (ended.code, "pip install 'mtransfer[gui]'" in ended.message) == (1, True)


@pytest.mark.parametrize("auth", ["ann", ":x", "ann:"])
def test_the_command_wants_user_and_password(capsys, auth) -> None:
    ended = command(capsys, "gui", "--auth", auth)
    assert (ended.code, "user:password" in ended.message) == (2, True)


def test_a_port_that_is_taken_is_told(capsys, url) -> None:
    ended = command(capsys, "gui", "--port", url.rsplit(":", 1)[1])
    assert ended.code == 2
    assert "choose others" in ended.message


def test_the_page_is_json_free_of_files(client) -> None:
    """Gradio's description of the page names no file of the server."""
    assert str(Path.cwd()) not in json.dumps(client.get("/config").json())
