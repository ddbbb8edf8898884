"""The whole system as a user starts it: real Ray, Redis, sandbox and DeepSpeed, from the command line to the report."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rltf import launch
from rltf.buffer.records import Archived, encode
from rltf.config import Config
from rltf.learner.checkpoints import Checkpoints
from rltf.monitor.memory import step_bytes
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.samples import SampleWriter
from tests.support.declared import undeclared_in
from tests.support.run_parts import Launched

pytestmark = pytest.mark.usefixtures("ray_address")  # of later tests: from one file to the next it is not stopped


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """A finished run."""
    greedy = (
        "[{name: greedy, problems: 'starter,split=heldout', tasks: 8, every: 0, samples: 1, temperature: 0, k: []}]"
    )
    evaluation: dict[str, object] = {"samples": 2, "k": "[2]", "best_by": "max@2", "sets": greedy}
    fields = {f"evaluation__{name}": value for name, value in evaluation.items()}
    launched = Launched(tmp_path_factory.mktemp("run"), **fields)
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


def test_all_that_it_tells_is_declared(run: Launched) -> None:
    assert not undeclared_in(RunFolder.open(run.folder))


def test_new_weights_reach_the_actors(run: Launched) -> None:
    samples = list(RunFolder.open(run.folder).samples())
    versions = {sample.program.versions[0].version for sample in samples if sample.program.purpose == "train"}
    assert 0 in versions
    assert max(versions) >= 1
    counts = {row["name"] for row in RunFolder.open(run.folder).telemetry() if row["kind"] == "count"}
    assert "programs" in counts and not counts & {"corrupt_versions", "unavailable_versions"}


def test_samples_are_archived_with_feedback_and_fate(run: Launched) -> None:
    samples = list(RunFolder.open(run.folder).samples())
    ledger = json.loads((run.folder / "result.json").read_text())["ledger"]
    fates = Counter(sample.fate for sample in samples)
    assert fates["trained"] == ledger["trained"]
    assert fates["baseline"] == ledger["baseline"]
    assert fates["under_way"] == sum(ledger[place] for place in ("queued", "executing", "waiting", "buffered"))
    assert len({sample.id for sample in samples}) == len(samples)
    assert sum(sample.program.purpose == "train" for sample in samples) == ledger["generated"], (
        "every program is in the record"
    )
    assert {sample.sample.feedback.outcome for sample in samples} <= {
        "pass",
        "failure",
        "runtime_error",
        "compile_error",
    }


def test_held_out_is_evaluated_before_during_and_after(run: Launched) -> None:
    folder = RunFolder.open(run.folder)
    assert [row["step"] for row in folder.held_out()] == [0, 4, 8]
    assert all(row["samples"] == 32 and row["missing"] == 0 for row in folder.held_out())
    assert all(row["pass@1"] <= row["max@1"] <= row["max@2"] <= 1 for row in folder.held_out())
    assert all(row["pass@1"] <= row["pass@2"] <= row["max@2"] for row in folder.held_out())
    for name in ("pass@1", "pass@2", "max@1", "max@2"):
        assert f"held-out {name} after training" in run.terminal, name
        assert folder.result()["held_out"]["after"][name] == folder.held_out()[-1][name]
    card = (run.folder / "export" / "README.md").read_text()
    assert "| | step | pass@1 | pass@2 | max@1 | max@2 |" in card
    scores = json.loads((run.folder / "checkpoints" / "scores.json").read_text())
    for row in folder.held_out():
        assert scores[row["label"]]["figures"]["max@2"] == row["max@2"], "the learner's figures are the driver's"
    result = folder.result()["held_out"]
    assert result["tasks"] == 16
    assert set(result) == {"tasks", "of", "too_long", "problems", "about", "before", "after", "sets"}
    assert (
        result["of"] > 16
        and result["about"].startswith("16 of ")
        and result["before"]["lost"] == result["after"]["lost"] == 0
    )


def test_a_further_set_is_evaluated_as_it_says_and_shown_under_its_name(run: Launched) -> None:
    folder = RunFolder.open(run.folder)
    rows = folder.held_out("greedy")
    assert [(row["step"], row["tasks"], row["samples"], row["missing"]) for row in rows] == [(0, 8, 8, 0), (8, 8, 8, 0)]
    greedy = [
        sample.program for sample in folder.samples() if sample.program and sample.program.label.startswith("greedy:")
    ]
    assert len(greedy) == 16 and all(program.greedy for program in greedy)
    found = folder.result()["held_out"]["sets"]["greedy"]
    assert found["about"].startswith("8 of ") and found["after"]["pass@1"] == rows[-1]["pass@1"]
    for words in (
        "held-out greedy: 8 of",
        "evaluation of greedy:",
        "held-out greedy pass@1 after training",
        found["about"],
    ):
        assert words in run.terminal, words
    card, text = (run.folder / "export" / "README.md").read_text(), (run.folder / "report.md").read_text()
    assert "### greedy\n\nShare of programs, sampled greedily, that pass all tests of 8 held-out problems" in card
    assert "- Held-out greedy max@1: **" in text and (run.folder / "held_out_greedy.png").stat().st_size
    scores = json.loads((run.folder / "checkpoints" / "scores.json").read_text())
    assert {label: score["set"] for label, score in scores.items() if "set" in score} == {
        row["label"]: "greedy" for row in rows
    }


def test_the_folder_holds_what_the_design_promises(run: Launched) -> None:
    for name in (
        "config.yaml",
        "metrics.jsonl",
        "report.md",
        "held_out.png",
        "timeline.png",
        "export/README.md",
        "warm_start/config.json",
    ):
        assert (run.folder / name).stat().st_size > 0, name
    assert {"actor-0.log", "executor-0.log", "learner-0.log"} <= {
        path.name for path in (run.folder / "logs" / "attempt_1").iterdir()
    }
    events = list((run.folder / "tensorboard").iterdir())
    config, steps = Config.model_validate(RunFolder.open(run.folder).config()), len(RunFolder.open(run.folder).steps())
    assert "objective `rltf`, 8 steps." in (run.folder / "export" / "README.md").read_text()
    assert events and sum(path.stat().st_size for path in [run.folder / "metrics.jsonl", *events]) < steps * step_bytes(
        config
    )


def test_the_export_loads_with_transformers(run: Launched) -> None:
    model = AutoModelForCausalLM.from_pretrained(run.folder / "export")
    tokenizer = AutoTokenizer.from_pretrained(run.folder / "export")
    assert model.config.vocab_size >= len(tokenizer)


def test_any_checkpoint_becomes_a_model_folder(
    run: Launched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def exported(name: str, *arguments: str) -> dict[str, torch.Tensor]:
        assert launch.main(["export", str(run.folder), "--out", str(tmp_path / name), *arguments]) == 0
        return load_file(tmp_path / name / "model.safetensors")

    last, best = exported("last"), exported("best", "--best")
    whole = load_file(run.folder / "export" / "model.safetensors")
    assert last.keys() == whole.keys() and all(torch.equal(last[name], whole[name]) for name in whole)
    card = (tmp_path / "last" / "README.md").read_text()
    assert "8 steps" in card and "prompt = " in card and "| after | 8 |" in card and str(run.folder) not in card
    AutoTokenizer.from_pretrained(tmp_path / "last")
    kept = Checkpoints.of_run(run.folder, "max@2")
    chosen = kept.best()
    assert chosen is not None
    again = exported("again", "--step", str(chosen.step))
    assert all(torch.equal(best[name], again[name]) for name in best)
    capsys.readouterr()
    for arguments, words in (
        (["--out", str(tmp_path / "last")], "exists: name a folder that does not"),
        (["--out", str(tmp_path / "new"), "--step", "3"], "it has no checkpoint of step 3; there are those of steps"),
        (["--out", str(tmp_path / "new"), "--step", "8", "--best"], "give one of them"),
    ):
        assert launch.main(["export", str(run.folder), *arguments]) == 2
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1, said
    assert not (tmp_path / "new").exists()


def test_the_terminal_shows_plan_status_and_result(run: Launched) -> None:
    text = run.terminal
    begin = ("Loading torch and Ray ...", "Starting Ray ...", "who runs where:", "4 groups x 3 samples")
    for words in (*begin, "held-out pass@1 before training", "step 8/8", "Report and plots:"):
        assert words in text, words


def _replayed(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code of the command `replay`, and what it found on standard output or, where something is wrong, on standard
    error.
    """
    code = launch.main(["replay", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.err if code else printed.out


def test_every_verdict_of_the_record_is_found_again(run: Launched, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = _replayed(capsys, run.folder)
    found = json.loads((run.folder / "replay" / "regraded.json").read_text())
    assert code == 0 and "verdicts are the same" in told.splitlines()[-1]
    kept = [kept.sample is not None for kept in RunFolder.open(run.folder).samples()]
    assert found["recorded"] == len(kept) and found["same"] == sum(kept) > 0
    assert (run.folder / "replay" / "differing.jsonl").read_text() == ""


@pytest.mark.parametrize("step", [3, 6, 7])
def test_a_step_is_taken_again_to_the_last_bit(run: Launched, step: int, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = _replayed(capsys, run.folder, "--step", step)
    assert code == 0 and "to the last bit" in told.splitlines()[-1], told
    found = json.loads((run.folder / "replay" / f"step_{step:06d}.json").read_text())
    row = next(row for row in RunFolder.open(run.folder).steps() if row["step"] == step)
    assert found["differences"] == [] and found["now"]["loss"] == found["recorded"]["loss"] == row["loss"]
    assert found["now"]["gradient_norm"] == row["gradient_norm"] > 0
    programs = [
        json.loads(line) for line in (run.folder / "replay" / f"step_{step:06d}.jsonl").read_text().splitlines()
    ]
    assert [program["id"] for program in programs if not program["greedy"]] == row.get("sample_ids", [])
    assert [program["reward"] for program in programs if not program["greedy"]] == row.get("rewards", [])
    assert all(
        set(program["weights"]) == {"coarse", "fine", "adaptive"}
        for program in programs
        if program["fate"] == "trained"
    )


@pytest.fixture(scope="module")
def refused(run: Launched, ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Launched:
    """An attempt to go on with a copy of the finished run, which the learner refuses."""
    parent = tmp_path_factory.mktemp("refused")
    shutil.copytree(run.folder, parent / "run", ignore=shutil.ignore_patterns("*.sock"))
    launched = Launched(parent, "--resume", str(parent / "run"), rltf__baseline="none", ray__address=ray_address)
    launched.wait()
    return launched


def test_an_attempt_that_is_refused_changes_nothing(refused: Launched) -> None:
    folder = RunFolder.open(refused.folder)
    assert refused.process.returncode == 1
    assert "the saved baselines are of kind best" in refused.terminal.splitlines()[-1], refused.terminal
    assert (folder.result()["finished"], folder.result()["steps"], folder.result()["attempts"]) == (True, 8, 1), (
        "of the attempt before"
    )
    assert folder.attempts() == 2 and folder.config()["rltf"]["baseline"] == "best"
    assert [folder.settings_at(row["time"]).rltf.baseline for row in folder.events()] == ["best", "none"]
    assert refused.gone()


def test_a_finished_run_that_goes_on_after_a_refusal_is_finished_as_it_was(
    run: Launched, refused: Launched, ray_address: str
) -> None:
    again = Launched(refused.folder.parent, "--resume", str(refused.folder), ray__address=ray_address)
    assert again.wait() == 0, again.terminal
    folder = RunFolder.open(again.folder)
    result, before = folder.result(), RunFolder.open(run.folder)
    assert (result["finished"], result["steps"], result["attempts"]) == (True, 8, 3)
    assert result["held_out"] == before.result()["held_out"] and folder.steps() == before.steps()
    assert folder.config()["rltf"]["baseline"] == "best"
    assert again.gone()


def test_a_record_that_was_changed_is_told(run: Launched, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy"
    kept_out = shutil.ignore_patterns("redis", "checkpoints", "warm_start", "export", "logs", "replay", "samples")
    shutil.copytree(run.folder, copy, ignore=kept_out)
    samples = [kept for kept in RunFolder.open(run.folder).samples() if kept.program and kept.feedback]
    row = next(row for row in RunFolder.open(run.folder).steps() if row["step"] == 7)

    def written(place: Path, changed: str = "", left_out: str = "") -> None:
        shutil.rmtree(place / "samples", ignore_errors=True)
        rows = []
        for kept in samples:
            assert kept.program and kept.feedback
            feedback = kept.feedback
            if kept.id == changed:
                other = "pass" if feedback.outcome == "failure" else "failure"
                feedback = msgspec.structs.replace(feedback, outcome=other, error_type=None)
            names = {name: getattr(kept, name) for name in ("id", "group_id", "problem_id", "fate", "step")}
            rows += (
                [Archived(**names, program=encode(kept.program), feedback=encode(feedback))]
                if kept.id != left_out
                else []
            )
        SampleWriter(place / "samples", 10**9).add(rows)

    written(copy, changed=row["sample_ids"][0])
    code, told = _replayed(capsys, copy)
    assert code == 1 and "replay failed: 1 verdicts differ" in told.splitlines()[-1]
    (line,) = (copy / "replay" / "differing.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == row["sample_ids"][0]
    # Without weights the batch is compared all the same.
    code, told = _replayed(capsys, copy, "--step", 7)
    assert code == 2 and "1 of 4 groups have other tokens or weights" in told
    assert (
        "the loss of step 7 cannot be recomputed, for no weights from before it are kept: there is no checkpoint"
        in told
    )
    written(copy, left_out=row["sample_ids"][0])
    code, told = _replayed(capsys, copy, "--step", 7)
    assert code == 2 and "1 of 12 programs of step 7 are not in the record" in told
    code, told = _replayed(capsys, copy, "--step", 9)
    assert code == 2 and "has steps 1 to 8" in told
