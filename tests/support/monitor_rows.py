"""A small made-up run: rows as the workers write them, with figures that are known, for the monitor's tests."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest

import rltf.monitor.samples
from rltf.buffer.columns import Floats
from rltf.buffer.records import Archived, Fate, Feedback, Program, Sample, TestResult, VersionRun, encode
from rltf.config import Config
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.samples import SampleWriter

Row = dict[str, Any]
BEGIN = 1_700_000_000.0


def phase(role: str, name: str, start: float, end: float, waits_for: str | None = None) -> Row:
    """A phase row, seconds since BEGIN."""
    return {
        "kind": "phase",
        "role": role,
        "name": name,
        "waits_for": waits_for,
        "start": BEGIN + start,
        "end": BEGIN + end,
    }


def count(role: str, name: str, value: float, time: float) -> Row:
    """A count row, seconds since BEGIN."""
    return {"kind": "count", "role": role, "name": name, "value": value, "time": BEGIN + time}


def telemetry(steps: int = 40, warm_start_s: float = 15.0) -> list[Row]:
    """A warm start, then `steps` cycles of 2 s: actors generate 1.4 s and wait 0.5 s, the learner waits 0.6 s and
    trains 1.3 s.
    """
    rng = random.Random(0)
    rows = [phase("run", "warm_start", 0, warm_start_s), phase("learner-0", "warm_start", 1.0, warm_start_s)]
    rows += [phase(role, "wait", 2.0, warm_start_s, "learner") for role in ("actor-0", "actor-1")]
    end = warm_start_s + 2 * steps
    rows += [phase("run", "training", warm_start_s, end)]
    for step in range(steps):
        at = warm_start_s + 2 * step
        for actor in ("actor-0", "actor-1"):
            late = at + rng.uniform(0, 0.05)
            rows += [phase(actor, "load_weights", late, at + 0.1), phase(actor, "generate", at + 0.1, at + 1.5)]
            rows += [phase(actor, "wait", at + 1.5, at + 2.0, "learner"), count(actor, "programs", 96, at + 1.5)]
        for executor in ("executor-0", "executor-1"):
            rows += [
                phase(executor, "wait", at, at + 1.2, "actor"),
                phase(executor, "grade", at + 1.2, at + 1.9),
                count(executor, "programs", 96, at + 1.9),
            ]
        rows += [phase("learner-0", "wait", at, at + 0.6, "executor"), phase("learner-0", "train", at + 0.6, at + 1.9)]
        rows += [phase("learner-0", "publish", at + 1.9, at + 2.0), count("learner-0", "samples", 192, at + 1.9)]
    return rows


def step_row(step: int, steps: int = 40) -> Row:
    """A step row whose pass rate rises from a quarter to three quarters."""
    passed = round(192 * (0.25 + 0.5 * step / steps))
    failed = 192 - passed
    errors = {"WrongAnswer": failed // 2, "TypeError": failed // 4, "NameError": failed // 8}
    errors["SyntaxError"] = failed - sum(errors.values())
    return {
        "step": step, "time": BEGIN + 15 + 2 * step,
        "loss": 0.02 * math.cos(step), "pass_rate": passed / 192, "staleness": 0.5, "ages": {"0": 96, "1": 96}, "samples": 192,
        "outcomes": {"pass": passed, "failure": errors["WrongAnswer"], "runtime_error": errors["TypeError"] + errors["NameError"],
                     "compile_error": errors["SyntaxError"]},
        "error_types": errors, "version": step, "seconds": {"train": 1.3, "wait": 0.6},
    }  # fmt: skip


def held_out_row(step: int, value: float) -> Row:
    """A held-out row of 256 tasks."""
    outcomes = {"pass": round(256 * value), "failure": 256 - round(256 * value), "runtime_error": 0, "compile_error": 0}
    return {
        "label": f"step-{step:06d}", "step": step, "seconds": 2.0 * step, "time": BEGIN + 15 + 2 * step,
        "tasks": 256, "samples": 256, "missing": 0,
        "versions": [step], "pass@1": value, "pass@1_se": math.sqrt(value * (1 - value) / 256), "outcomes": outcomes, "error_types": {},
    }  # fmt: skip


def sample(
    problem_id: str,
    outcome: str,
    text: str = "def f(xs):\n    return xs",
    version: int = 0,
    error: str | None = None,
    **program: Any,
) -> Sample:
    """A graded program."""
    record = {
        "id": f"{problem_id}-{version}", "problem_id": problem_id, "group_id": problem_id, "prompt_ids": [1, 2], "token_ids": [3, 4, 5],
        "log_probs": Floats([-0.1, -0.2, -1e-9]), "versions": [VersionRun(version, 0)], "finish_reason": "stop",
        "temperature": 1.0, "top_p": 1.0, "text": text,
        "offsets": [0, 3, 6],
    }  # fmt: skip
    passed = 5 if outcome == "pass" else 2 if outcome == "failure" else 0
    tests = [TestResult(outcome="pass" if i < passed else outcome) for i in range(5)]  # type: ignore[arg-type]
    line = 2 if outcome.endswith("error") else None
    feedback = Feedback(outcome=outcome, error_type=error, line=line, tests=tests, passed=passed, run=5)  # type: ignore[arg-type]
    return Sample(program=Program(**(record | program)), feedback=feedback)


def archived(sample: Sample, fate: Fate, step: int | None = None) -> Archived:
    """A sample as the buffer hands it over once its fate is known."""
    program = sample.program
    return Archived(
        id=program.id, group_id=program.group_id, problem_id=program.problem_id, fate=fate, step=step, program=encode(program),
        feedback=encode(sample.feedback),
    )  # fmt: skip


def write_parts(folder: Path, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two samples each, s0 and s1 in the first."""
    monkeypatch.setattr(rltf.monitor.samples, "ROWS_PER_PART", 2)  # none is merged
    writer = SampleWriter(folder, 10**9)
    for number in range(parts):
        writer.add(
            [archived(sample("p", "pass", id=f"s{2 * number + each}"), "trained", step=number) for each in (0, 1)]
        )


def fill(folder: RunFolder, steps: int = 40) -> None:
    """Writes a whole made-up run into a run folder."""
    folder.add_telemetry(telemetry(steps))
    for step in range(1, steps + 1):
        folder.add_step(step_row(step, steps))
    for step in range(0, steps + 1, 5):
        folder.add_held_out(held_out_row(step, 0.2 + 0.6 * (1 - math.exp(-step / 12))))
    folder.add_samples([archived(sample("add/0", "pass"), "trained", step=1)])
    rows = folder.held_out()
    folder.write_result(
        {
            "held_out": {
                "tasks": 256,
                "before": {"pass@1": rows[0]["pass@1"]},
                "after": {"pass@1": rows[-1]["pass@1"]},
            },
            "steps": steps,
            "samples": 192 * steps,
            "versions": steps + 1,
            "seconds": {"warm_start": 15.0, "training": 2.0 * steps},
            "ledger": {"generated": 192 * steps, "trained": 150 * steps, "no_signal": 42 * steps},
            "curve": [[row["step"], row["seconds"], row["pass@1"]] for row in rows],
        }  # fmt: skip
    )
    folder.close()


def config(tmp_path: Any, **parts: Any) -> Config:
    """A configuration whose runs go to tmp_path/runs."""
    return Config(run={"folder": str(tmp_path / "runs"), "name": "example"}, **parts)
