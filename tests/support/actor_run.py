"""One actor on a thread of its own, with what it shares with the rest of a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rltf.actors.engine import Engine
from rltf.actors.sampling_engine import SamplingEngine
from rltf.actors.worker import ActorWorker
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.records import Feedback, Program
from rltf.config import Config
from rltf.policy.policy import build_policy
from rltf.telemetry.recorder import Recorder, Row
from rltf.weights.packing import named_weights
from tests.support.buffer_programs import whole
from tests.support.policies import Prompt, policy_of, spec_of
from tests.support.versions import KeptVersions

TRAIN = {f"train-{index}": Prompt("", f"task {index}", "\n") for index in range(5)}
HELD_OUT = {f"held-{index}": Prompt("", f"other task {index}", "\n") for index in range(3)}


class Source(KeptVersions):
    """Versions of the tests' policy, by their seeds."""

    def publish(self, version: int, seed: int) -> None:
        self.take(list(named_weights(policy_of("llama", 12, seed=seed).model)), version, None)


class Run:
    """One actor on its own thread, with what it shares with the rest of a run."""

    def __init__(self, url: str, name: str, engine: Engine | None = None, **parts: dict[str, object]) -> None:
        settings = {
            "actors": {"problems_per_batch": 2, "samples_per_problem": 3, "greedy": True},
            "learner": {"groups_per_step": 2},
            "buffer": {"max_staleness": 1},
            "evaluation": {"samples": 2},
        }
        for part, values in parts.items():
            settings[part] = settings.get(part, {}) | values
        self.config = Config.model_validate(settings)
        self.flow = Flow(FlowAddress.from_config(self.config, url, name))
        self.source = Source()
        self.rows: list[Row] = []
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self.recorder = Recorder("actor-0", self.rows.extend, period_s=0.05)
        self.engine = engine or SamplingEngine(build_policy(spec_of("llama", 12), weights=False))
        self.worker = ActorWorker(
            "actor-0", self.engine, TRAIN, HELD_OUT, self.flow, self.source, self.config, self.recorder
        )
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.worker.run(self.stop)
        except BaseException as error:
            self.error = error

    def until(self, reached: Callable[[], object], bound_s: float = 30.0) -> None:
        deadline = time.monotonic() + bound_s
        while not reached():
            assert time.monotonic() < deadline and (self.error is None), self.error
            time.sleep(0.01)

    def waited_for(self) -> set[str]:
        return {row["waits_for"] for row in list(self.rows) if row["kind"] in ("phase", "now") and row.get("waits_for")}

    def take(self, queue: str = "work", count: int = 100) -> list[Program]:
        claims = getattr(self.flow, queue).claim("executor-0", count)
        programs = whole(self.flow, claims)
        getattr(self.flow, queue).ack_many("executor-0", [(claim, Feedback(outcome="failure")) for claim in claims])
        return programs

    def end(self) -> None:
        self.stop.set()
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.recorder.close()
        self.flow.close()
