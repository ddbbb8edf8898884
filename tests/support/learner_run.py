"""A run of one actor, one executor and one learner, in threads of this process, on problems of a few tokens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rltf.actors.sampling_engine import SamplingEngine
from rltf.actors.worker import ActorWorker
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.server import EmbeddedRedis
from rltf.config import Config
from rltf.driver.inputs import Inputs
from rltf.evaluation.summary import Asked
from rltf.executor.worker import ExecutorWorker
from rltf.learner.task import HeldOutSet, LearnerTask
from rltf.learner.worker import LearnerWorker
from rltf.learner.world import World
from rltf.policy.policy import build_policy, make_spec
from rltf.problems.corpus import Corpus, SolutionCorpus
from rltf.problems.problem import Problem, TestSuite
from rltf.problems.prompts import prompt_of
from rltf.telemetry.recorder import Recorder
from tests.support.learner_parts import learner_config  # noqa: F401  (sets the number of threads)
from tests.support.versions import KeptVersions

SHAPE = {
    "d_model": 64,
    "layers": 1,
    "heads": 4,
    "d_ff": 96,
    "vocab_size": 300,
    "max_prompt_tokens": 64,
    "max_program_tokens": 24,
}


def problem(number: int) -> Problem:
    suite = TestSuite(
        kind="stdin",
        fn_name=None,
        inputs=("",),
        outputs=(f"{number}\n",),
        asserts=(),
        setup="",
        time_limit_s=1.0,
        memory_limit_mb=None,
    )
    return Problem(
        id=f"print-{number}", question=f"Print {number}.", starter_code="", suite=suite, solutions=(f"print({number})\n",),
        difficulty="", prompt_style="starter",
    )  # fmt: skip


PROBLEMS = tuple(problem(number) for number in range(6))


class Run:
    """A run of one actor, one executor and one learner."""

    def __init__(
        self, server: EmbeddedRedis, folder: Path, given: tuple[Config, Inputs] | None = None, **fields: Any
    ) -> None:
        """`given`: a whole configuration and what it is made from, in place of this module's with `fields`."""
        defaults: dict[str, Any] = {
            "run": {"name": "test", "stall_timeout_s": 60},
            "policy": SHAPE,
            "warm_start": {"steps": 60, "batch_size": 16},
            "actors": {"problems_per_batch": 2, "samples_per_problem": 4, "greedy": True},
            "learner": {"groups_per_step": 2, "micro_batch_tokens": 300, "steps": 6, "supervised_batch_size": 8},
            "evaluation": {"every": 2, "tasks": 2, "samples": 2},
        }
        for part, values in fields.items():
            defaults[part] = defaults.get(part, {}) | values
        self.train, self.held_out = PROBLEMS[:4], PROBLEMS[4:]
        corpus: Corpus | None = SolutionCorpus(PROBLEMS)
        if given is not None:
            self.config, inputs = given
            self.train, self.held_out = inputs.problems.problems, inputs.held_out_problems
            self.spec, corpus = inputs.spec, inputs.corpus
        else:
            self.config = Config.model_validate(defaults)
            texts = [text for task in PROBLEMS for text in (task.question, task.solutions[0])]
            self.spec = make_spec(self.config.policy, texts)
        self.flow = Flow(FlowAddress.from_config(self.config, server.url, folder.name))
        self.published = KeptVersions()
        held_out = [task.id for task in self.held_out]
        task = LearnerTask(
            self.config,
            self.spec,
            corpus,
            [task.id for task in self.train],
            [self._held_out_set(name, held_out) for name in self.config.evaluation.by_name],
            folder,
            code_version="test",
        )
        self.learner = LearnerWorker(
            task, World(), self.flow, self.published, Recorder("learner-0", self.flow.telemetry.append)
        )

    def _held_out_set(self, name: str, ids: list[str]) -> HeldOutSet:
        asked = Asked(tuple(ids), self.config.evaluation.by_name[name].ks)
        return HeldOutSet(ids, name, figures=asked.figures)

    @contextmanager
    def others(self) -> Iterator[None]:
        """The actor and the executor."""
        for task in (*self.train, *self.held_out):
            self.flow.problems.put(task.id, task.suite.to_json(), task.suite.content_hash)
        policy = build_policy(self.spec, weights=self.spec.lora is not None, adapters=False)
        actor = ActorWorker(
            "actor-0",
            SamplingEngine(policy),
            {task.id: prompt_of(task) for task in self.train},
            {task.id: prompt_of(task) for task in self.held_out},
            self.flow,
            self.published,
            self.config,
            Recorder("actor-0"),
        )
        executor = ExecutorWorker("executor-0", self.flow, self.config.executor, Recorder("executor-0"))
        stop = threading.Event()
        threads = [threading.Thread(target=part.run, args=(stop,), daemon=True) for part in (actor, executor)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(30)

    def rows(self) -> list[dict[str, Any]]:
        return self.flow.telemetry.steps().items
