"""The service as a user starts it: verdicts, bounds, clients that die, SandboxFusion's format, its end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rltf.buffer.records import OUTCOMES
from rltf.problems import load_problems
from rltf.telemetry.declarations import METRICS
from tests.support.service import ADD, LOOP, RIGHT, TOKEN, WRONG, StartedService, as_lines

SLOW = {**ADD, "time_limit_s": 1.0}
ENDLESS = {**ADD, "time_limit_s": 300.0}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedService]:
    bounds = ["--max-request-mb", "1", "--concurrency", "4", "--queue", "2"]
    with StartedService(
        tmp_path_factory.mktemp("service"), "--executor.lanes", "2", "--problems", "starter,split=heldout", *bounds
    ) as started:
        yield started
        processes = started.processes()
        assert started.stop() == 0, started.said
    assert len(processes) > 4
    started.until_gone(processes)


def test_each_program_has_a_line_and_a_bad_line_is_one(service: StartedService) -> None:
    problem = load_problems("starter,split=heldout").problems[0]
    rows = service.grade(
        {"problem_id": "add", "problem": ADD},
        {"problem_id": "add", "code": RIGHT, "id": "right"},
        b"no JSON",
        {"problem_id": "add", "code": WRONG, "id": 2},
        {"problem": ADD, "code": "def add(a, b):\n    return a.b\n"},
        {"problem_id": "add", "code": "def add("},
        {"problem_id": problem.id, "code": problem.solutions[0]},
    )
    by_place = {row["place"]: row for row in rows}
    assert sorted(by_place) == [2, 3, 4, 5, 6, 7]
    assert by_place[3] == {"place": 3, "error": by_place[3]["error"]} and rows[0]["place"] == 3
    told = [(by_place[place]["outcome"], by_place[place]["line"]) for place in (2, 4, 5, 6, 7)]
    assert told == [("pass", None), ("failure", None), ("runtime_error", 2), ("compile_error", 1), ("pass", None)]
    assert (by_place[2]["id"], by_place[4]["id"]) == ("right", 2) and "id" not in by_place[5]
    assert by_place[4]["passed"] == 1 and [test["outcome"] for test in by_place[4]["tests"]] == ["pass", "failure"]
    assert by_place[5]["error_type"] == "AttributeError" and by_place[2]["executor_version"]


def test_verdicts_come_as_they_are_made(service: StartedService) -> None:
    connection = service.connect()
    lines = as_lines({"problem": ADD, "code": RIGHT}, {"problem": {**ADD, "time_limit_s": 5.0}, "code": LOOP})
    connection.request("POST", "/grade", lines, {"Authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    first = json.loads(answer.readline())
    assert first["place"] == 1 and service.metrics()["rltf_service_open_requests"] == 1
    (last,) = [json.loads(line) for line in answer.read().splitlines() if line.strip()]
    assert (last["place"], last["error_type"]) == (2, "TimeLimit") and last["line"] in (2, 3)


def test_who_has_no_token_is_let_in_nowhere_but_to_health(service: StartedService) -> None:
    for token in ("", "wrong", TOKEN + "x"):
        for method, path in (("POST", "/grade"), ("POST", "/run_code"), ("GET", "/metrics"), ("GET", "/nowhere")):
            answer, data = service.ask(method, path, b"{}", token)
            assert answer.status == 401 and answer.headers["WWW-Authenticate"] == "Bearer" and b"token" in data
    answer, data = service.ask("GET", "/health", token="")
    about = json.loads(data)
    assert answer.status == 200 and about["status"] == "ok" and about["lanes"] == 2 and about["tier"] in "AB"
    assert service.ask("GET", "/nowhere")[0].status == 404 and service.ask("GET", "/grade")[0].status == 405


def _peak_mb(service: StartedService) -> float:
    guard = service.process.pid
    (child,) = Path(f"/proc/{guard}/task/{guard}/children").read_text().split()[:1]
    status = Path(f"/proc/{child}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def test_a_request_that_is_too_large_is_refused_unread(service: StartedService) -> None:
    before = _peak_mb(service)
    connection = service.connect()
    connection.putrequest("POST", "/grade")
    connection.putheader("Authorization", f"Bearer {TOKEN}")
    connection.putheader("Content-Length", str(100 << 20))
    connection.endheaders()
    for _ in range(100):
        connection.send(b" " * (1 << 20))
    answer = connection.getresponse()
    assert answer.status == 413 and b"at most 1,048,576 bytes" in answer.read()
    connection.close()
    answer, _ = service.ask("POST", "/grade", iter([b" " * 600_000] * 2))  # chunked: its length is not known
    assert answer.status == 413
    answer, _ = service.ask("POST", "/grade", b"", **{"Content-Length": "9999999999999999999"})
    assert answer.status == 413
    assert _peak_mb(service) - before < 20
    assert service.grade({"problem": ADD, "code": RIGHT})[0]["outcome"] == "pass"


def test_more_requests_than_there_is_room_for_are_asked_to_come_back_and_none_is_lost(service: StartedService) -> None:
    found: list[list[dict[str, Any]]] = []
    ask = [
        threading.Thread(
            target=lambda number=number: found.append(service.grade({"problem": SLOW, "code": LOOP + f"#{number}"}))
        )
        for number in range(6)
    ]
    for thread in ask[:4]:
        thread.start()
    service.until(lambda: service.metrics()["rltf_service_open_requests"] == 4)
    for thread in ask[4:]:
        thread.start()
    service.until(lambda: service.metrics()["rltf_service_waiting_requests"] == 2)
    answer, data = service.ask("POST", "/grade", as_lines({"problem": ADD, "code": RIGHT}))
    assert answer.status == 429 and answer.headers["Retry-After"] == "1" and b"queue is full" in data
    assert service.ask("POST", "/run_code", b"{}")[0].status == 429
    assert service.ask("GET", "/health")[0].status == 200
    for thread in ask:
        thread.join(120)
    assert [rows[0]["error_type"] for rows in found] == ["TimeLimit"] * 6


def test_the_work_of_a_client_that_dies_is_cancelled(service: StartedService) -> None:
    def cancelled() -> float:
        return service.metrics().get('rltf_service_programs_total{outcome="cancelled"}', 0.0)

    before = cancelled()
    connection = service.connect()
    lines = [{"problem_id": "add", "problem": ENDLESS}, {"problem_id": "add", "code": RIGHT}]
    lines += [{"problem_id": "add", "code": f"{LOOP}# {number}\n"} for number in range(20)]
    connection.request("POST", "/grade", as_lines(*lines), {"Authorization": f"Bearer {TOKEN}"})
    assert json.loads(connection.getresponse().readline())["outcome"] == "pass"
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    service.until(lambda: cancelled() - before == 20)
    service.until(lambda: service.metrics()["rltf_service_open_requests"] == 0)
    assert [row["outcome"] for row in service.grade(*[{"problem": ADD, "code": RIGHT}] * 4)] == ["pass"] * 4
    code = json.dumps({"code": "while True: pass", "language": "python", "run_timeout": 250}).encode()
    connection = service.connect()
    connection.request("POST", "/run_code", code, {"Authorization": f"Bearer {TOKEN}"})
    service.until(lambda: service.metrics()["rltf_service_open_requests"] == 1)
    connection.close()
    service.until(lambda: cancelled() - before == 21)


def test_a_client_that_leaves_while_it_waits_gives_up_its_place(service: StartedService) -> None:
    def begin(size: int) -> http.client.HTTPConnection:
        connection = service.connect()
        connection.request("POST", "/grade", endless + b" " * size, {"Authorization": f"Bearer {TOKEN}"})
        return connection

    endless = as_lines({"problem": ENDLESS, "code": LOOP})
    answered = [begin(0) for _ in range(4)]
    service.until(lambda: service.metrics()["rltf_service_open_requests"] == 4)
    for client in [begin(0), begin(100_000)]:  # of the second the server reads a part only before its turn
        service.until(lambda: service.metrics()["rltf_service_waiting_requests"] > 0)
        client.close()
    service.until(lambda: service.metrics()["rltf_service_waiting_requests"] == 0)
    told = service.metrics()
    assert told['rltf_service_requests_total{path="/grade",status="499"}'] == 2
    assert told["rltf_service_open_requests"] == 4
    for client in answered:
        client.close()
    service.until(lambda: service.metrics()["rltf_service_open_requests"] == 0)


def test_what_is_counted_is_what_is_declared(service: StartedService) -> None:
    service.grade(*({"problem": ADD, "code": code} for code in (RIGHT, WRONG, "add = 1 / 0", "add =")))
    names = {name.partition("{")[0] for name in service.metrics()}
    plain = {
        name.removesuffix("_total").removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")
        for name in names
    }
    declared = {f"rltf_{metric.name}" for metric in METRICS["service"]}
    assert {name.removesuffix("_created") for name in plain} == declared
    assert {f'rltf_service_programs_total{{outcome="{outcome}"}}' for outcome in OUTCOMES} <= set(service.metrics())
    assert service.metrics()['rltf_service_requests_total{path="/grade",status="200"}'] > 0


RUNS: list[tuple[dict[str, Any], str, int | None, str, str]] = [
    ({"code": "print(input())", "stdin": "a\n"}, "Success", 0, "a\n", ""),
    (
        {"code": "print(1)", "stdin": None, "compile_timeout": 10, "files": {}, "fetch_files": []},
        "Success",
        0,
        "1\n",
        "",
    ),
    ({"code": "import sys\nsys.stderr.write('no end')\nprint('out')"}, "Success", 0, "out\n", "no end"),
    ({"code": "import sys\nprint(1)\nsys.exit(3)"}, "Failed", 3, "1\n", ""),
    ({"code": "exit('why')"}, "Failed", 1, "", "why\n"),
    ({"code": "import os\nprint(5, flush=True)\nos._exit(0)"}, "Success", 0, "5\n", ""),
    ({"code": "import os\nos._exit(7)"}, "Failed", 7, "", "exit status 7"),
    (
        {"code": "print(1)\nprint(1 / 0)"},
        "Failed",
        1,
        "1\n",
        'File "main.py", line 2, in <module>\nZeroDivisionError: division by zero\n',
    ),
    ({"code": "print("}, "Failed", 1, "", "SyntaxError: '(' was never closed"),
    ({"code": "while True: pass", "run_timeout": 0.3}, "Failed", None, "", "stuck at line 1"),
    ({"code": "import time\ntime.sleep(60)", "run_timeout": 0.3}, "Failed", None, "", "asleep"),
    ({"code": "x = 'x' * 10**9", "memory_limit_MB": 256}, "Failed", 1, "", "MemoryError"),
    ({"code": "import ctypes\nctypes.string_at(0)"}, "Failed", -11, "", "SIGSEGV"),
    ({"code": "import numpy\nprint(numpy.ones(2).sum())"}, "Success", 0, "2.0\n", ""),
    ({"code": "import sys\nsys.stdout.buffer.write(b'\\xff\\x00')"}, "Success", 0, "\ufffd\x00", ""),
]


@pytest.mark.parametrize(("asked", "status", "return_code", "stdout", "stderr"), RUNS)
def test_a_program_runs_as_sandboxfusion_would_run_it(
    service: StartedService, asked: dict[str, Any], status: str, return_code: int | None, stdout: str, stderr: str
) -> None:
    answer, data = service.ask("POST", "/run_code", json.dumps({"language": "python", **asked}).encode())
    told = json.loads(data)
    assert answer.status == 200 and told["status"] == status, told
    assert set(told) == {"status", "message", "compile_result", "run_result", "executor_pod_name", "files"}
    result = told["run_result"]
    assert (result["return_code"], result["stdout"]) == (return_code, stdout)
    assert stderr in result["stderr"] and (stderr or not result["stderr"]) and result["execution_time"] >= 0
    assert result["status"] == ("TimeLimitExceeded" if return_code is None else "Finished")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b'{"code": "1"}', "language: Field required"),
        (b'{"code": 1, "language": "python"}', "code: "),
        (b'{"code": "", "language": "cpp"}', "language 'cpp' is not offered, python is"),
        (b'{"code": "", "language": "python", "run_timeout": -1}', "run_timeout: "),
        (b'{"code": "", "language": "python", "files": {"a": "Yg=="}}', "files, fetch_files and args are not offered"),
    ],
)
def test_what_is_no_request_to_run_is_told(service: StartedService, body: bytes, reason: str) -> None:
    answer, data = service.ask("POST", "/run_code", body)
    assert answer.status == 422 and reason in json.loads(data)["detail"]


def test_asked_to_stop_it_finishes_what_it_has_and_takes_nothing_new(tmp_path: Path) -> None:
    with StartedService(tmp_path, "--executor.lanes", "1", token="") as service:
        connection = service.connect()
        connection.request("POST", "/grade", as_lines({"problem": ADD, "code": RIGHT}, {"problem": SLOW, "code": LOOP}))
        answer = connection.getresponse()
        first = json.loads(answer.readline())
        processes = service.processes()
        service.process.terminate()
        service.until(lambda: not _listens(service.port))
        rest = [json.loads(line) for line in answer.read().splitlines() if line.strip()]
        assert [first["outcome"], *(row["error_type"] for row in rest)] == ["pass", "TimeLimit"]
        assert service.process.wait(60) == 0 and service.said.endswith("stopped\n")
        service.until_gone(processes)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("killed", [False, True])
def test_what_takes_too_long_is_broken_off_and_nothing_is_left(tmp_path: Path, killed: bool) -> None:
    with StartedService(tmp_path, "--executor.lanes", "1", "--finish-s", "1", token="") as service:
        connection = service.connect()
        connection.request(
            "POST", "/grade", as_lines({"problem": ADD, "code": RIGHT}, {"problem": ENDLESS, "code": LOOP})
        )
        answer = connection.getresponse()
        assert json.loads(answer.readline())["outcome"] == "pass"
        processes = service.processes()
        if killed:
            os.kill(service.process.pid, signal.SIGKILL)  # its guard
            service.process.wait(60)
        else:
            assert service.stop() == 1 and "were broken off" in service.said
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        service.until_gone(processes)


def test_what_is_wrong_with_the_command_line_is_one_sentence(tmp_path: Path) -> None:
    from rltf import launch
    from rltf.config import UserError
    from rltf.driver.commands import serve
    from rltf.telemetry.console import output

    (tmp_path / "empty").touch()
    (tmp_path / "greek").write_text("κλειδί\n", "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, reason in [
            (["--host", "0.0.0.0"], "--host 0.0.0.0 is open to others: set RLTF_SERVE_TOKEN, or --token-file"),
            (["--token-file", str(tmp_path / "none")], "cannot be read: "),
            (["--token-file", str(tmp_path / "empty")], "empty is empty"),
            (["--token-file", str(tmp_path / "greek")], "greek: a token is one line of printable ASCII characters"),
            (["--port", port], f"nothing can listen at 127.0.0.1, port {port}: Address already in use"),
            (["--queue", "-1"], "argument --queue: invalid number from 0 to 100,000 value: '-1'"),
            (["--problems", "strater"], "did you mean 'starter'"),
            (["--executor.judge", "remote"], "judge remote needs judge_url"),
        ]:
            with pytest.raises(UserError) as error:
                serve.run(arguments, output())
            assert reason in str(error.value) and "\n" not in str(error.value)
    assert launch.main(["serve", "--queue", "x"]) == 2
