"""A run begun from outside a cluster: a job that the cluster's dashboard takes, with this checkout as its code.

Needs Ray's command-line tools alone ([executor]), so that a laptop without torch may give the command.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from rltf.config import UserError, first_line
from rltf.driver.detach import detached
from rltf.driver.guard import STOP_TIMEOUT_S
from rltf.driver.stopping import stopping
from rltf.program import CHECKOUT, DONE, FAILED

_LEFT_OUT = (".git", ".venv", "runs", "site", "build", "dist", "__pycache__", "*.egg-info", ".*_cache")
_POLL_INTERVAL_S = 0.5
_AGENT_TIMEOUT_S = 60.0
"""For a head's agent, which runs its jobs, to come up."""
_END_TIMEOUT_S = 30.0
"""Between the last line of a job's log and its status."""


def submit(address: str, arguments: Sequence[str], name: str, console: Console) -> int:
    """Begins the run of a command line as a job of the cluster, shows its log, and returns its exit code.

    A stop stops the job. With `--detach` it returns as soon as the job has been taken. `name`: of its preset. Raises
    UserError when no dashboard answers, or it refuses.
    """
    if (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    from ray.job_submission import JobSubmissionClient

    logging.getLogger("ray").setLevel(logging.ERROR)  # it names every file that it leaves out
    words = ["launch.py"] if CHECKOUT else ["-m", "rltf"]
    environment = {"working_dir": str(Path(__file__).absolute().parents[2]), "excludes": list(_LEFT_OUT)}
    try:
        client = JobSubmissionClient(address)
        begin = partial(
            client.submit_job,
            entrypoint=shlex.join(["python", *words, *arguments]),
            runtime_env=environment if CHECKOUT else None,
            metadata={"preset": name},
        )
        job = _begun(begin)
    except Exception as error:  # Ray raises anything, `Exception` itself too
        raise UserError(
            f"the dashboard at {address} takes no job ({first_line(error)[:300]}): see that it can be reached "
            "from here (`ray dashboard FILE` brings it to http://localhost:8265), and ~/.ray/auth_token is its token"
        ) from None
    to_stop = f"RAY_AUTH_MODE={os.environ.get('RAY_AUTH_MODE', 'disabled')} ray job stop --address {address} {job}"
    console.print(f"The run is job {job} of {address}. To stop it: {to_stop}", markup=False, soft_wrap=True)
    if detached.asked:
        return DONE
    stopping.work()
    try:
        asyncio.run(_show_log(client, job))
    except KeyboardInterrupt:
        stopping.end()
        console.print("Stopping the job; its learner finishes its step and writes a checkpoint.")
        client.stop_job(job)
        _await_end(client, job, STOP_TIMEOUT_S)
        return FAILED
    return _await_end(client, job, _END_TIMEOUT_S)


def _begun(begin: Callable[[], str]) -> str:
    """The job's id. A head that has just been started takes jobs a little later than it answers."""
    deadline = time.monotonic() + _AGENT_TIMEOUT_S
    while True:
        try:
            return begin()
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(_POLL_INTERVAL_S)


async def _show_log(client: object, job: str) -> None:
    async for lines in client.tail_job_logs(job):  # type: ignore[attr-defined]
        sys.stdout.write(lines)
        sys.stdout.flush()


def _await_end(client: object, job: str, timeout_s: float) -> int:
    """The exit code of the job, once it has ended."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        details = client.get_job_info(job)  # type: ignore[attr-defined]
        if details.status.is_terminal():
            code = details.driver_exit_code
            if details.status == "SUCCEEDED":
                return DONE
            return code if code is not None and code > 0 else FAILED
        time.sleep(_POLL_INTERVAL_S)
    raise UserError(f"the job {job} has not ended within {timeout_s:g} s: `ray job status {job}` tells what it does")
