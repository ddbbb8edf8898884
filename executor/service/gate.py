"""Who may come in, how large a request may be, and how many are answered at a time: around all routes of a service."""

from __future__ import annotations

import asyncio
import hmac
import logging
import select
import time
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rltf.executor.service.metrics import ServiceMetrics

OPEN_TO_ALL = ("/health",)
JUDGING = ("/grade", "/run_code")
SOCKET = "socket"
"""Under this name the server puts a connection's socket into a request's state."""
CLIENT_GONE = 499
"""Status, as nginx has it, of answers that nobody reads."""
BODY_TIMEOUT_S = 60.0
"""So long may a request take to arrive."""
SEND_TIMEOUT_S = 60.0
"""So long may a client take to read a piece of its answer."""
RETRY_AFTER_S = 1
LOOK_S = 0.5
"""So often it is looked whether a client that waits for its turn is still there."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a service takes."""

    request_bytes: int = 16 << 20
    """Largest body of a request."""
    concurrency: int = 64
    """Requests that are answered at the same time; each is in memory."""
    queue: int = 1024
    """Further requests that wait for their turn, unread; beyond them a client is asked to come back."""


class Gate:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp, bounds: Bounds, token: str, metrics: ServiceMetrics) -> None:
        """`token`: what a client has to show; empty: nothing."""
        self._app, self._bounds, self._token, self._metrics = app, bounds, token.encode(), metrics
        self._turns = asyncio.Semaphore(bounds.concurrency)
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request in, or answers it."""
        if scope["type"] != "http":
            return
        path, began = scope["path"], time.monotonic()
        known = path if path in (*OPEN_TO_ALL, *JUDGING, "/metrics") else "other"

        async def send_within(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(known, str(message["status"])).inc()
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await send(message)

        try:
            await self._answer(scope, receive, send_within, known, began)
        except TimeoutError:
            log.warning("a client took more than %g s to read its answer: its connection is closed", SEND_TIMEOUT_S)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, known: str, began: float) -> None:
        path = scope["path"]
        refusal = self._refusal(path, Headers(scope=scope))
        if refusal is not None:
            await refusal(scope, receive, send)
        elif path not in JUDGING:
            await self._app(scope, receive, send)
        else:
            self._waiting += 1
            self._metrics.waiting.set(self._waiting)
            try:
                has_turn = await self._turn(scope)
            finally:
                self._waiting -= 1
                self._metrics.waiting.set(self._waiting)
            if not has_turn:
                await refused(CLIENT_GONE, "the client has gone")(scope, receive, send)
                return
            try:
                with self._metrics.open.track_inprogress():
                    await self._app(scope, receive, send)
            finally:
                self._turns.release()
                self._metrics.seconds.labels(known).observe(time.monotonic() - began)

    async def _turn(self, scope: Scope) -> bool:
        """Waits for this request's turn; whether it came before the client left."""
        turn = asyncio.ensure_future(self._turns.acquire())
        try:
            while not (await asyncio.wait([turn], timeout=LOOK_S))[0]:
                if has_left(scope):
                    return False
            return True
        finally:
            turn.cancel()

    def _refusal(self, path: str, headers: Headers) -> JSONResponse | None:
        """The answer to a request that is not let in; its body stays unread."""
        if path in OPEN_TO_ALL:
            return None
        given = headers.get("authorization", "").encode("latin-1")  # as Starlette reads the bytes of a header
        if self._token and not hmac.compare_digest(given, b"Bearer " + self._token):
            return refused(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._bounds.request_bytes:
            return refused(413, too_large(self._bounds))
        if path in JUDGING and self._turns.locked() and self._waiting >= self._bounds.queue:
            return refused(429, "the queue is full", {"Retry-After": str(RETRY_AFTER_S)})
        return None


def has_left(scope: Scope) -> bool:
    """Whether the client of a request has closed its side, however much of what it sent is unread."""
    number = scope["state"][SOCKET].fileno()
    if number < 0:
        return True
    poll = select.poll()
    poll.register(number, select.POLLRDHUP)
    return bool(poll.poll(0))


def refused(status: int, reason: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An answer that says why there is none."""
    return JSONResponse({"detail": reason}, status, headers)


def too_large(bounds: Bounds) -> str:
    """The sentence for a request that is."""
    return f"a request has at most {bounds.request_bytes:,} bytes"


async def body_of(request: Request, bounds: Bounds) -> bytes:
    """The body of a request. Raises HTTPException for one that is too large or does not arrive."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.stream():
                size += len(part)
                if size > bounds.request_bytes:
                    raise HTTPException(413, too_large(bounds))
                parts.append(part)
    except TimeoutError:
        raise HTTPException(408, f"the request did not arrive within {BODY_TIMEOUT_S:g} s") from None
    return b"".join(parts)
