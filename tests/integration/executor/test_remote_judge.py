"""The judge of another machine: the same verdicts as here; what breaks on the way is no verdict."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rltf import launch
from rltf.buffer.records import Feedback
from rltf.config import ExecutorConfig, UserError
from rltf.executor import remote_judge
from rltf.executor.judge import InfrastructureFailure, Judge
from rltf.executor.protocol import LaneFailure
from rltf.executor.sandbox_judge import SandboxJudge
from tests.support.executor_suites import SUM, WRONG_SUMS, assert_suite, call_suite
from tests.support.service import LOOP, RIGHT, TOKEN, StartedService


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedService]:
    folder = tmp_path_factory.mktemp("service")
    with StartedService(folder, "--executor.lanes", "2", "--max-request-mb", "1") as started:
        yield started


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(remote_judge.TOKEN, TOKEN)
    monkeypatch.setattr(remote_judge, "CONNECT_TRIES", 0)


def remote(url: str) -> Judge:
    return Judge.from_config(ExecutorConfig(judge="remote", judge_url=url))


ADD = call_suite("add", ([1, 2], 3), ([3, 4], 7))


def test_verdicts_are_those_of_the_sandbox_here(service: StartedService) -> None:
    work = [(SUM, program) for program in WRONG_SUMS.values()]
    work += [(ADD, RIGHT), (ADD, "def add(a, b):\n    return a / 0\n"), (ADD, "def add(")]
    work += [(replace(ADD, time_limit_s=0.2), LOOP)]
    work += [(assert_suite("assert add(1, 2) == 3", setup="import math"), RIGHT)]
    work += [(replace(SUM, checker_code="def check(a, b, c):\n    return int(c) > 2"), "print(9)")]
    work += [(replace(SUM, checker_code="def check(a, b, c):\n    return 1"), "print(9)")]
    with remote(service.url) as judge, SandboxJudge.from_config(ExecutorConfig(), 1) as here:
        assert (judge.lanes, judge.tier, judge.layers) == (2, here.tier, here.layers)
        found, expected = judge.grade(work), here.grade(work)
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, InfrastructureFailure):
            assert isinstance(one, InfrastructureFailure) and other.of_problem and one.of_problem
            assert one.reason.endswith(other.reason)
            continue
        assert isinstance(one, Feedback)
        for name in ("outcome", "error_type", "line", "message", "passed", "run", "problem_hash", "checker"):
            assert getattr(one, name) == getattr(other, name), name
        assert [test.outcome for test in one.tests] == [test.outcome for test in other.tests]


def test_many_programs_travel_in_several_requests(service: StartedService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_judge, "CHUNK_PROGRAMS", 7)
    suites = [call_suite("add", ([1, 2], 3), ([number, number], 2 * number)) for number in range(3)]
    work = [(suites[number % 3], f"{RIGHT}# {number}\n{'#' * 1000 * (number % 2)}") for number in range(40)]
    before = service.metrics()['rltf_service_requests_total{path="/grade",status="200"}']
    with remote(service.url) as judge:
        told: list[int] = []
        found = judge.grade(work, told.append)
        too_large = judge.grade([(ADD, "#" * (2 << 20)), (ADD, RIGHT)])
    assert [one.outcome for one in found if isinstance(one, Feedback)] == ["pass"] * 40 and sum(told) == 40
    assert [one.problem_hash for one in found if isinstance(one, Feedback)] == [s.content_hash for s, _ in work]
    assert service.metrics()['rltf_service_requests_total{path="/grade",status="200"}'] - before == 7
    large, after = too_large
    assert isinstance(large, InfrastructureFailure) and "HTTP 413" in large.reason
    assert isinstance(after, Feedback) and after.outcome == "pass"


def test_a_command_judges_elsewhere(
    service: StartedService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, programs, out = (tmp_path / name for name in ("data.jsonl", "programs.jsonl", "out.jsonl"))
    data.write_text(json.dumps({"id": "add", "question": "?", "fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}))
    programs.write_text(json.dumps({"problem_id": "add", "code": RIGHT}) + "\n")
    command = ["grade", "--problems", f"jsonl:{data}", "--programs", str(programs), "--out", str(out)]
    command += ["--executor.judge", "remote"]
    assert launch.main([*command, "--executor.judge_url", service.url]) == 0
    assert json.loads(out.read_text())["outcome"] == "pass"
    assert launch.main(command) == 2 and "judge remote needs judge_url" in capsys.readouterr().err
    assert launch.main([*command, "--executor.judge_url", "http://127.0.0.1:9"]) == 1
    assert "the judge at http://127.0.0.1:9 does not answer" in capsys.readouterr().err


def test_a_token_may_be_in_a_file_and_a_wrong_one_is_no_verdict(
    service: StartedService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(remote_judge.TOKEN, "wrong")
    with remote(service.url) as judge:
        (found,) = judge.grade([(ADD, RIGHT)])
    assert isinstance(found, InfrastructureFailure) and "HTTP 401" in found.reason
    (tmp_path / "token").write_text(TOKEN + "\n")
    config = ExecutorConfig(judge="remote", judge_url=service.url, judge_token_file=str(tmp_path / "token"))
    with Judge.from_config(config) as judge:
        (found,) = judge.grade([(ADD, RIGHT)])
        assert isinstance(found, Feedback)
    with pytest.raises(UserError, match="executor.judge_token_file .*/none cannot be read"):
        Judge.from_config(config.model_copy(update={"judge_token_file": str(tmp_path / "none")}))
    with pytest.raises(UserError, match="has the hash seed of its service"):
        Judge.from_config(config, hash_seed=1)


def test_a_service_that_is_killed_gives_no_verdicts(tmp_path: Path) -> None:
    with StartedService(tmp_path, "--executor.lanes", "1") as service, remote(service.url) as judge:
        work = [(ADD, RIGHT), (replace(ADD, time_limit_s=60.0), LOOP)]
        verdicts = judge.grade_each(work)
        place, first = next(verdicts)
        assert place == 0 and isinstance(first, Feedback)
        processes = service.processes()
        os.kill(service.process.pid, signal.SIGKILL)  # its guard, with which it ends
        (last,) = verdicts
        assert last[0] == 1 and isinstance(last[1], InfrastructureFailure)
        assert f"the judge at {service.url} gave no verdict" in last[1].reason
        service.until_gone(processes)
    with pytest.raises(LaneFailure, match="does not answer"):
        remote(service.url)


Answer = Callable[[int], bytes]
HEALTH = b'{"lanes": 1, "tier": "A", "layers": {}, "max_request_bytes": 1000000}'


@pytest.fixture
def odd_service() -> Iterator[Callable[[Answer], tuple[str, list[bytes]]]]:
    """Starts a server that answers the n-th request to /grade with the bytes that a function gives, and closes."""
    listening: list[socket.socket] = []

    def start(answer: Answer) -> tuple[str, list[bytes]]:
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)
        seen: list[bytes] = []

        def run() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    data = b""
                    while b"\r\n\r\n" not in data:
                        data += connection.recv(1 << 16)
                    if data.startswith(b"GET"):
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(HEALTH), HEALTH))
                        continue
                    length = int(data.lower().split(b"content-length:")[1].split()[0])
                    while len(data.partition(b"\r\n\r\n")[2]) < length:
                        data += connection.recv(1 << 16)
                    seen.append(data)
                    connection.sendall(answer(len(seen)))

        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}", seen

    yield start
    for server in listening:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def _chunked(*lines: bytes, end: bool = True, status: bytes = b"200 OK") -> bytes:
    parts = b"".join(b"%x\r\n%s\r\n" % (len(line) + 1, line + b"\n") for line in lines)
    return (
        b"HTTP/1.1 %s\r\nTransfer-Encoding: chunked\r\nRetry-After: 0\r\n\r\n" % status
        + parts
        + (b"0\r\n\r\n" if end else b"")
    )


def verdict(place: int, **fields: object) -> bytes:
    row = {"place": place, "schema": 2, "outcome": "pass", "problem_hash": ADD.content_hash}
    return json.dumps(row | fields).encode()


WORK = [(ADD, RIGHT), (ADD, RIGHT + "# 2")]


def test_an_answer_that_breaks_off_is_asked_for_again_for_what_is_left(odd_service: Callable) -> None:
    answers = {1: _chunked(verdict(2), end=False), 2: _chunked(status=b"503 Busy"), 3: _chunked(b"", verdict(2))}
    url, seen = odd_service(answers.__getitem__)
    with remote(url) as judge:
        found = judge.grade(WORK)
    assert [one.outcome for one in found if isinstance(one, Feedback)] == ["pass"] * 2
    assert [data.count(b'"code"') for data in seen] == [2, 1, 1], "the second program alone, twice"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (_chunked(b"no JSON"), "JSONDecodeError"),
        (_chunked(verdict(2, outcome="perfect")), "ValidationError"),
        (_chunked(verdict(2, schema=99)), "its verdicts have schema 99"),
        (_chunked(verdict(2, problem_hash="other")), "its verdict is of other tests"),
        (_chunked(verdict(9)), "KeyError"),
        (_chunked(b"[]"), "TypeError"),
        (_chunked(), "it left programs without a verdict"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "IncompleteRead"),
        (b"nonsense\r\n\r\n", "BadStatusLine"),
        (_chunked(b"why", status=b"403 No"), "HTTP 403: why"),
        (_chunked(b'{"place": 2, "error": "the lane \\u001b[31m broke"}', b'{"place": 3, "error": ""}'), ""),
    ],
)
def test_what_is_no_verdict_is_none(odd_service: Callable, answer: bytes, reason: str) -> None:
    url, seen = odd_service(lambda number: answer)
    with remote(url) as judge:
        found = judge.grade(WORK)
    assert all(isinstance(one, InfrastructureFailure) for one in found) and len(found) == 2
    reasons = [one.reason for one in found if isinstance(one, InfrastructureFailure)]
    assert all(reason in one and "\x1b" not in one for one in reasons), reasons
    assert len(seen) <= 2 * remote_judge.BROKEN_TRIES


def test_given_up_it_asks_no_more(odd_service: Callable) -> None:
    url, seen = odd_service(lambda number: _chunked(verdict(2), end=False))
    with remote(url) as judge:
        verdicts = judge.grade_each(WORK)
        next(verdicts)
        judge.abort()
        (last,) = verdicts
        assert isinstance(last[1], InfrastructureFailure) and len(seen) == 1
