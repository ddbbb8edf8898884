"""What the run does now: telemetry rows folded into rates, waits and the newest figures of each role."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rltf.monitor.absence import Absence
from rltf.telemetry.declarations import METRICS
from rltf.telemetry.metrics import busy_phases
from rltf.telemetry.recorder import Row
from rltf.telemetry.vocabulary import PRODUCTS, Product, kind_of, outcome_shares, plural

_REMEMBERED = 32


class EtaEstimator:
    """Sees how far a piece of work is, time and again. Times are seconds on one clock, whichever."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)

    def update(self, time: float, done: float) -> None:
        """So much was done at that time.

        Work that is done again after a restart, or a clock that was set back, begins a new pace.
        """
        if self._seen and (done < self._seen[-1][1] or time < self._seen[-1][0]):
            self._seen.clear()
        if not self._seen or done > self._seen[-1][1]:
            self._seen.append((time, done))

    def seconds_left(self, total: float, now: float) -> float | None:
        """Seconds until `total` is done, the time since the last look taken off; None before it has moved twice.

        Once says little: steps of two kinds alternate.
        """
        if len(self._seen) < 3:
            return None
        (first, begun), (last, done) = self._seen[0], self._seen[-1]
        return max(0.0, (total - done) * (last - first) / (done - begun) - max(0.0, now - last))


PROGRESS_COUNTERS = (
    ("executor", "programs"),
    ("learner", "micro_batches"),
    ("learner", "samples"),
    ("learner", "supervised_programs"),
    ("learner", "warm_start_programs"),
)
"""Kind of worker and counter of what brings a run on: verdicts, and programs trained on or about to be."""
_WINDOW_S = 10.0
_GAP_S = 0.1
"""Waits of a worker that polls follow each other with less than this between them."""


@dataclass
class RoleState:
    """One worker as last heard of."""

    role: str
    doing: str = ""
    """Name of the phase it is in, or was in last."""
    waits_for: str | None = None
    """Part it waits for now; None: it works."""
    since: float = 0.0
    """When it began that (seconds since the epoch); waits for one part that follow each other at once are one."""
    noticed_at: float = 0.0
    """The same on the clock of the state, if it has one."""
    begun: float = 0.0
    """When its newest phase began."""
    open_since: float | None = None
    """When the phase began that it was last heard to be in and not yet heard to have left."""
    waited_until: float = 0.0
    """End of its newest ended wait."""
    gauges: dict[str, float] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    """Counters since the start."""
    waits: deque[tuple[float, float, str]] = field(default_factory=deque)
    """Ended waits of the last seconds: start, end, part waited for."""

    @property
    def kind(self) -> str:
        """`executor` for `executor-3`."""
        return kind_of(self.role)

    def enter(self, row: Row, now: float) -> None:
        """Takes over the phase of a `phase` or `now` row as the newest; `now`: on the clock of the state."""
        goes_on = row["waits_for"] is not None and row["waits_for"] == self.waits_for
        if not goes_on or (row["start"] != self.begun and row["start"] - self.waited_until > _GAP_S):
            self.since = row["start"]
            self.noticed_at = now
        self.doing, self.waits_for, self.begun = row["name"], row["waits_for"], row["start"]


@dataclass(frozen=True)
class Wait:
    """How much one kind of worker waited for another in the last seconds."""

    kind: str
    waits_for: str
    share: float
    """Of the time of all workers of that kind, 0 to 1."""


class RunState:
    """Folds rows in the order they come. Times are those in the rows, so a recorded run can be folded too.

    Those are times of day, which somebody may set: no figure depends on it for longer than the window, and the length
    of a wait not at all.
    """

    def __init__(self, window_s: float = _WINDOW_S, clock: Callable[[], float] | None = None) -> None:
        """`clock`: where a run is watched, a clock that nobody sets; no wait is told as longer than it was watched."""
        self._window_s = window_s
        self._clock = clock or (lambda: 0.0)
        self._watched = clock is not None
        # Only of what is shown as a rate, and so cut to the window time and again.
        self._counted: dict[tuple[str, str], deque[tuple[float, float]]] = {
            (what.kind, what.counter): deque() for what in PRODUCTS
        }
        self._first_heard: float | None = None
        self._step_times: dict[int, float] = {}
        self.roles: dict[str, RoleState] = {}
        self.phase = ""
        """Phase of the run as a whole (`buffer.control.Phase`)."""
        self.step: Row = {}
        """The newest step row."""
        self.held_out: dict[str, Row] = {}
        """The newest row of each held-out set, by name; the main one without one."""
        self.ledger: dict[str, int] = {}
        """Where the programs are now, by place or fate (queued, executing, waiting, buffered, trained ...)."""
        self.imbalance: str | None = None
        """What did not balance when the ledger was checked, once it has been so; the fault stays one if it balances
        later."""
        self.absent: dict[str, Absence] = {}
        """Workers that do not run, the learner as one, by name."""
        self.retired: set[str] = set()
        """Workers that were not needed any more and have left."""
        self.actor_life = 0
        """Heartbeats of actors that bring the run on (`monitor.watcher.Watcher`)."""
        self.training_since: float | None = None
        """When the first training program was begun, or the first training step where none is written: the zero of RL
        seconds."""
        self.earlier_seconds = 0.0
        """RL seconds of earlier attempts."""
        self.evaluation: tuple[int, int] | None = None
        """Programs of the evaluations under way: judged, asked for; None while there is none."""
        self._paces = {"warm_start": EtaEstimator(), "steps": EtaEstimator(), "evaluation": EtaEstimator()}

    def fold(self, rows: Iterable[Row]) -> None:
        """Takes in telemetry rows (telemetry.recorder.Recorder)."""
        for row in rows:
            role = self.roles.setdefault(row["role"], RoleState(row["role"]))
            time = row["end"] if row["kind"] == "phase" else row["time"]
            begun: float = row["start"] if "start" in row else time
            self._first_heard = begun if self._first_heard is None else min(self._first_heard, begun)
            match row["kind"]:
                case "phase":
                    self._fold_phase(role, row)
                case "now":
                    role.enter(row, self._clock())
                    role.open_since = row["start"]
                case "count":
                    role.totals[row["name"]] = role.totals.get(row["name"], 0) + row["value"]
                    if (role.kind, row["name"]) in self._counted:
                        self._counted[role.kind, row["name"]].append((time, row["value"]))
                case "gauge":
                    role.gauges[row["name"]] = row["value"]
                    if row["name"] == "warm_start_step":
                        self._paces["warm_start"].update(time, row["value"])
                case kind:
                    raise ValueError(f"a telemetry row of kind {kind!r}")

    def _fold_phase(self, role: RoleState, row: Row) -> None:
        if row["start"] == role.open_since:
            role.open_since = None
        if (
            row["start"] >= role.begun or row["end"] < role.begun
        ):  # an outer phase is no newer one; a clock may have been set back
            role.enter(row, self._clock())
        if row["waits_for"] is not None:
            role.waited_until = row["end"]
            role.waits.append((row["start"], row["end"], row["waits_for"]))
            while abs(role.waits[0][1] - row["end"]) > self._window_s:
                role.waits.popleft()
        elif row["name"] in busy_phases(role.kind):
            self.training_since = min(row["start"], self.training_since or row["start"])

    def fold_step(self, row: Row) -> None:
        """Takes in one row of metrics.jsonl.

        After a supervised step the figures of the last reinforcement step stay.
        """
        self.step = self.step | {"step": row["step"]} if "pass_rate" in self.step and "pass_rate" not in row else row
        if "time" in row:
            self._step_times[int(row["step"])] = float(row["time"])
            self._paces["steps"].update(float(row["time"]), int(row["step"]))

    def fold_evaluation(self, progress: tuple[int, int] | None, now: float) -> None:
        """Takes in how far the evaluations under way are."""
        if progress is None or (self.evaluation is not None and progress[1] != self.evaluation[1]):
            self._paces["evaluation"] = EtaEstimator()
        if progress is not None:
            self._paces["evaluation"].update(now, progress[0])
        self.evaluation = progress

    def forget_workers(self) -> None:
        """What the workers of an earlier attempt did last says nothing of those that run now; what they made still
        counts.
        """
        for role in self.roles.values():
            role.doing, role.waits_for, role.open_since, role.begun, role.waited_until = "", None, None, 0.0, 0.0
            role.waits.clear()
        self.training_since = None
        self._first_heard = None

    def rl_seconds(self, now: float) -> float:
        """Seconds since the first training program was begun (of a run without: the first training step), over all
        attempts; 0 before.
        """
        return self.earlier_seconds + (0.0 if self.training_since is None else max(0.0, now - self.training_since))

    def rl_seconds_of_step(self, step: int) -> float:
        """RL seconds at the end of a learner step (the x of a held-out curve), 0 for step 0.

        Raises KeyError for a step without row.

        Of a step of an earlier attempt, whose evaluation was not complete then: those at that attempt's end.
        """
        if step not in self._step_times and self.earlier_seconds:
            return self.earlier_seconds
        return 0.0 if step == 0 else self.rl_seconds(self._step_times[step])

    def warm_start(self) -> tuple[int, float] | None:
        """Steps of the warm start and its newest loss, as far as the learner has told; None before."""
        steps, losses = self._gauges("learner", "warm_start_step"), self._gauges("learner", "warm_start_loss")
        return (int(steps[0]), losses[0]) if steps and losses else None

    def progress(self) -> float:
        """Changes whenever the run gets anywhere (`PROGRESS_COUNTERS`, `actor_life`).

        Programs that are written and never judged are not that, nor are failures.
        """
        return self.actor_life + sum(self.total(kind, counter) for kind, counter in PROGRESS_COUNTERS)

    def total(self, kind: str, counter: str) -> float:
        """A counter summed over the workers of a kind, since the start."""
        return sum(role.totals.get(counter, 0) for role in self.roles.values() if role.kind == kind)

    def rate(self, product: Product, now: float) -> float:
        """What is made per second over the last seconds (10 unless set), all workers of the kind together."""
        counted = self._counted[product.kind, product.counter]
        while counted and abs(counted[0][0] - now) > self._window_s:
            counted.popleft()
        return sum(value for _, value in counted) / self._span_s(now) if counted else 0.0

    def _span_s(self, now: float) -> float:
        """Of the last seconds those that anything was heard of; all of them where the clock was set back since."""
        heard = self._window_s if self._first_heard is None else now - self._first_heard
        return self._window_s if heard < 0 else max(min(self._window_s, heard), 1.0)

    def rates(self, now: float) -> dict[str, float]:
        """Programs generated, graded and trained per second: {"generated": .., "graded": .., "trained": ..}."""
        return {product.verb: self.rate(product, now) for product in PRODUCTS}

    def policy_lag(self) -> float | None:
        """Policy versions between sampling and training: the newest batch's where its row tells, else learner's minus
        oldest actor's.
        """
        if "staleness" in self.step:
            return float(self.step["staleness"])
        learner, actors = self._gauges("learner", "version"), self._gauges("actor", "version")
        return max(learner) - min(actors) if learner and actors else None

    @property
    def stopped_early(self) -> int:
        """Evaluations without a better `evaluation.best_by` after which training has ended; 0 where it has not."""
        return int(max(self._gauges("learner", "stopped_early"), default=0))

    def _gauges(self, kind: str, name: str) -> list[float]:
        """The newest values of the workers of a kind."""
        return [role.gauges[name] for role in self.roles.values() if role.kind == kind and name in role.gauges]

    def numbers(self, now: float) -> dict[str, float]:
        """The status line's numbers by name: the step's that are declared to have a piece there, and those of `run`."""
        names = [metric.name for metric in METRICS["step"] if metric.line]
        numbers = {name: self.step[name] for name in names if isinstance(self.step.get(name), int | float)}
        numbers |= {f"{verb}_per_second": rate for verb, rate in self.rates(now).items()}
        numbers["ledger_balances"] = self.imbalance is None
        numbers |= {f"ledger_{name}": count for name, count in self.ledger.items()}
        numbers |= {f"share_{name}": share for name, share in outcome_shares(self.step.get("outcomes", {})).items()}
        numbers |= {f"wait_share_{wait.kind}_for_{wait.waits_for}": wait.share for wait in self.waits(now)}
        for name, row in self.held_out.items():
            of = f"_{name}" if name else ""
            numbers |= {f"held_out_pass_at_1{of}": row["pass@1"], f"held_out_step{of}": row["step"]}
        if (lag := self.policy_lag()) is not None:
            numbers["policy_lag"] = lag
        return {name: float(value) for name, value in numbers.items()}

    def waits(self, now: float) -> list[Wait]:
        """Who waited for whom over the last seconds, the largest share first."""
        seconds: dict[tuple[str, str], float] = defaultdict(float)
        members: dict[str, int] = defaultdict(int)
        begin = now - self._window_s
        for role in self._present():
            members[role.kind] += 1
            spans = [(max(start, begin), min(end, now), part) for start, end, part in role.waits]
            if role.waits_for is not None and role.open_since is not None:
                spans.append((max(role.open_since, begin), now, role.waits_for))
            for start, end, part in spans:
                seconds[role.kind, part] += max(0.0, end - start)
        span = self._span_s(now)
        waits = [Wait(kind, part, min(1.0, value / (members[kind] * span))) for (kind, part), value in seconds.items()]
        return sorted(waits, key=lambda wait: (-wait.share, wait.kind, wait.waits_for))

    def _present(self) -> list[RoleState]:
        """The roles whose workers run: what was last heard of another is no wait."""
        gone = self.absent.keys() | self.retired
        return [role for role in self.roles.values() if role.role not in gone and role.kind not in gone]

    def waits_in_words(self, now: float, least: float = 0.05) -> str:
        """ "learner waits for actors 31%, executors wait for actors 60%", shares of the last seconds; waits below
        `least` are left out.
        """
        return ", ".join(self.wait_in_words(wait) for wait in self.waits(now) if wait.share >= least) or "nobody waits"

    def wait_in_words(self, wait: Wait) -> str:
        """ "learner waits for actors 31%"."""
        number = sum(role.kind == wait.kind for role in self.roles.values())
        part = plural(wait.waits_for, sum(role.kind == wait.waits_for for role in self.roles.values()) or 1)
        return f"{plural(wait.kind, number)} {'waits' if number == 1 else 'wait'} for {part} {wait.share:.0%}"

    def longest_wait(self, now: float) -> tuple[RoleState, float] | None:
        """The worker that has waited longest without a break, and for how many seconds; None when nobody waits."""
        waiting = [role for role in self._present() if role.waits_for is not None]
        if not waiting:
            return None
        watched = self._clock()
        seconds = {
            role.role: min(now - role.since, watched - role.noticed_at) if self._watched else now - role.since
            for role in waiting
        }
        longest = max(waiting, key=lambda role: seconds[role.role])
        return longest, max(0.0, seconds[longest.role])

    def seconds_left(self, what: str, total: float, now: float) -> float | None:
        """Until the work is done at its present pace: `warm_start` and `steps` of `total`, `evaluation`; None where
        that is not known.
        """
        return self._paces[what].seconds_left(total, now)
