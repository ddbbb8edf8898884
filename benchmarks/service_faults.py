"""What becomes of requests when clients and servers die, and when there are too many or too large ones: what
`benchmarks.service` tries after it has measured.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.served import PROBLEM, SUITE, Service, alive, asked, by_clients, program, rows_of, service
from rltf.executor.remote_judge import RemoteJudge


def _until(reached: Callable[[], bool], bound_s: float = 60.0) -> bool:
    deadline = time.monotonic() + bound_s
    while time.monotonic() < deadline:
        if reached():
            return True
        time.sleep(0.05)
    return False


ENDLESS = {**PROBLEM, "time_limit_s": 300.0}
LOOP = "while True:\n    pass\n"


def killed_client() -> str:
    """A client dies in the middle of 50 endless programs."""
    with service("--executor.lanes", "1") as at:
        connection = at.connect()
        lines = [json.dumps({"problem_id": "x", "problem": ENDLESS})]
        lines += [json.dumps({"problem_id": "x", "code": f"{LOOP}# {number}"}) for number in range(50)]
        connection.request("POST", "/grade", "\n".join(lines).encode())
        _until(lambda: at.metrics()["rltf_service_open_requests"] == 1)
        connection.close()
        freed = _until(lambda: at.metrics()["rltf_service_open_requests"] == 0)
        cancelled = at.metrics().get('rltf_service_programs_total{outcome="cancelled"}', 0)
        _, times = by_clients(at, 1, 5)
        before = at.processes()
        ended = at.stop()
        left = len(alive(before))
    verdict = "nothing left" if freed and cancelled == 50 and not left and ended == 0 else "LEFT"
    return f"{verdict}: {cancelled:.0f} of 50 programs cancelled, the next request took {times[0]:.2f} s"


def killed_server() -> str:
    """A server dies in the middle of 200 programs; another takes its place at the same port."""
    with service("--executor.lanes", "1") as at:
        judge = RemoteJudge(f"http://127.0.0.1:{at.port}")
        work = [(SUITE, program()) for _ in range(200)]
        verdicts: Counter[str] = Counter()
        again: Service | None = None
        for number, (_, result) in enumerate(judge.grade_each(work)):
            verdicts[getattr(result, "outcome", "no verdict")] += 1
            if number == 20:
                before = at.processes()
                os.kill(at.process.pid, signal.SIGKILL)
                at.process.wait()
                _until(lambda pids=before: not alive(pids), 30)
                left = len(alive(before))
                again = Service("--executor.lanes", "1", port=at.port)
        judge.close()
        if again is not None:
            again.stop()
    lost = 200 - verdicts.total()
    return f"{'nothing lost' if not lost and not left else 'LOST'}: {dict(verdicts)}, {left} processes left"


def full_queue() -> str:
    """64 clients at a service that answers 2 requests and lets 2 wait; each comes back when it is asked to."""
    refused, done = Counter[int](), Counter[str]()
    with service("--executor.lanes", "1", "--concurrency", "2", "--queue", "2") as at:

        def work() -> None:
            for _ in range(5):
                while True:
                    connection = at.connect()
                    connection.request("POST", "/grade", asked(program()))
                    answer = connection.getresponse()
                    if answer.status == 200:
                        done[rows_of(answer)[0]["outcome"]] += 1
                        connection.close()
                        break
                    refused[answer.status] += 1
                    wait_s = float(answer.headers["Retry-After"])
                    connection.close()
                    time.sleep(wait_s)

        threads = [threading.Thread(target=work) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lost = 320 - done["pass"]
    verdict = "nothing lost" if not lost else "LOST"
    return f"{verdict}: {done['pass']} of 320 requests answered, {refused[429]} times asked to come back"


def huge_request() -> str:
    """A request of 100 MB, and one that only says so."""
    with service("--executor.lanes", "1") as at:

        def peak_mb() -> float:
            texts = [Path(f"/proc/{pid}/status").read_text() for pid in at.processes()]
            return max(int(text.partition("VmHWM:")[2].split()[0]) for text in texts) / 1024

        by_clients(at, 1, 5)
        before = peak_mb()
        statuses = []
        for sent in (100 << 20, 0):
            connection = at.connect()
            connection.putrequest("POST", "/grade")
            connection.putheader("Content-Length", str(100 << 20))
            connection.endheaders()
            for _ in range(sent >> 20):
                connection.send(b" " * (1 << 20))
            statuses.append(connection.getresponse().status)
            connection.close()
        grown = peak_mb() - before
        by_clients(at, 1, 1)
    verdict = "refused" if statuses == [413, 413] and grown < 20 else "NOT REFUSED"
    return f"{verdict}: HTTP {statuses}, {grown:.1f} MB more memory"


def many_requests(number: int) -> str:
    """So many requests by 64 clients, one of whose connections in ten is broken off on the way."""
    with service() as at:
        by_clients(at, 8, 100)
        processes, files = len(at.processes()), _descriptors(at)
        begin = time.perf_counter()
        stop = threading.Event()

        def hang_up() -> None:
            while not stop.wait(0.05):
                with socket.create_connection(("127.0.0.1", at.port)) as client:
                    body = asked(program())
                    client.sendall(b"POST /grade HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        nuisance = threading.Thread(target=hang_up)
        nuisance.start()
        _, times = by_clients(at, 64, number)
        stop.set()
        nuisance.join()
        seconds = time.perf_counter() - begin
        _until(lambda: at.metrics()["rltf_service_open_requests"] == 0)
        left = len(at.processes()) - processes, _descriptors(at) - files
        ended = at.stop()
    fine = len(times) == number and left[0] <= 0 and left[1] <= 2 and ended == 0
    told = f"{len(times):,} answers in {seconds:.0f} s, processes {left[0]:+}, descriptors {left[1]:+}"
    return f"{'nothing lost' if fine else 'LOST'}: {told}"


def _descriptors(at: Service) -> int:
    return max(len(os.listdir(f"/proc/{pid}/fd")) for pid in at.processes())
