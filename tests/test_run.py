"""The whole system as a user starts it: real Ray, Redis, sandbox and DeepSpeed, from the command line to the report."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_parts import Launched
from transformers import AutoModelForCausalLM, AutoTokenizer

from monitor.run_folder import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """A finished run."""
    launched = Launched(tmp_path_factory.mktemp("run"))
    assert launched.wait() == 0, launched.terminal
    yield launched
    assert launched.gone(), launched.survivors()


def test_every_program_has_one_fate_and_the_ledger_balances(run: Launched) -> None:
    ledger = json.loads((run.folder / "result.json").read_text())["ledger"]
    assert ledger["generated"] == sum(count for name, count in ledger.items() if name != "generated") > 0
    assert ledger["trained"] > 0
    assert ledger["baseline"] > 0
    assert "does not balance" not in run.terminal


def test_the_learner_took_its_steps_half_of_them_supervised(run: Launched) -> None:
    steps = RunFolder.open(run.folder).steps()
    assert [row["step"] for row in steps] == list(range(1, 9))
    assert sum("pass_rate" in row for row in steps) == 4


def test_new_weights_reach_the_actors(run: Launched) -> None:
    samples = list(RunFolder.open(run.folder).samples())
    versions = {sample.sample.program.versions[0].version for sample in samples if sample.sample.program.purpose == "train"}
    assert 0 in versions
    assert max(versions) >= 1


def test_samples_are_archived_with_feedback_and_fate(run: Launched) -> None:
    samples = list(RunFolder.open(run.folder).samples())
    ledger = json.loads((run.folder / "result.json").read_text())["ledger"]
    fates = Counter(sample.fate for sample in samples)
    assert fates["trained"] == ledger["trained"]
    assert fates["baseline"] == ledger["baseline"]
    assert len({sample.sample.program.id for sample in samples}) == len(samples)
    assert {sample.sample.feedback.outcome for sample in samples} <= {"pass", "failure", "runtime_error", "compile_error"}


def test_held_out_is_evaluated_before_during_and_after(run: Launched) -> None:
    folder = RunFolder.open(run.folder)
    assert [row["step"] for row in folder.held_out()] == [0, 4, 8]
    assert all(row["samples"] == 16 and row["missing"] == 0 for row in folder.held_out())
    result = folder.result()["held_out"]
    assert result["tasks"] == 16
    assert set(result) == {"tasks", "before", "after"}


def test_the_folder_holds_what_the_design_promises(run: Launched) -> None:
    for name in ("config.yaml", "metrics.jsonl", "report.md", "held_out.png", "timeline.png", "export/README.md", "warm_start/config.json"):
        assert (run.folder / name).stat().st_size > 0, name
    assert {"actor-0.log", "executor-0.log", "learner-0.log"} <= {path.name for path in (run.folder / "logs" / "attempt_1").iterdir()}
    assert list((run.folder / "tensorboard").iterdir())


def test_the_export_loads_with_transformers(run: Launched) -> None:
    model = AutoModelForCausalLM.from_pretrained(run.folder / "export")
    tokenizer = AutoTokenizer.from_pretrained(run.folder / "export")
    assert model.config.vocab_size >= len(tokenizer)


def test_the_terminal_shows_plan_status_and_result(run: Launched) -> None:
    text = run.terminal
    for words in ("who runs where:", "4 groups x 3 samples", "held-out pass@1 before training", "step 8/8", "Report and plots:"):
        assert words in text, words


def test_samples_and_steps_go_on_while_the_driver_is_stopped(tmp_path: Path) -> None:
    run = Launched(tmp_path, learner__steps=100_000, evaluation__every=0)
    try:
        run.until(lambda: (run.folder / "metrics.jsonl").exists())
        os.kill(run.process.pid, signal.SIGSTOP)
        stopped_at = time.time()
        time.sleep(10)
        continued_at = time.time()
        os.kill(run.process.pid, signal.SIGCONT)
        rows = RunFolder.open(run.folder).steps
        run.until(lambda: rows()[-1]["time"] > continued_at, timeout_s=60)
        meanwhile = [row for row in rows() if stopped_at + 1 < row["time"] < continued_at - 1]
        assert len(meanwhile) >= 2, f"{len(meanwhile)} steps in 8 s"
        assert any("pass_rate" in row for row in meanwhile), "no sample was trained on"
        assert [row["step"] for row in rows()] == list(range(1, len(rows()) + 1)), "a step's row was lost"
    finally:
        run.process.send_signal(signal.SIGINT)
    assert run.wait(60) == 1
    assert run.gone(), run.survivors()
    assert "stopped by the user" in run.terminal.splitlines()[-1]
    assert (run.folder / "report.md").exists()
