"""The judge of this machine: sandboxed lanes that grade programs, and a memory of what has been graded.

No Ray, no Redis, no torch.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import traceback
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NamedTuple, Self

from rltf.buffer.records import Feedback
from rltf.config import ExecutorConfig
from rltf.executor.boxes import remove_boxes
from rltf.executor.checkers import CheckerFailure
from rltf.executor.grading import Grader
from rltf.executor.isolation import Tier
from rltf.executor.judge import InfrastructureFailure, Judge
from rltf.executor.labels import sanitize
from rltf.executor.lane import TIERS, Lane
from rltf.executor.packages import DEFAULT
from rltf.executor.protocol import LaneFailure
from rltf.executor.scripts import Script, run_script
from rltf.executor.sites import imports_for
from rltf.executor.special_judge import SpecialJudge
from rltf.executor.suites import ReadySuite, make_ready
from rltf.executor.together.grader import TogetherGrader
from rltf.problems.problem import TestSuite

MAX_CACHED_FEEDBACKS = 20_000
MAX_CACHED_SUITES, MAX_CACHED_SUITE_BYTES = 4_096, 512 << 20
MAX_TRACEBACK_CHARS = 10_000
"""Characters of a failed grading's traceback that are logged."""

UNPROVED = "its tests assert nothing, so to pass them proves nothing (executor.unproved_tests true: they count)"
Key = tuple[str, bytes]
"""What a verdict is remembered by: hash of the tests with their limits, hash of the program's exact text. Limits that a
suite does not name and the executor's version are the same throughout a judge's life."""

log = logging.getLogger(__name__)


class _Lanes(NamedTuple):
    """Lanes of which one works at a time. Those after the first start when they are needed.

    Loading numpy takes a program thirty times as long as all else; having it loaded makes each fork a tenth dearer.
    """

    plain: Lane
    with_packages: Lane
    checker: Lane
    """Runs no program, but the checkers that problems have of their own."""


class SandboxJudge(Judge):
    """Grades programs on `lanes` sandboxed processes. Used by one thread; as a context manager it ends them."""

    def __init__(
        self,
        lanes: int,
        time_limit_s: float,
        memory_limit_mb: int,
        *,
        tiers: Sequence[Tier] = TIERS,
        python: str = "",
        packages: tuple[str, ...] = DEFAULT,
        hash_seed: int = 0,
        unproved_tests: bool = False,
    ) -> None:
        """Starts the first lane; each other one starts when a program comes while those that run are busy.

        Args:
            lanes: programs that run at the same time.
            time_limit_s: CPU seconds per test where a suite names no limit.
            memory_limit_mb: MiB per program where a suite names no limit.
            tiers: of isolation, the first that this machine allows is taken; "none" as the last runs programs whatever
                it allows.
            python: the interpreter that programs run on; empty: the one that runs this.
            packages: what programs may import beside the standard library (`executor.packages`).
            hash_seed: PYTHONHASHSEED of the programs.
            unproved_tests: whether programs are judged by tests that assert nothing.

        Raises:
            LaneFailure: a lane does not start at all on this machine; NoSandbox, one, where none of the tiers can be
                had.

        """
        self._time_limit_s, self._memory_limit_mb = time_limit_s, memory_limit_mb
        self._unproved_tests = unproved_tests
        self._lanes: queue.LifoQueue[_Lanes] = queue.LifoQueue()
        """Those that are free; one that has run already comes before one that has not started."""

        def lane(preload: bool) -> Lane:
            return Lane(tiers, python=python, packages=packages, preload=preload, hash_seed=hash_seed)

        self._all = [_Lanes(plain=lane(False), with_packages=lane(True), checker=lane(False)) for _ in range(lanes)]
        self._threads = ThreadPoolExecutor(lanes, thread_name_prefix="lane") if lanes > 1 else None
        self._suites: OrderedDict[int, tuple[ReadySuite, int]] = OrderedDict()
        self._suite_bytes = 0
        """Of the tests that are kept, as JSON; the second of each pair."""
        self._feedbacks: OrderedDict[Key, Feedback] = OrderedDict()
        self._together: OrderedDict[str, ReadySuite | None] = OrderedDict()
        """By hash the suites of programs that failed the other way over an object of their own."""
        self._named: OrderedDict[str, bool] = OrderedDict()
        """Whether a suite's own code may import a package, by its hash."""
        self._given_up = False
        """Whether what runs is ended in its middle, or a lane while it starts: neither is worth a word."""
        self.restarts = 0
        """Lanes that broke and were started anew."""
        remove_boxes()  # of judges that were killed
        try:
            self._all[0].plain.start()
        except BaseException:
            self.close()
            raise
        for pair in reversed(self._all):
            self._lanes.put(pair)

    @classmethod
    def from_config(cls, config: ExecutorConfig | None = None, lanes: int | None = None, hash_seed: int = 0) -> Self:
        """See Judge."""
        config = config or ExecutorConfig()
        tiers: tuple[Tier, ...] = (*TIERS, "none") if config.unsafe else TIERS
        count = config.lanes if lanes is None else lanes
        return cls(
            count,
            config.time_limit_s,
            config.memory_limit_mb,
            tiers=tiers,
            python=config.python,
            packages=config.packages,
            hash_seed=hash_seed,
            unproved_tests=config.unproved_tests,
        )

    @property
    def lanes(self) -> int:
        """Programs that run at the same time."""
        return len(self._all)

    @property
    def tier(self) -> Tier:
        """The isolation tier in force."""
        return self._all[0].plain.tier

    @property
    def layers(self) -> dict[str, str]:
        """Isolation layer -> "on", or "off: reason"."""
        return self._all[0].plain.layers

    @property
    def missing_packages(self) -> tuple[str, ...]:
        """Those of `executor.packages` that are not installed."""
        return self._all[0].plain.packages.missing

    @property
    def python_version(self) -> str:
        """Version of the interpreter that programs run on."""
        return self._all[0].plain.python_version

    def grade_each(
        self, work: Sequence[tuple[TestSuite, str]]
    ) -> Iterator[tuple[int, Feedback | InfrastructureFailure]]:
        """See Judge. Equal programs of equal suites are graded once."""
        places: dict[Key, list[int]] = {}
        readies: dict[Key, tuple[ReadySuite, str]] = {}
        for index, (suite, program) in enumerate(work):
            try:
                ready = self._ready(suite)
            except ValueError as error:
                yield index, InfrastructureFailure(f"the test suite cannot be used: {error}")
                continue
            if ready.plan is not None and not ready.plan.sites and not self._unproved_tests:
                yield index, InfrastructureFailure(UNPROVED, of_problem=True)
                continue
            # By hash, for texts may be megabytes long and outlive their programs here.
            key = (ready.suite_hash, hashlib.blake2b(program.encode("utf-8", "surrogatepass"), digest_size=32).digest())
            known = self._feedbacks.get(key)
            if known is not None:
                self._feedbacks.move_to_end(key)
                self.hits += 1
                yield index, known
                continue
            places.setdefault(key, []).append(index)
            readies[key] = (ready, program)
        for key, result in self._run_all(readies):
            if isinstance(result, Feedback):
                self._feedbacks[key] = result
                if len(self._feedbacks) > MAX_CACHED_FEEDBACKS:
                    self._feedbacks.popitem(last=False)
            self.hits += len(places[key]) - 1
            for index in places[key]:
                yield index, result

    def _run_all(
        self, readies: dict[Key, tuple[ReadySuite, str]]
    ) -> Iterator[tuple[Key, Feedback | InfrastructureFailure]]:
        if self._threads is None:
            for key, (ready, program) in readies.items():
                yield key, self._run(ready, program)
            return
        futures = {self._threads.submit(self._run, ready, program): key for key, (ready, program) in readies.items()}
        try:
            for future in as_completed(futures):  # bounded: each run is, by its lane
                yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()  # those that have not begun, if nobody wants the rest

    def _run(self, ready: ReadySuite, program: str) -> Feedback | InfrastructureFailure:
        """Grades on a free lane; after a failure the lane is started anew and the program gets one more try."""
        pair = self._lanes.get()
        lane = pair.with_packages if self._needs_packages(ready, program) else pair.plain
        reasons: list[str] = []
        try:
            for _ in range(2):
                try:
                    return self._graded(lane, ready, program, pair.checker)
                except CheckerFailure as failure:
                    # After the lane's work, and it would fail again.
                    return InfrastructureFailure(str(failure), of_problem=True)
                except LaneFailure as failure:
                    reasons.append(str(failure))
                    if self._given_up:
                        break
                    log.warning("lane started anew: %s", failure)
                except Exception as error:
                    # Whatever a program brought about that nobody foresaw, others' programs are to be graded. The lane
                    # may be in the middle of a request, and the error's text may be the program's.
                    reasons.append(sanitize(f"grading failed with {type(error).__name__}: {error}"))
                    log.error(
                        "lane started anew, grading failed: %s",
                        sanitize("".join(traceback.format_exception(error)), MAX_TRACEBACK_CHARS),
                    )
                self.restarts += 1
                lane.stop()
            return InfrastructureFailure("; then ".join(reasons))
        finally:
            self._lanes.put(pair)

    def _graded(self, lane: Lane, ready: ReadySuite, program: str, checker: Lane) -> Feedback:
        """The verdict; of a program that fails over an object that only its own process can compare, the one that its
        tests come to there.
        """
        limits = (ready.suite.time_limit_s or self._time_limit_s, ready.suite.memory_limit_mb or self._memory_limit_mb)
        if ready.suite.checker_code:
            return Grader(lane, ready, program, *limits, SpecialJudge(checker, ready, limits[1])).grade()
        grader = (TogetherGrader if ready.mode == "together" else Grader)(lane, ready, program, *limits)
        feedback = grader.grade()
        together = self._together_of(ready) if grader.odd else None
        return feedback if together is None else TogetherGrader(lane, together, program, *limits).grade()

    def _together_of(self, ready: ReadySuite) -> ReadySuite | None:
        """The suite for programs that share a process with its tests; None where that is not to be, or cannot be."""
        if ready.mode == "together" or ready.suite.way == "split":
            return None
        if ready.suite_hash not in self._together:
            try:
                found = make_ready(ready.suite, together=True)
                usable = found.plan is not None and (found.plan.sites or self._unproved_tests)
            except ValueError:
                usable = False
            self._together[ready.suite_hash] = found if usable else None
            if len(self._together) > MAX_CACHED_SUITES:
                self._together.popitem(last=False)
        return self._together[ready.suite_hash]

    def _needs_packages(self, ready: ReadySuite, program: str) -> bool:
        """Whether the program, or what runs beside it, may import one of the packages."""
        packages = self._all[0].plain.packages
        known = self._named.get(ready.suite_hash)
        if known is None:
            code = (ready.suite.setup, ready.suite.prelude, *ready.suite.asserts)
            known = self._named[ready.suite_hash] = any(map(packages.named_in, code))
            if len(self._named) > MAX_CACHED_SUITES:
                self._named.popitem(last=False)
        return known or packages.named_in(program) or imports_for(program, ready.suite.site)

    def _ready(self, suite: TestSuite) -> ReadySuite:
        # By identity, for a content hash costs as much as a short program's grading; an entry keeps its suite alive and
        # so its id.
        found = self._suites.get(id(suite))
        if found is None:
            found = self._suites[id(suite)] = make_ready(suite), len(suite.to_json())
            self._suite_bytes += found[1]
            while len(self._suites) > MAX_CACHED_SUITES or self._suite_bytes > MAX_CACHED_SUITE_BYTES:
                self._suite_bytes -= self._suites.popitem(last=False)[1][1]
        else:
            self._suites.move_to_end(id(suite))
        return found[0]

    def run_script(self, program: str, stdin: str, time_limit_s: float, memory_limit_mb: int | None = None) -> Script:
        """Runs a program without tests (`executor.scripts`). Raises LaneFailure when its lane broke.

        `memory_limit_mb` None: the judge's own.
        """
        lanes = self._lanes.get()
        try:
            lane = lanes.with_packages if lanes.plain.packages.named_in(program) else lanes.plain
            return run_script(lane, program, stdin, time_limit_s, memory_limit_mb or self._memory_limit_mb)
        finally:
            self._lanes.put(lanes)

    def lanes_cpu_s(self) -> float:
        """CPU seconds that the lanes have used since they started, with all programs that they have finished."""
        return sum(lane.cpu_s() for pair in self._all for lane in pair)

    def abort(self) -> None:
        """See Judge."""
        self._given_up = True
        for lanes in self._all:
            for lane in lanes:
                lane.abort()

    def close(self, at_once: bool = False) -> None:
        """Ends the lanes, `at_once` in the middle of what they run."""
        if at_once:
            self.abort()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=at_once)
        for pair in self._all:
            for lane in pair:
                lane.stop()
