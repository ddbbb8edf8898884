"""The actor's loop: the next visits of training problems with the newest weights, and in turn with them the chunks of
evaluations, each with the weights that its evaluation is of.

No Ray in here.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from rltf.actors.engine import Completion, Engine, Request
from rltf.actors.programs import programs_of
from rltf.actors.sampling import sampling_params
from rltf.actors.stopping import Endings
from rltf.actors.visits import Share, Visits
from rltf.buffer.evaluations import Chunk, set_of
from rltf.buffer.flow import Flow
from rltf.buffer.ledger import format_counts
from rltf.buffer.records import Program
from rltf.buffer.stall_clock import StallClock, StallTimeout, StopRequested
from rltf.buffer.work_queue import WorkQueue
from rltf.config import Config
from rltf.policy.encoding import begins_reasoning, encode_prompt
from rltf.problems.extraction import answer_prefix, reasons_already, stops_of
from rltf.problems.prompts import Prompt
from rltf.telemetry.recorder import Recorder
from rltf.weights.loader import WeightLoader
from rltf.weights.protocol import WeightSource

_POLL_INTERVAL_S = 0.02
"""Seconds between two looks at what is waited for."""
_IDLE_POLL_INTERVAL_S = 0.2
"""The same while the learner has all of the machine, before training and after it."""
_OTHER_WORK_INTERVAL_S = 0.1
"""Seconds between two looks for new weights and evaluations while the buffer has no room: each look costs several
calls."""
_HEARTBEAT_CHECK_INTERVAL_S = 1.0
"""Seconds of a wait between two looks whether the run goes on."""
_LIFE_INTERVAL_S = 5.0
"""Least seconds between two heartbeats of an actor that samples."""
_FULL_BATCH_TIMEOUT_S = 0.25
"""Seconds after which a smaller batch than asked for is better than none."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A group that the engine is to write."""

    problem_id: str
    request: Request


class ActorWorker:
    """Generates programs until it is told to stop. One thread; the engine is used by nobody else."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        train: Mapping[str, Prompt],
        held_out: Mapping[str, Prompt],
        flow: Flow,
        weights: WeightSource,
        config: Config,
        recorder: Recorder,
        shares: Sequence[Share] = (),
    ) -> None:
        """`train` and `held_out` are prompts by problem id, the same for every actor, and so are the `shares` of the
        visits (`Visits`). `engine` may have undefined weights; `run` closes it.
        """
        self.name = name
        self._engine = engine
        self._prompts = {**held_out, **train}
        self._encoded: dict[str, list[int]] = {}
        self._flow = flow
        self._config = config
        self._recorder = recorder
        self._weights = WeightLoader(engine.load, weights, recorder)
        self._visits = Visits(list(train), config.run.seed, shares)
        self._wrote_chunk = False
        """Whether a chunk of an evaluation was the last piece of work."""
        self._stop = threading.Event()
        self._computed = 0
        """How often the engine has told that it goes on."""
        self._told_at = float("-inf")
        """When others were told so last."""

    @property
    def version(self) -> int:
        """Policy version in use, -1 before the first."""
        return self._weights.version

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set or the run ends.

        Raises StallTimeout, and what its policy, its weights or Redis raise when they are gone for good.
        """
        self._stop = stop
        try:
            while not self._stop.is_set():
                self._turn()
        except StopRequested:
            pass
        finally:
            self._engine.close()
            self._flow.online.release(self.name)
            self._recorder.flush()

    def _turn(self) -> None:
        """One piece of work, or the wait for one.

        After a chunk of an evaluation comes a batch for training, if the buffer has room for one, so that the learner
        does not wait for evaluations; while it has none, or waits for the evaluation alone, chunk follows chunk. In a
        deterministic run an evaluation is written first: a stop then never leaves one whose version is lost.
        """
        if self.version < 0:
            self._idle(self._weights.refresh)
        training = self._flow.control.phase() == "training"
        after_chunk = self._wrote_chunk and not self._config.run.deterministic
        self._wrote_chunk = False
        if training and after_chunk and not self._flow.control.evaluation_awaited() and self._generate(at_once=True):
            return
        chunk = self._chunk()
        if chunk is not None:
            self._evaluate(chunk)
            self._wrote_chunk = True
        elif training:
            self._generate()
        else:
            self._idle(self._has_work)

    def _has_work(self) -> bool:
        return self._flow.control.phase() == "training" or self._chunk() is not None

    def _chunk(self) -> Chunk | None:
        """The next chunk of an evaluation: of a version that was published after the one in use where there is no
        other.
        """
        found = self._flow.evaluations.next_chunk(self.name, self.version)
        if found is None and self._weights.refresh():
            found = self._flow.evaluations.next_chunk(self.name, self.version)
        return found

    def _generate(self, at_once: bool = False) -> bool:
        """The next visits of training problems, as many as the buffer has room for; whether it had room. `at_once`:
        without a wait for it.
        """
        settings = self._config.actors
        groups = self._admitted(settings.problems_per_batch, at_once)
        if not groups:
            return False
        asked: dict[str, _Asked] = {}
        for visit in self._flow.control.next_visits(groups, self.name):
            problem_id = self._visits.problem(visit)
            request = Request(
                self._prompt(problem_id),
                settings.samples_per_problem,
                settings.greedy,
                sampling_params(settings),
                self._seed("train", visit, self.version),
            )
            asked[self._flow.control.visit_id(visit)] = _Asked(problem_id, request)
        self._write(asked, self._flow.work)
        return True

    def _admitted(self, groups: int, at_once: bool) -> int:
        """Groups that may be written now, 0 when something else is to be done first.

        Waits for whom the buffer names, unless `at_once`.
        """
        asked_at = time.monotonic()
        looked_at = asked_at
        granted = 0

        def blocked() -> str:
            nonlocal granted, looked_at
            admission = self._flow.online.admit(self.name, groups)
            now = time.monotonic()
            if not admission.granted and at_once:
                return ""
            if not admission.granted:
                if now - looked_at < _OTHER_WORK_INTERVAL_S:
                    return admission.waits_for
                looked_at = now
                goes_on = self._flow.control.phase() == "training" and self._chunk() is None
                return admission.waits_for if goes_on else ""  # an evaluation can be written meanwhile
            if admission.groups < groups and not at_once and now - asked_at < _FULL_BATCH_TIMEOUT_S:
                return admission.waits_for
            # Admit, then load: so the version sampled with is not older than the one the admission was reckoned with.
            # A learner that goes on may first publish older ones, for evaluations.
            self._weights.refresh()
            if self.version < max(admission.version, self._flow.control.version()):
                return "learner"
            granted = admission.groups
            return ""

        self._wait(blocked)
        if not granted:
            self._flow.online.release(self.name)
        return granted

    def _evaluate(self, chunk: Chunk) -> None:
        """Writes the programs of one chunk that are not written yet, with the version that its evaluation is of."""
        if not self._weights.use(chunk.version):
            self._idle(lambda: self._weights.use(chunk.version))
        settings = self._config.evaluation.by_name[set_of(chunk.label)]
        greedy, sampling = not settings.temperature, sampling_params(settings)
        size = max(1, self._config.actors.problems_per_batch * self._config.actors.samples_per_problem // chunk.samples)
        problem_ids = self._flow.evaluations.unwritten(chunk)
        for start in range(0, len(problem_ids), size):
            if start:  # asking again holds the chunk for another lease
                self._flow.evaluations.next_chunk(self.name, self.version)
            asked: dict[str, _Asked] = {}
            for problem_id in problem_ids[start : start + size]:
                request = Request(
                    self._prompt(problem_id),
                    0 if greedy else chunk.samples,
                    greedy,
                    sampling,
                    self._seed(chunk.series or chunk.label, problem_id, self.version),
                    chunk.first,
                )
                asked[f"{chunk.label}/{problem_id}"] = _Asked(problem_id, request)
            self._write(asked, self._flow.evaluation_work, chunk.label)
        self._flow.evaluations.finish_chunk(chunk)

    def _write(self, asked: Mapping[str, _Asked], queue: WorkQueue, label: str = "") -> None:
        """Has groups written, each known by its id, and pushes every one that is whole.

        Newer weights are taken on the way, but not within an evaluation, which is of one version. Raises StallTimeout
        when the engine computes nothing for run.stall_timeout_s.
        """
        on_progress = partial(self._show_life, evaluates=bool(label))
        for group_id, one in asked.items():
            endings = self._endings(one.problem_id)
            self._engine.submit(group_id, replace(one.request, endings=endings, on_progress=on_progress))
        timeout_s = self._config.run.stall_timeout_s
        clock = StallClock(timeout_s)
        try:
            while self._engine.unfinished():
                with self._recorder.phase("evaluate" if label else "generate"):
                    groups = [self._group(key, asked[key], found, label) for key, found in self._steps()]
                clock.see((self._engine.unfinished(), self._computed))
                if groups:
                    self._recorder.count("programs", sum(len(group) for group in groups))
                    self._recorder.count("tokens", sum(len(one.token_ids) for group in groups for one in group))
                    self._push(queue, groups, evaluates=bool(label))
                elif clock.run_out:
                    raise StallTimeout(f"the engine of {self.name} has computed nothing for {timeout_s:g} s")
                if self._engine.unfinished():
                    if self._stop.is_set():
                        raise StopRequested
                    if not label:
                        self._weights.refresh()
        finally:
            for group_id in asked:
                self._engine.abort(group_id)

    def _show_life(self, evaluates: bool) -> None:
        """The engine goes on: those who wait for programs hear of it every few seconds, however long one takes.

        `evaluates`: it writes those of an evaluation, whose chunk is held for another lease.
        """
        self._computed += 1
        now = time.monotonic()
        bounds = _LIFE_INTERVAL_S, self._config.run.stall_timeout_s / 4, self._config.buffer.lease_s / 3
        if now - self._told_at >= min(bounds):
            self._told_at = now
            self._flow.control.heartbeat("actor")
            if evaluates:
                self._flow.evaluations.next_chunk(self.name, self.version)

    def _steps(self) -> list[tuple[str, list[Completion]]]:
        """Steps of the engine until a request has ended, or it is time to look around."""
        until = time.monotonic() + _OTHER_WORK_INTERVAL_S
        while True:
            ended = self._engine.step()
            if ended or not self._engine.unfinished() or time.monotonic() >= until:
                return ended

    def _group(self, group_id: str, asked: _Asked, completions: Sequence[Completion], label: str) -> list[Program]:
        return programs_of(
            self._engine.policy,
            completions,
            group_id=group_id,
            problem_id=asked.problem_id,
            prompt_ids=asked.request.prompt_ids,
            prompt=self._prompts[asked.problem_id],
            sampling=asked.request.sampling,
            purpose="evaluation" if label else "train",
            label=label,
        )

    def _push(self, queue: WorkQueue, groups: list[list[Program]], evaluates: bool) -> None:
        """Into the work queue; waits for executors while it is full. `evaluates`: see `_show_life`."""
        left, held_at = groups, time.monotonic()

        def blocked() -> str:
            nonlocal left, held_at
            if evaluates and time.monotonic() - held_at >= self._config.buffer.lease_s / 3:
                held_at = time.monotonic()
                self._flow.evaluations.next_chunk(self.name, self.version)
            answers = queue.push_many(left, self.name)
            left = [group for group, answer in zip(left, answers, strict=True) if not answer]
            return "executor" if left else ""

        self._wait(blocked)

    def _prompt(self, problem_id: str) -> list[int]:
        if problem_id not in self._encoded:
            self._encoded[problem_id] = encode_prompt(self._engine.policy, self._prompts[problem_id])
        return self._encoded[problem_id]

    def _endings(self, problem_id: str) -> Endings:
        """What ends a response beside the policy's end tokens."""
        policy, prompt = self._engine.policy, self._prompts[problem_id]
        config, chat = policy.spec.prompt, policy.spec.chat is not None
        begun = begins_reasoning(policy) or reasons_already(config, answer_prefix(config, prompt))
        return Endings(stops_of(config, prompt, chat), config.reasoning, begun, config.max_reasoning_tokens)

    def _idle(self, has_work: Callable[[], bool]) -> None:
        """Waits for work outside of training: for the learner and, where there is none or it is done, for the driver,
        which asks for evaluations and ends the run.
        """

        def blocked() -> str:
            if has_work():
                return ""
            return "driver" if self._flow.control.phase() in ("evaluation", "done") else "learner"

        self._wait(blocked, _IDLE_POLL_INTERVAL_S)

    def _wait(self, blocked: Callable[[], str], poll_s: float = _POLL_INTERVAL_S) -> None:
        """Waits until `blocked` no longer names a part; every wait is recorded with the part it is for.

        Raises StopRequested when the run ends meanwhile, and StallTimeout after run.stall_timeout_s in which no program
        got anywhere and nobody showed life: slow executors, a warm start, a last evaluation take as long as they take.
        """
        timeout_s = self._config.run.stall_timeout_s
        clock, look_at = StallClock(timeout_s), 0.0
        waits_for = blocked()
        while waits_for:
            named = waits_for
            with self._recorder.phase("wait", waits_for=named):
                while waits_for == named:
                    if self._stop.wait(poll_s):
                        raise StopRequested
                    now = time.monotonic()
                    if now >= look_at:
                        look_at = now + min(_HEARTBEAT_CHECK_INTERVAL_S, timeout_s / 4)
                        clock.see((*self._flow.ledger.activity(), *self._flow.control.heartbeats("learner", "driver")))
                    if clock.run_out:
                        seen_last = f"policy version {self.version}, {format_counts(self._flow.ledger.counts())}"
                        raise StallTimeout(
                            f"{self.name} has waited {timeout_s:g} s for the {named}; last seen: {seen_last}"
                        )
                    waits_for = blocked()

    def _seed(self, *what: object) -> int:
        """From the run's seed and what is sampled: the same visits with the same version give the same programs."""
        text = repr((self._config.run.seed, *what)).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big")
