"""`/run_code`: one program run on one input, asked for and answered as SandboxFusion's server does (arXiv 2412.00535).

Its client code, in verl and elsewhere, works unchanged. Programs are Python; what compiling would be is part of the
run. `run_timeout` bounds CPU time, and with it the time in which a program may sleep.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

from rltf.executor.judge import Judge
from rltf.executor.labels import sanitize
from rltf.executor.sandbox_judge import SandboxJudge
from rltf.executor.scripts import Script

MAX_TIMEOUT_S = 300.0
MIN_MEMORY_MB = 64
LANGUAGES = ("python",)


class RunCodeRequest(BaseModel):
    """The fields that SandboxFusion has."""

    code: str
    stdin: str | None = None
    language: str
    compile_timeout: float = Field(10, gt=0)
    run_timeout: float = Field(10, gt=0)
    memory_limit_MB: int = -1
    files: dict[str, str | None] = {}
    fetch_files: list[str] = []
    args: list[str] = []


def read_request(body: bytes) -> RunCodeRequest:
    """Raises HTTPException for what is no request, and for what is not offered."""
    try:
        asked = RunCodeRequest.model_validate_json(body)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in wrong)
        raise HTTPException(422, sanitize(told)) from None
    if asked.language not in LANGUAGES:
        raise HTTPException(422, f"language {sanitize(asked.language, 30)!r} is not offered, {LANGUAGES[0]} is")
    if asked.files or asked.fetch_files or asked.args:
        raise HTTPException(422, "files, fetch_files and args are not offered")
    return asked


def run(judge: Judge, asked: RunCodeRequest) -> Script:
    """Runs the program. Raises LaneFailure where the lane breaks, HTTPException where the judge runs no programs."""
    if not isinstance(judge, SandboxJudge):
        raise HTTPException(501, "this service passes programs on, and runs none itself")
    memory = None if asked.memory_limit_MB < 0 else max(MIN_MEMORY_MB, asked.memory_limit_MB)
    return judge.run_script(asked.code, asked.stdin or "", min(asked.run_timeout, MAX_TIMEOUT_S), memory)


def answer_of(future: asyncio.Future[Script]) -> dict[str, Any]:
    """What SandboxFusion would say. Raises HTTPException where `run` did."""
    told: dict[str, Any] = {"status": "SandboxError", "message": "the service stops", "compile_result": None}
    told |= {"run_result": None, "executor_pod_name": None, "files": {}}
    if future.cancelled():
        return told
    error = future.exception()
    if isinstance(error, HTTPException):
        raise error
    if error is not None:
        return told | {"message": sanitize(f"{type(error).__name__}: {error}")}
    script = future.result()
    result = {
        "status": "TimeLimitExceeded" if script.timed_out else "Finished",
        "execution_time": script.wall_s,
        "return_code": script.return_code,
        "stdout": script.stdout,
        "stderr": script.stderr,
    }
    return told | {"status": "Success" if script.return_code == 0 else "Failed", "message": "", "run_result": result}
