"""`evaluate --model`: a small model sampled and judged for real, broken off and gone on with."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

from rltf import launch
from rltf.actors.engines import make_engine
from rltf.actors.worker import ActorWorker
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.server import EmbeddedRedis
from rltf.config import Config, PolicyConfig
from rltf.driver.evaluation_tracker import EvaluationTracker, parts_of
from rltf.executor.worker import ExecutorWorker
from rltf.monitor.run_folder import RunFolder
from rltf.policy.policy import build_policy, make_spec
from rltf.problems import load_problems, prompt_of
from rltf.telemetry.recorder import Recorder
from rltf.weights.folder_source import FolderSource
from tests.support.problem_files import write
from tests.support.run_parts import Launched

pytestmark = pytest.mark.usefixtures("ray_address")  # of later tests: from one file to the next it is not stopped
TEXTS = ["x = 1\n", "print(2)\n", "pass\n"] * 20
SAMPLES, PROBLEMS = 30, 24
TOO_LONG = "word " * 200


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fresh weights, so that a token is about as likely as another; some programs of four tokens run."""
    folder = tmp_path_factory.mktemp("model")
    shape = {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "vocab_size": 270, "max_prompt_tokens": 60}
    policy = build_policy(make_spec(PolicyConfig.model_validate(shape), TEXTS), seed=3)
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Problems that whatever runs to its end passes, of two difficulties, and one whose prompt does not fit."""
    records: list[dict[str, Any]] = [
        {
            "id": f"p{number}",
            "question": "Q",
            "tests": ["assert 1", "assert 2"],
            "difficulty": ("easy", "hard")[number % 2],
        }
        for number in range(PROBLEMS)
    ]
    records.append(
        {"id": "long", "question": "Q", "starter_code": TOO_LONG, "tests": ["assert 1"], "difficulty": "hard"}
    )
    return write(tmp_path_factory.mktemp("problems"), *records)


def arguments(model: Path, spec: str, out: Path, ray: str = "local") -> list[str]:
    given = {"--model": model, "--problems": spec, "--samples": SAMPLES, "--k": "1,5,30", "--out": out}
    given |= {"--policy.max_prompt_tokens": 60, "--policy.max_program_tokens": 4, "--ray.address": ray}
    given |= {
        "--ray.dashboard": "false",
        "--actors.cpus_per_actor": 0.5,
        "--actors.problems_per_batch": 4,
        "--run.stall_timeout_s": 120,
    }
    return ["evaluate", *(str(word) for pair in given.items() for word in pair)]


def results(out: Path) -> dict[str, Any]:
    return json.loads((out / "results.json").read_text())


def programs(out: Path) -> dict[str, tuple[str, str]]:
    rows = pq.read_table(out / "samples", columns=["id", "text", "outcome"]).to_pylist()
    assert len({row["id"] for row in rows}) == len(rows), "a program was kept twice"
    return {row["id"]: (row["text"], row["outcome"]) for row in rows}


class Killed(NamedTuple):
    run: Launched
    kept: dict[str, tuple[str, str]]
    """Programs that it left, with their verdicts."""
    has_results: bool


@pytest.fixture(scope="module")
def killed(model: Path, spec: str, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """An evaluation whose actor and then its driver were killed."""
    folder = tmp_path_factory.mktemp("evaluation")
    run = Launched(folder, *arguments(model, spec, folder / "run"))
    run.until(lambda: any((run.folder / "samples").glob("part-*.parquet")))
    (actor,) = [pid for pid, command in _processes(run).items() if command.startswith("ray::actor-")]
    os.kill(actor, signal.SIGKILL)
    run.until(lambda: "actor-0 is dead" in run.terminal)
    os.kill(run.driver, signal.SIGKILL)
    assert run.wait() != 0 and run.gone()
    return Killed(run, programs(run.folder), (run.folder / "results.json").exists())


@pytest.fixture(scope="module")
def whole(killed: Killed, model: Path, spec: str, ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same one, which has gone on to its end."""
    run = Launched(tmp_path_factory.mktemp("again"), *arguments(model, spec, killed.run.folder, ray_address))
    assert run.wait() == 0, run.terminal
    return killed.run.folder


@pytest.fixture(scope="module")
def undisturbed(killed: Killed, spec: str, redis_server: EmbeddedRedis) -> dict[str, tuple[str, str]]:
    """What an actor and an executor that nobody kills write and judge, in threads of this process."""
    config = Config.model_validate(RunFolder.open(killed.run.folder).config())
    problems = [problem for problem in load_problems(spec) if problem.id != "long"]
    prompts = {problem.id: prompt_of(problem) for problem in problems}
    flow = Flow(FlowAddress.from_config(config, redis_server.url, "undisturbed"))
    flow.problems.put_many((one.id, one.suite.to_json(), one.suite.content_hash) for one in problems)
    shape = make_spec(config.policy, [], config.prompt)
    source = FolderSource(shape, config.run.seed, config.actors.dtype)
    engine, recorder = make_engine(shape, config, "cpu"), Recorder("actor-0")
    actor = ActorWorker("actor-0", engine, prompts, {}, flow, source, config, recorder)
    executor = ExecutorWorker("executor-0", flow, config.executor, Recorder("executor-0"))
    tracker = EvaluationTracker(flow, parts_of([*prompts], SAMPLES, config.actors, 1), config.actors.count)
    stop, read, found = threading.Event(), 0, {}
    threads = [threading.Thread(target=part.run, args=(stop,), daemon=True) for part in (actor, executor)]
    tracker.read([])
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 120
    while len(found) < SAMPLES * PROBLEMS:
        assert time.monotonic() < deadline, len(found)
        time.sleep(0.05)
        tracker.read([])
        more = flow.telemetry.archived(read)
        read = more.position
        for row in more.items:
            assert row.sample is not None
            found[row.id] = (row.sample.program.text, row.sample.feedback.outcome)
    stop.set()
    for thread in threads:
        thread.join(30)
    flow.close()
    return found


def test_an_evaluation_that_is_killed_keeps_what_was_judged(
    killed: Killed, undisturbed: dict[str, tuple[str, str]]
) -> None:
    terminal = killed.run.terminal
    assert terminal.splitlines()[-1].startswith("evaluate failed: its driver was killed")
    assert "run failed" not in terminal and "the same command goes on" in terminal and not killed.has_results
    assert 0 < len(killed.kept) < len(undisturbed), "it was to be broken off half way"
    assert killed.kept.items() <= undisturbed.items()


def test_it_goes_on_with_nothing_sampled_twice_and_gives_the_same_table(
    whole: Path, undisturbed: dict[str, tuple[str, str]]
) -> None:
    assert programs(whole) == undisturbed
    passed: Counter[str] = Counter()
    for name, (_, outcome) in undisturbed.items():
        passed[name.split("/")[-2]] += outcome == "pass"
    figures = results(whole)["sets"][0]["groups"]["all"]
    # The problem whose prompt does not fit counts as failed.
    assert figures["metrics"]["pass@1"]["value"] == pytest.approx(passed.total() / SAMPLES / (PROBLEMS + 1))
    solved = sum(count > 0 for count in passed.values())
    assert figures["metrics"]["pass@30"]["value"] == pytest.approx(solved / (PROBLEMS + 1))


def test_a_model_is_evaluated(
    whole: Path, model: Path, spec: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (one,) = results(whole)["sets"]
    assert list(one["groups"]) == ["easy", "hard", "all"]
    figures = one["groups"]["all"]
    assert (figures["programs"], figures["problems"]) == (SAMPLES * PROBLEMS, PROBLEMS + 1)
    assert [row["problem"] for row in one["failed_without_program"]] == ["long"] and not one["without_verdict"]
    metrics = figures["metrics"]
    assert 0 < metrics["pass@1"]["value"] < metrics["pass@5"]["value"] < metrics["pass@30"]["value"] < 1
    assert metrics["pass@1"]["low"] < metrics["pass@1"]["value"] < metrics["pass@1"]["high"]
    assert len({text for text, _ in programs(whole).values()}) > PROBLEMS
    assert RunFolder.open(whole).finished
    assert launch.main(["--resume", str(whole)]) == 2
    assert "the same `evaluate` command" in capsys.readouterr().err
    # It is whole: figures of another k are made from what is there, other programs are not mixed in.
    given = arguments(model, spec, whole)
    assert launch.main([*given, "--run.seed", "1"]) == 2
    assert "run.seed" in capsys.readouterr().err
    given[given.index("1,5,30")] = "2"
    assert launch.main(given) == 0
    assert "Starting Ray" not in capsys.readouterr().out
    assert "pass@2" in results(whole)["sets"][0]["groups"]["all"]["metrics"]


SLOW_ENGINE = """
import time
from dataclasses import replace

from rltf.actors.sampling_engine import SamplingEngine


class Slow(SamplingEngine):
    batches = 0

    def submit(self, key, request):
        def on_progress():
            time.sleep(0.8 if self.batches == 1 else 3600)
            request.on_progress()

        super().submit(key, replace(request, on_progress=on_progress))

    def step(self):
        self.batches += 1
        return super().step()
"""
"""Takes its time in its first batch, and hangs in the second."""


def test_tokens_keep_an_evaluation_alive_and_an_actor_that_hangs_ends_it(
    model: Path, spec: str, ray_address: str, tmp_path: Path
) -> None:
    code, bound_s = tmp_path / "code", 20.0
    code.mkdir()
    (code / "slow.py").write_text(SLOW_ENGINE)
    given = arguments(model, spec, tmp_path / "run", ray_address)
    changed = {"--samples": 2, "--k": 1, "--actors.problems_per_batch": 2, "--policy.max_program_tokens": 60}
    for name, value in (changed | {"--run.stall_timeout_s": bound_s}).items():
        given[given.index(name) + 1] = str(value)
    run = Launched(
        tmp_path, *given, "--run.code", str(code), "--actors.engine", "slow:Slow", "--actors.samples_per_problem", "2"
    )
    assert run.wait() == 1, run.terminal
    (told,) = [line for line in run.terminal.splitlines() if line.startswith("evaluate failed")]
    assert "nothing has moved for 20 s" in told and "waits for actor" in told
    folder = RunFolder.open(run.folder)
    longest = max(
        row["end"] - row["start"]
        for row in folder.telemetry()
        if row.get("name") == "evaluate" and row["kind"] == "phase"
    )
    assert longest > bound_s and len(programs(run.folder)) == 4


def _processes(run: Launched) -> dict[int, str]:
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                if run.mark.encode() in (path / "environ").read_bytes():
                    found[int(path.name)] = (
                        (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    )
            except OSError:  # ended meanwhile, or not ours to look at
                continue
    return found


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"--k": "1,31"}, "pass@31 needs at least 31 programs"),
        ({"--samples": "0"}, "--samples 0"),
        ({"--temperature": "0"}, "--temperature 0 gives the same program each time"),
        ({"--temperature": "warm"}, "evaluation.temperature"),
        ({"--top-p": "2"}, "evaluation.top_p"),
        ({"--model": "./absent"}, "./absent"),
        ({"--from-samples": "x.jsonl"}, "not allowed with argument"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_started(
    changed: dict[str, str], reason: str, model: Path, spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments(model, spec, tmp_path / "out")
    for name, value in changed.items():
        if name in given:
            given[given.index(name) + 1] = value
        else:
            given += [name, value]
    assert launch.main(given) == 2
    told = capsys.readouterr().err
    assert reason in told and told.count("\n") == 1
    assert not (tmp_path / "out").exists()
