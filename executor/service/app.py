"""The routes of a service: `/grade`, `/run_code`, `/health`, `/metrics`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from rltf.buffer.records import Feedback
from rltf.executor.grading import EXECUTOR_VERSION
from rltf.executor.judge import InfrastructureFailure, Judge
from rltf.executor.judge_pool import JudgePool, Task
from rltf.executor.service.gate import CLIENT_GONE, Bounds, Gate, body_of, refused
from rltf.executor.service.lines import Asked, Read, Suites, answer, read_lines
from rltf.executor.service.metrics import ServiceMetrics
from rltf.executor.service.run_code import answer_of, read_request, run
from rltf.problems.problem import Problem

HEARTBEAT_S = 10.0
"""After so long without a verdict an answer gets a blank line: who listens knows that the service lives."""
AHEAD = 2
"""Programs of a request that are with the judges, per lane: requests take turns, and no lane waits for one."""


class Service:
    """What the routes share."""

    def __init__(self, pool: JudgePool, problems: Mapping[str, Problem], bounds: Bounds) -> None:
        """`problems`: those that a request may name without bringing them, by id."""
        self._pool, self._problems, self._bounds = pool, problems, bounds
        self._suites = Suites()
        self.metrics = ServiceMetrics()
        self.metrics.lanes.set(pool.lanes)
        self._stopping = False

    def stop(self) -> None:
        """It takes no more requests: what `/health` says from here on."""
        self._stopping = True

    def app(self, token: str) -> ASGIApp:
        """The application; `token`: what a client has to show, empty: nothing."""
        routes = [
            Route("/grade", self.grade, methods=["POST"]),
            Route("/run_code", self.run_code, methods=["POST"]),
            Route("/health", self.health),
            Route("/metrics", self.show_metrics),
        ]
        app = Starlette(routes=routes, exception_handlers={HTTPException: _refuse, ClientDisconnect: _gone})
        return Gate(app, self._bounds, token, self.metrics)

    async def health(self, request: Request) -> Response:
        """Whether it takes requests, and what it judges with."""
        told = {
            "status": "stopping" if self._stopping else "ok",
            "lanes": self._pool.lanes,
            "tier": self._pool.tier,
            "layers": self._pool.layers,
            "executor_version": EXECUTOR_VERSION,
            "problems": len(self._problems),
            "max_request_bytes": self._bounds.request_bytes,
        }
        return JSONResponse(told)

    async def show_metrics(self, request: Request) -> Response:
        """The metrics in Prometheus' format."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def grade(self, request: Request) -> Response:
        """Programs in, verdicts out, a JSON line each, as they come."""
        body = await body_of(request, self._bounds)
        read = await asyncio.to_thread(read_lines, body, self._problems, self._suites)
        return StreamingResponse(self._answers(read), media_type="application/x-ndjson")

    async def _answers(self, read: Read) -> AsyncIterator[bytes]:
        count = self.metrics.programs.labels
        count("bad_line").inc(len(read.errors))
        if read.errors:
            yield b"".join(read.errors)
        rest = iter(read.programs)
        running: dict[asyncio.Future[Feedback | InfrastructureFailure], tuple[Task, Asked]] = {}
        try:
            while True:
                while len(running) < AHEAD * self._pool.lanes and (asked := next(rest, None)):
                    task = self._pool.submit(_grading(asked))
                    running[asyncio.wrap_future(task.future)] = task, asked
                if not running:
                    return
                done, _ = await asyncio.wait(running, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
                lines = [b""] if done else [b"\n"]
                for future in done:
                    asked = running.pop(future)[1]
                    result = _result(future)
                    count(result.outcome if isinstance(result, Feedback) else "unjudged").inc()
                    lines.append(answer(asked, result))
                yield b"".join(lines)
        finally:  # also when the client has gone: nobody wants what is left
            for task, _ in running.values():
                task.cancel()
                count("cancelled").inc()
            count("cancelled").inc(sum(1 for _ in rest))

    async def run_code(self, request: Request) -> Response:
        """One program, what it printed and how it ended, as SandboxFusion answers."""
        asked = read_request(await body_of(request, self._bounds))
        task = self._pool.submit(lambda judge: run(judge, asked))
        future = asyncio.wrap_future(task.future)
        gone = asyncio.ensure_future(_disconnected(request))
        either: list[asyncio.Future[Any]] = [future, gone]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not future.done():
                raise ClientDisconnect
            return JSONResponse(answer_of(future))
        finally:
            gone.cancel()
            if not future.done():
                task.cancel()
                self.metrics.programs.labels("cancelled").inc()


def _grading(asked: Asked) -> Callable[[Judge], Feedback | InfrastructureFailure]:
    def grade(judge: Judge) -> Feedback | InfrastructureFailure:
        return judge.grade([(asked.suite, asked.code)])[0]

    return grade


def _result(future: asyncio.Future[Feedback | InfrastructureFailure]) -> Feedback | InfrastructureFailure:
    if future.cancelled():
        return InfrastructureFailure("the service stops")
    error = future.exception()
    if error is not None:
        return InfrastructureFailure(f"the judge failed with {type(error).__name__}: {error}")
    return future.result()


async def _disconnected(request: Request) -> None:
    """Until the client has gone; its request has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refused(error.status_code, error.detail)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)
