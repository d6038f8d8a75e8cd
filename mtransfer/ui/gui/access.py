"""What stands before Gradio: who is asking, what may be asked at all, how much may be sent, and whose files are whose.

Gradio hands any uploaded file to any visitor, fetches addresses that a request names, and has routes that this page
does not use. Here a session is a secret cookie, and a request may name its own session's files only.
"""

import base64
import hmac
import json
import secrets
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from mtransfer.errors import InputError
from mtransfer.ui.gui.sessions import LIMITS, MB, Session, Sessions

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
COOKIE = "mtransfer_session"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_JSON = 4 * MB
API = "/gradio_api"
PAGES = ("/", "/config", "/info", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt", f"{API}/info")
FOLDERS = ("/assets/", "/static/", "/svelte/", "/mtransfer/", f"{API}/heartbeat/", f"{API}/call/", f"{API}/run/")
JOIN, DATA, FILE, UPLOAD = f"{API}/queue/join", f"{API}/queue/data", f"{API}/file=", f"{API}/upload"
ROUTES = (JOIN, DATA, UPLOAD, f"{API}/upload_progress", f"{API}/startup-events", f"{API}/cancel", f"{API}/reset")
OWN_UPLOADS = ("/mtransfer/upload", "/mtransfer/mask")
REMEMBERED = f"; Max-Age={30 * 24 * 3600}"
HEADERS = {
    "content-security-policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class Refused(Exception):
    """A request that is not answered: the status, and one line why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Guard:
    """ASGI middleware. `hosts`: the names this server goes by, none: any. `auth`: `user:password`, none: no need."""

    def __init__(self, app: Any, sessions: Sessions, hosts: tuple[str, ...] = LOOPBACK, auth: str = "") -> None:
        self._app, self._sessions, self._hosts, self._auth = app, sessions, hosts, auth

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer, refuse, or pass on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            try:
                await self._guarded(scope, receive, send)
            except Refused as refused:
                await _refuse(refused, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _guarded(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        self._require_known(headers, scope["method"])
        path = scope["path"]
        _require_allowed(path)
        secret = _secret_of(headers)
        session = self._sessions.of(secret or (new := secrets.token_urlsafe(32)))
        scope["state"] = {**scope.get("state", {}), "session": session}
        _require_small(path, scope["method"], headers)
        if path == UPLOAD:
            _require_room(session, headers)
        self._require_own_files(path, scope, session)
        if scope["method"] == "POST" and path not in (UPLOAD, *OWN_UPLOADS):
            receive = await self._checked(receive, session)
        send = _with_headers(send, None if secret else new)
        await self._app(scope, receive, _noting(send, session) if path == UPLOAD else send)

    def _require_known(self, headers: dict[str, str], method: str) -> None:
        """A page elsewhere may point its own name at this machine, or post to it blindly."""
        host = headers.get("host", "")
        if self._hosts and urlsplit(f"//{host}").hostname not in self._hosts:
            raise Refused(403, "this server does not go by that name; use the address that it printed")
        origin = headers.get("origin")
        if method != "GET" and origin is not None and urlsplit(origin).netloc != host:
            raise Refused(403, "a page from elsewhere may not do this")
        if self._auth and not _is_authorised(headers.get("authorization", ""), self._auth):
            raise Refused(401, "user and password are needed")

    def _require_own_files(self, path: str, scope: dict[str, Any], session: Session) -> None:
        if path.startswith(FILE) and not session.owns(path.removeprefix(FILE)):
            raise Refused(403, "not a file of this session")
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        named = query.get("session_hash", [])
        if path.startswith(f"{API}/heartbeat/"):
            named.append(path.removeprefix(f"{API}/heartbeat/").strip("/"))
        for session_hash in named:
            self._claim(session_hash, session)

    def _claim(self, session_hash: str, session: Session) -> None:
        holder = self._sessions.holder_of(session_hash)
        if holder not in (None, session):
            raise Refused(403, "another session's events")
        session.hashes.add(session_hash)

    async def _checked(self, receive: Receive, session: Session) -> Receive:
        """The body of a request, once every file that it names is known to be the session's own."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > MOST_JSON:
                raise Refused(413, f"more than {MOST_JSON // MB} MB")
            if not message.get("more_body") or message["type"] == "http.disconnect":
                break
        for key, value in _entries(_parsed(body)):
            if key == "path" and isinstance(value, str) and not session.owns(value):
                raise Refused(403, "not a file of this session; upload it first")
            if key == "session_hash" and isinstance(value, str):
                self._claim(value, session)
        return _replayed(body, receive)


def _require_allowed(path: str) -> None:
    if ".." in path.split("/") or "\\" in path or "\0" in path:
        raise Refused(404, "not found")
    # Only a file that the session owns is handed out, wherever it lies.
    known = path in PAGES or path.rstrip("/") in ROUTES or path.startswith((*FOLDERS, FILE))
    if not known:
        raise Refused(404, "not found")


def _require_small(path: str, method: str, headers: dict[str, str]) -> None:
    if method not in ("GET", "HEAD", "POST", "OPTIONS"):
        raise Refused(405, "not allowed")
    length = headers.get("content-length")
    if method == "POST" and path in (UPLOAD, *OWN_UPLOADS):
        if length is None or not length.isdigit():
            raise Refused(411, "say how long the file is")
        if int(length) > max(LIMITS.values()) + MB:
            raise Refused(
                413, f"the file has {int(length) // MB} MB; at most {max(LIMITS.values()) // MB} MB can be sent"
            )
    elif length is not None and (not length.isdigit() or int(length) > MOST_JSON):
        raise Refused(413, f"more than {MOST_JSON // MB} MB")


def _require_room(session: Session, headers: dict[str, str]) -> None:
    try:
        session.require_room(int(headers.get("content-length", 0)))
    except InputError as error:
        raise Refused(413, str(error)) from None


def _secret_of(headers: dict[str, str]) -> str | None:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found is not None and len(found.value) >= 32 else None


def _is_authorised(given: str, wanted: str) -> bool:
    try:
        scheme, _, code = given.partition(" ")
        text = base64.b64decode(code, validate=True)
    except ValueError:
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(text, wanted.encode())


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body.strip() else None
    except (ValueError, RecursionError):
        raise Refused(400, "not JSON") from None


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value of nested objects. What is nested deeper than Python goes has been refused by the parser."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield from one.items()
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _replayed(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _with_headers(send: Send, new_secret: str | None) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            extra = dict(HEADERS)
            if new_secret is not None:
                extra["set-cookie"] = f"{COOKIE}={new_secret}; Path=/; HttpOnly; SameSite=Strict{REMEMBERED}"
            message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in extra.items())]
        await send(message)

    return sending


def _noting(send: Send, session: Session) -> Send:
    """Note which files an upload has made: they are this session's."""
    body = b""

    async def sending(message: Message) -> None:
        nonlocal body
        if message["type"] == "http.response.body":
            body += message.get("body", b"")
            if not message.get("more_body"):
                session.shared |= {Path(path).resolve() for path in _uploaded(body)}
        await send(message)

    return sending


def _uploaded(body: bytes) -> list[str]:
    try:
        paths = json.loads(body)
    except ValueError:
        return []
    return [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []


async def _refuse(refused: Refused, send: Send) -> None:
    text = json.dumps({"error": str(refused), "detail": str(refused)}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
    if refused.status == 401:
        headers.append((b"www-authenticate", b'Basic realm="mtransfer"'))
    # The rest of what is being sent is not waited for.
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
