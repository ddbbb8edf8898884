"""The executor's loop: claim programs, grade them, hand over the verdicts.

Any number of workers may join or leave at any time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

from rltf.buffer.flow import Flow
from rltf.buffer.records import Feedback
from rltf.buffer.work_queue import Claim, WorkQueue
from rltf.config import ExecutorConfig
from rltf.executor.judge import InfrastructureFailure, Judge
from rltf.executor.responses import judged
from rltf.problems.problem import TestSuite, hash_of
from rltf.telemetry.recorder import Recorder

PROGRAMS_PER_LANE = 16
"""Programs claimed at once, per lane: some tens of milliseconds of work, so that the last one does not wait long."""
CLAIM_TIMEOUT_S = 0.25
"""Longest wait for training programs before evaluation is looked at again."""
ACK_INTERVAL_S = 0.05
"""Verdicts are kept at most so long for company on their way, also while another program takes longer."""
MAX_CACHED_SUITES = 4096

log = logging.getLogger(__name__)


class ExecutorWorker:
    """One executor of a run."""

    def __init__(self, name: str, flow: Flow, config: ExecutorConfig, recorder: Recorder) -> None:
        """`name` is unique among the run's executors; a worker that starts under an earlier one's name takes over what
        that one held.
        """
        self.name = name
        self._flow = flow
        self._config = config
        self._recorder = recorder
        self._suite = lru_cache(MAX_CACHED_SUITES)(self._read_suite)
        """A problem's tests, from memory if seen before: they never change within a run."""
        self._queues = [flow.evaluation_work, flow.work]
        """The one that was claimed from last is the last."""
        self._held: dict[str, Claim] = {}
        self._held_in: WorkQueue = flow.work
        self._ready: list[tuple[Claim, Feedback]] = []
        self._lock = threading.Lock()
        """For the three above."""
        self._sending = threading.Lock()
        """Held from a look at the verdicts that are ready until they are handed over."""
        self._failure: Exception | None = None
        """What ended one of the threads beside the loop."""
        self.layers: dict[str, str] = {}
        """Isolation layers of the lanes, known once the loop runs."""

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set; what was claimed and not yet run is given back then.

        Raises executor.protocol.LaneFailure when no lane starts on this machine, and what Redis raises when it is gone
        for good.
        """
        for work in (self._flow.evaluation_work, self._flow.work):
            work.requeue_consumer(self.name)
        config = self._config
        with Judge.from_config(config) as judge, self._beside():
            self.layers = dict(judge.layers)
            layers = "; ".join(f"{layer} {state}" for layer, state in judge.layers.items())
            log.log(
                logging.INFO if judge.tier == "A" else logging.WARNING,
                "%s: isolation tier %s: %s",
                self.name,
                judge.tier,
                layers,
            )
            while not stop.is_set():
                if self._failure is not None:
                    raise self._failure
                work, claims = self._claim()
                if claims:
                    self._grade(judge, work, claims, stop)

    def _claim(self) -> tuple[WorkQueue, list[Claim]]:
        """From the two queues in turn, so that neither training nor an evaluation waits for the other to be judged."""
        count = self._config.lanes * PROGRAMS_PER_LANE
        for work in self._queues:
            claims = work.claim(self.name, count)
            if claims:
                self._queues = [other for other in self._queues if other is not work] + [work]
                return work, claims
        with self._recorder.phase("wait", waits_for="actor"):
            return self._flow.work, self._flow.work.claim(self.name, count, CLAIM_TIMEOUT_S)

    def _grade(self, judge: Judge, work: WorkQueue, claims: list[Claim], stop: threading.Event) -> None:
        with self._lock:
            self._held_in, self._held = work, {claim.entry: claim for claim in claims}
        batch: list[tuple[Claim, TestSuite]] = []
        for claim in claims:
            try:
                batch.append((claim, self._suite(claim.program.problem_id)))
            except KeyError as error:
                self._flow.marker.check()  # where Redis has lost the tests no program is to blame
                self._nack(work, claim, f"its tests cannot be read: {error}")
            except ValueError as error:
                self._nack(work, claim, f"its tests cannot be read: {error}")
        hits = judge.hits
        with self._recorder.phase("grade"):
            try:
                for index, result in judged(judge, [(suite, claim.program) for claim, suite in batch], self._config):
                    claim = batch[index][0]
                    if isinstance(result, InfrastructureFailure):
                        self._nack(work, claim, result.reason)
                    else:
                        with self._lock:
                            self._ready.append((claim, result))
                    if stop.is_set():
                        break
            finally:
                self._ack_ready()
        self._recorder.count("cached", judge.hits - hits)
        with self._lock:
            left, self._held = list(self._held.values()), {}
        for claim in left:
            work.nack(self.name, claim, "the executor stops", tried=False)

    def _ack_ready(self) -> None:
        """Sends the verdicts that are ready; when it returns none of them is on its way.

        Those that could not be sent stay ready.
        """
        with self._sending:
            with self._lock:
                work, ready = self._held_in, list(self._ready)
            if not ready:
                return
            counted = work.ack_many(self.name, ready)
            with self._lock:
                del self._ready[: len(ready)]
                for claim, _ in ready:
                    self._held.pop(claim.entry, None)
            self._recorder.count("programs", len(ready))
            late = counted.count(False)
            if late:
                self._recorder.count("late_verdicts", late)  # another executor's came first

    def _nack(self, work: WorkQueue, claim: Claim, reason: str) -> None:
        log.warning("%s: program %s goes back to the queue: %s", self.name, claim.program.id, reason)
        work.nack(self.name, claim, reason)
        self._recorder.count("infrastructure_failures")
        with self._lock:
            self._held.pop(claim.entry, None)

    def _read_suite(self, problem_id: str) -> TestSuite:
        """Raises KeyError for tests that are not there, ValueError for others than were stored."""
        content_hash, data = self._flow.problems.suite(problem_id)
        if hash_of(data) != content_hash:
            raise ValueError(f"their content is not that of {content_hash}")
        return TestSuite.from_json(data)

    @contextmanager
    def _beside(self) -> Iterator[None]:
        """Keeps leases and hands over verdicts beside the loop, which may be at one program for long."""
        over = threading.Event()
        beat_s = self._flow.address.buffer.lease_s / 3  # so one missed beat does no harm
        jobs = [("lease", beat_s, self._renew_leases), ("verdicts", ACK_INTERVAL_S, self._ack_ready)]
        threads = [
            threading.Thread(target=self._repeat, args=(over, period_s, job), name=f"{self.name}-{name}", daemon=True)
            for name, period_s, job in jobs
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join(self._flow.address.timeout_s * 2)

    def _repeat(self, over: threading.Event, period_s: float, job: Callable[[], None]) -> None:
        while not over.wait(period_s):
            try:
                job()
            except Exception as failure:  # for the loop to raise: it cannot do without leases, nor without handing over
                self._failure = failure
                return

    def _renew_leases(self) -> None:
        """Refreshes what is held: without leases others would take what is graded here."""
        with self._lock:
            work, claims = self._held_in, list(self._held.values())
        if claims:
            work.renew(self.name, claims)
