"""Others' scorers, for `benchmarks.scorers`: run by an interpreter that has verl, inside namespaces of its own.

The job on standard input is JSON: {"way": "prime_code" or "sandboxfusion", "server": [folder, interpreter], "tasks":
[[program, {"inputs", "outputs", "fn_name"}], ..]}. Printed last are wall and CPU seconds, children and the server
included, and how many tasks passed.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import os
import resource
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

PORT = 8091
START_TIMEOUT_S = 90.0


def main() -> None:
    """Runs the job that standard input describes."""
    job = json.load(sys.stdin)
    # The scorer's package alone: what verl imports besides would make each of its forks dearer.
    found = importlib.util.find_spec("verl")
    assert found is not None and found.submodule_search_locations
    sys.path.insert(0, os.path.join(found.submodule_search_locations[0], "utils", "reward_score"))
    server = _server(*job["server"]) if job["way"] == "sandboxfusion" else None
    scorer = importlib.import_module("sandbox_fusion" if server else "prime_code")
    logging.disable()
    concurrent = threading.Semaphore(os.cpu_count() or 1)

    def passes(program: str, tests: dict[str, Any]) -> bool:
        if server is None:
            return scorer.compute_score(program, tests, continuous=True)[0] in (True, 1.0)
        address, text = f"http://127.0.0.1:{PORT}/run_code", f"```python\n{program}\n```"
        score = scorer.compute_score(address, concurrent, 1024, text, tests, continuous=True)[0]
        return bool(score == 1.0)

    passes(*job["tasks"][0])
    start, before = time.monotonic(), _cpu_s(server)
    passed = sum([passes(program, tests) for program, tests in job["tasks"]])
    figures = {"tasks": len(job["tasks"]), "cpu_s": _cpu_s(server) - before, "wall_s": time.monotonic() - start}
    print(json.dumps({**figures, "passed": passed}), flush=True)
    os._exit(0)  # and with this process goes whatever is left in its namespace


def _server(folder: str, python: str) -> int:
    """Starts the server; its process's id once it has answered."""
    # Programs run on the interpreter that is first on its path; others' shell scripts before it would be measured too.
    environment = {"PATH": f"{os.path.dirname(python)}:/usr/bin:/bin", "HOME": "/tmp"}
    environment["SANDBOX_CONFIG"] = os.environ.get("SANDBOX_CONFIG", "local")
    command = [python, "-m", "uvicorn", "sandbox.server.server:app", "--port", str(PORT), "--log-level", "warning"]
    server = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    body = json.dumps({"code": "print(1)", "language": "python"}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/run_code", body, headers={"Content-Type": "application/json"}
    )
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=START_TIMEOUT_S):
                return server.pid
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"the server in {folder} does not answer")


def _cpu_s(server: int | None) -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    total = sum(usage.ru_utime + usage.ru_stime for usage in used)
    if server is not None:
        fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    return total


if __name__ == "__main__":
    main()
