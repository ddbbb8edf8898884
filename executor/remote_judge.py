"""The judge of another machine, asked over HTTP: `launch.py serve` there, `executor.judge_url` here.

Programs travel in requests of many (`executor.service.lines`), verdicts come back one by one. A request that cannot be
sent, or whose answer breaks off, is sent again for what has no verdict yet, a bounded number of times; after that its
programs are infrastructure failures. No Ray, no Redis, no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import msgspec

from rltf.buffer.records import SCHEMA, Feedback
from rltf.config import ExecutorConfig, UserError
from rltf.executor.judge import InfrastructureFailure, Judge
from rltf.executor.labels import sanitize
from rltf.executor.protocol import LaneFailure
from rltf.executor.tokens import read_token
from rltf.problems.problem import TestSuite

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, Retry

TOKEN = "RLTF_JUDGE_TOKEN"
"""Environment variable with the token, where no file is named."""
CHUNK_BYTES, CHUNK_PROGRAMS = 4 << 20, 512
"""A request has about so many bytes, unless one program with its tests has more, and at most so many programs."""
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 10.0, 60.0
"""A service that is at work says something every 10 s."""
CONNECT_TRIES, BUSY_TRIES = 6, 120
"""Further tries where nobody answers, half a minute in all; and where it is asked to come back, a second each."""
BROKEN_TRIES = 3
"""So often is a request sent whose answer breaks off."""
BUSY = (429, 502, 503, 504)

Work = Mapping[int, tuple[TestSuite, str]]
"""By place: tests and program."""


class RemoteJudge(Judge):
    """Has programs judged by a service. Used by one thread."""

    def __init__(self, url: str, token: str = "") -> None:
        """Asks the service what it is. Raises LaneFailure where it does not say, UserError without urllib3."""
        try:
            import urllib3
        except ModuleNotFoundError:
            raise UserError("executor.judge remote needs the package urllib3: pip install 'rltf[executor]'") from None
        # The last is what urllib3 raises where an answer is closed while it is read.
        failures = (urllib3.exceptions.HTTPError, msgspec.MsgspecError, ValueError, LookupError, TypeError)
        self._failures = (*failures, AttributeError)
        self._url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
        self._http = urllib3.PoolManager(headers=headers, timeout=timeout, retries=_retries(), maxsize=1)
        self._answer: BaseHTTPResponse | None = None
        self._aborted = False
        try:
            with self._http.request("GET", f"{self._url}/health", preload_content=False) as answer:
                about = json.loads(answer.read(1 << 20))
            self._lanes, self._tier = int(about["lanes"]), str(about["tier"])
            self._layers = {str(layer): str(state) for layer, state in about["layers"].items()}
            self._chunk_bytes = min(CHUNK_BYTES, int(about["max_request_bytes"]) // 2)
        except self._failures as error:
            raise LaneFailure(f"the judge at {self._url} does not answer: {_said(error)}") from None

    @classmethod
    def from_config(cls, config: ExecutorConfig | None = None, lanes: int | None = None, hash_seed: int = 0) -> Self:
        """See Judge; `lanes` is the service's affair. Raises UserError for a hash seed: that is the service's too."""
        config = config or ExecutorConfig()
        if hash_seed:
            raise UserError("executor.judge remote has the hash seed of its service: take executor.judge sandbox here")
        return cls(config.judge_url, read_token(TOKEN, config.judge_token_file, "executor.judge_token_file"))

    @property
    def lanes(self) -> int:
        """Programs that the service judges at the same time."""
        return self._lanes

    @property
    def tier(self) -> str:
        """The service's."""
        return self._tier

    @property
    def layers(self) -> Mapping[str, str]:
        """The service's."""
        return self._layers

    def grade_each(
        self, work: Sequence[tuple[TestSuite, str]]
    ) -> Iterator[tuple[int, Feedback | InfrastructureFailure]]:
        """See Judge."""
        texts: dict[int, bytes] = {}
        chunk: dict[int, tuple[TestSuite, str]] = {}
        size = 0
        for place, (suite, program) in enumerate(work):
            added = len(program) + (0 if id(suite) in texts else len(texts.setdefault(id(suite), suite.to_json())))
            if chunk and (size + added > self._chunk_bytes or len(chunk) == CHUNK_PROGRAMS):
                yield from self._judged(chunk)
                chunk, size, texts = {}, 0, {id(suite): suite.to_json()}
                added = len(program) + len(texts[id(suite)])
            chunk[place] = suite, program
            size += added
        yield from self._judged(chunk)

    def _judged(self, work: Work) -> Iterator[tuple[int, Feedback | InfrastructureFailure]]:
        left = dict(work)
        reason = ""
        for _ in range(BROKEN_TRIES):
            if not left or self._aborted:
                break
            try:
                for place, result in self._answers(left):
                    if left.pop(place, None) is not None:
                        yield place, result
                reason = reason if not left else "it left programs without a verdict"
            except _Refused as refusal:
                reason = str(refusal)
                break
            except self._failures as error:
                reason = _said(error)
                if "MaxRetryError" in type(error).__name__:
                    break  # which has had its tries
        for place in left:
            yield place, InfrastructureFailure(f"the judge at {self._url} gave no verdict: {reason or 'given up'}")

    def _answers(self, work: Work) -> Iterator[tuple[int, Feedback | InfrastructureFailure]]:
        """One request. Raises what `_failures` has where its answer breaks off."""
        body, places, hashes = _body(work)
        headers = {**self._http.headers, "Content-Type": "application/x-ndjson"}
        url = f"{self._url}/grade"
        with self._http.request("POST", url, body=body, headers=headers, preload_content=False) as answer:
            self._answer = answer
            try:
                if answer.status != 200:
                    raise _Refused(f"HTTP {answer.status}: {sanitize(answer.read(1000).decode(errors='replace'))}")
                for line in answer:
                    if line.strip():
                        row = json.loads(line)
                        yield places[row.pop("place")], _result(row, hashes)
            finally:
                self._answer = None

    def abort(self) -> None:
        """See Judge."""
        self._aborted = True
        answer = self._answer
        if answer is not None:
            answer.close()

    def close(self, at_once: bool = False) -> None:
        """Lets go of its connections; what the service has of it is cancelled with them."""
        self._http.clear()


class _Refused(Exception):
    """The service will not answer such a request."""


def _retries() -> Retry:
    from urllib3 import Retry

    return Retry(
        total=None,
        connect=CONNECT_TRIES,
        read=1,
        status=BUSY_TRIES,
        other=1,
        redirect=3,
        allowed_methods=None,
        status_forcelist=BUSY,
        backoff_factor=0.5,
        backoff_max=8.0,
        backoff_jitter=0.5,
        retry_after_max=10,
        raise_on_status=False,
    )


def _body(work: Work) -> tuple[bytes, dict[int, int], set[str]]:
    """A request's lines; by the place of a line in it, from 1, that of its program; hashes of the tests in it."""
    lines: list[bytes] = []
    names: dict[int, str] = {}
    places: dict[int, int] = {}
    for place, (suite, program) in work.items():
        if id(suite) not in names:
            names[id(suite)] = suite.content_hash
            lines.append(b'{"problem_id": %s, "suite": %s}' % (json.dumps(names[id(suite)]).encode(), suite.to_json()))
        lines.append(json.dumps({"problem_id": names[id(suite)], "code": program}).encode())
        places[len(lines)] = place
    return b"\n".join(lines), places, set(names.values())


def _result(row: dict[str, Any], hashes: set[str]) -> Feedback | InfrastructureFailure:
    """What a line of the answer says of its program. Raises ValueError or MsgspecError for what is no such line."""
    if "error" in row:
        return InfrastructureFailure(sanitize(row["error"]), of_problem=row.get("of_problem") is True)
    feedback = msgspec.convert(row, Feedback)
    if feedback.schema != SCHEMA:
        raise ValueError(f"its verdicts have schema {feedback.schema}, this version reads {SCHEMA}")
    if feedback.problem_hash not in hashes:
        raise ValueError("its verdict is of other tests")
    return feedback


def _said(error: BaseException) -> str:
    return sanitize(f"{type(error).__name__}: {error}")
