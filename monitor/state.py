"""What the run does now: telemetry rows folded into rates, waits and the newest figures of each role."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from monitor.metrics import Row
from monitor.vocabulary import PRODUCTS, Product, kind_of, outcome_shares, plural, starts_training

MOVES = (("executor", "programs"), ("learner", "samples"), ("learner", "supervised_programs"), ("learner", "warm_start_programs"))
"""Kind of worker and counter of what brings a run on: verdicts and programs trained on."""
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
    begun: float = 0.0
    """When its newest phase began."""
    open_since: float | None = None
    """When the phase began that it was last heard to be in and not yet heard to have left."""
    waited_until: float = 0.0
    """End of its newest ended wait."""
    heard_at: float = 0.0
    gauges: dict[str, float] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    """Counters since the start."""
    waits: deque[tuple[float, float, str]] = field(default_factory=deque)
    """Ended waits of the last seconds: start, end, part waited for."""

    @property
    def kind(self) -> str:
        """`executor` for `executor-3`."""
        return kind_of(self.role)

    def enter(self, row: Row) -> None:
        """Takes over the phase of a `phase` or `now` row as the newest."""
        goes_on = row["waits_for"] is not None and row["waits_for"] == self.waits_for
        if not goes_on or (row["start"] != self.begun and row["start"] - self.waited_until > _GAP_S):
            self.since = row["start"]
        self.doing, self.waits_for, self.begun = row["name"], row["waits_for"], row["start"]


@dataclass(frozen=True)
class Wait:
    """How much one kind of worker waited for another in the last seconds."""

    kind: str
    waits_for: str
    share: float
    """Of the time of all workers of that kind, 0 to 1."""


class RunState:
    """Folds rows in the order they come. Times are those in the rows, so a recorded run can be folded too."""

    def __init__(self, window_s: float = _WINDOW_S) -> None:
        self._window_s = window_s
        # Only of what is shown as a rate, and so cut to the window time and again.
        self._counted: dict[tuple[str, str], deque[tuple[float, float]]] = {(what.kind, what.counter): deque() for what in PRODUCTS}
        self._first_heard: float | None = None
        self._step_times: dict[int, float] = {}
        self.roles: dict[str, RoleState] = {}
        self.phase = ""
        """Phase of the run as a whole (`buffer.control.Phase`)."""
        self.step: Row = {}
        """The newest step row."""
        self.held_out: Row = {}
        """The newest held-out row."""
        self.ledger: dict[str, int] = {}
        """Where the programs are now, by place or fate (queued, executing, waiting, buffered, trained ...)."""
        self.imbalance: str | None = None
        """What did not balance when the ledger was checked, once it has been so; the fault stays one if it balances later."""
        self.training_since: float | None = None
        """When the first training program was begun, or the first training step where none is written: the zero of RL seconds."""
        self.earlier_seconds = 0.0
        """RL seconds of earlier attempts."""

    def fold(self, rows: Iterable[Row]) -> None:
        """Takes in telemetry rows (monitor.metrics.Recorder)."""
        for row in rows:
            role = self.roles.setdefault(row["role"], RoleState(row["role"]))
            time = row["end"] if row["kind"] == "phase" else row["time"]
            role.heard_at = max(role.heard_at, time)
            begun: float = row["start"] if "start" in row else time
            self._first_heard = begun if self._first_heard is None else min(self._first_heard, begun)
            match row["kind"]:
                case "phase":
                    self._fold_phase(role, row)
                case "now":
                    role.enter(row)
                    role.open_since = row["start"]
                case "count":
                    role.totals[row["name"]] = role.totals.get(row["name"], 0) + row["value"]
                    if (role.kind, row["name"]) in self._counted:
                        self._counted[role.kind, row["name"]].append((time, row["value"]))
                case "gauge":
                    role.gauges[row["name"]] = row["value"]
                case kind:
                    raise ValueError(f"a telemetry row of kind {kind!r}")

    def _fold_phase(self, role: RoleState, row: Row) -> None:
        if row["start"] == role.open_since:
            role.open_since = None
        if row["start"] >= role.begun:
            role.enter(row)
        if row["waits_for"] is not None:
            role.waited_until = row["end"]
            role.waits.append((row["start"], row["end"], row["waits_for"]))
            while role.waits and role.waits[0][1] < role.heard_at - self._window_s:
                role.waits.popleft()
        elif starts_training(role.kind, row["name"]):
            self.training_since = min(row["start"], self.training_since or row["start"])

    def fold_step(self, row: Row) -> None:
        """Takes in one row of metrics.jsonl. After a supervised step the figures of the last reinforcement step stay."""
        self.step = self.step | {"step": row["step"]} if "pass_rate" in self.step and "pass_rate" not in row else row
        if "time" in row:
            self._step_times[int(row["step"])] = float(row["time"])

    def fold_held_out(self, row: Row) -> None:
        """Takes in one row of held_out.jsonl."""
        self.held_out = row

    def fold_ledger(self, counts: Mapping[str, int]) -> None:
        """Takes in the ledger's counts."""
        self.ledger = dict(counts)

    def rl_seconds(self, now: float) -> float:
        """Seconds since the first training program was begun (of a run without: the first training step), over all attempts; 0 before."""
        return self.earlier_seconds + (0.0 if self.training_since is None else max(0.0, now - self.training_since))

    def rl_seconds_of_step(self, step: int) -> float:
        """RL seconds at the end of a learner step (the x of a held-out curve), 0 for step 0. Raises KeyError for a step without row.

        Of a step of an earlier attempt, whose evaluation was not complete then: those at that attempt's end.
        """
        if step not in self._step_times and self.earlier_seconds:
            return self.earlier_seconds
        return 0.0 if step == 0 else self.rl_seconds(self._step_times[step])

    def warm_start(self) -> tuple[int, float] | None:
        """Steps of the warm start and its newest loss, as far as the learner has told; None before."""
        for role in self.roles.values():
            if role.kind == "learner" and "warm_start_step" in role.gauges:
                return int(role.gauges["warm_start_step"]), role.gauges["warm_start_loss"]
        return None

    def progress(self) -> float:
        """Changes whenever the run gets anywhere (`MOVES`). Programs that are written and never judged are not that, nor are failures."""
        return sum(self.total(kind, counter) for kind, counter in MOVES)

    def total(self, kind: str, counter: str) -> float:
        """A counter summed over the workers of a kind, since the start."""
        return sum(role.totals.get(counter, 0) for role in self.roles.values() if role.kind == kind)

    def rate(self, product: Product, now: float) -> float:
        """What is made per second over the last seconds (10 unless set), all workers of the kind together."""
        counted = self._counted[product.kind, product.counter]
        while counted and counted[0][0] < now - self._window_s:
            counted.popleft()
        if not counted or self._first_heard is None:
            return 0.0
        return sum(value for _, value in counted) / max(min(self._window_s, now - self._first_heard), 1.0)

    def rates(self, now: float) -> dict[str, float]:
        """Programs generated, graded and trained per second: {"generated": .., "graded": .., "trained": ..}."""
        return {product.verb: self.rate(product, now) for product in PRODUCTS}

    def policy_lag(self) -> float | None:
        """Policy versions between sampling and training: the newest batch's where its row tells, else learner's minus oldest actor's."""
        if "staleness" in self.step:
            return float(self.step["staleness"])
        learner = [role.gauges["version"] for role in self.roles.values() if role.kind == "learner" and "version" in role.gauges]
        actors = [role.gauges["version"] for role in self.roles.values() if role.kind == "actor" and "version" in role.gauges]
        return max(learner) - min(actors) if learner and actors else None

    def numbers(self, now: float) -> dict[str, float]:
        """The status line's numbers by name, for Ray's metrics (step, loss, pass_rate, policy_lag, held_out_pass_at_1, rates, ...)."""
        numbers = {f"{verb}_per_second": rate for verb, rate in self.rates(now).items()}
        numbers |= {name: float(self.step[name]) for name in ("step", "loss", "pass_rate") if name in self.step}
        numbers["ledger_balances"] = float(self.imbalance is None)
        numbers |= {f"ledger_{name}": float(count) for name, count in self.ledger.items()}
        numbers |= {f"share_{outcome}": share for outcome, share in outcome_shares(self.step.get("outcomes", {})).items()}
        numbers |= {f"wait_share_{wait.kind}_for_{wait.waits_for}": wait.share for wait in self.waits(now)}
        if "pass@1" in self.held_out:
            numbers["held_out_pass_at_1"] = float(self.held_out["pass@1"])
        if (lag := self.policy_lag()) is not None:
            numbers["policy_lag"] = lag
        return numbers

    def waits(self, now: float) -> list[Wait]:
        """Who waited for whom over the last seconds, the largest share first."""
        seconds: dict[tuple[str, str], float] = defaultdict(float)
        members: dict[str, int] = defaultdict(int)
        begin = now - self._window_s
        for role in self.roles.values():
            members[role.kind] += 1
            spans = [(max(start, begin), min(end, now), part) for start, end, part in role.waits]
            if role.waits_for is not None and role.open_since is not None:
                spans.append((max(role.open_since, begin), now, role.waits_for))
            for start, end, part in spans:
                seconds[role.kind, part] += max(0.0, end - start)
        span = self._window_s if self._first_heard is None else max(min(self._window_s, now - self._first_heard), 1.0)
        waits = [Wait(kind, part, min(1.0, value / (members[kind] * span))) for (kind, part), value in seconds.items()]
        return sorted(waits, key=lambda wait: (-wait.share, wait.kind, wait.waits_for))

    def waits_in_words(self, now: float, least: float = 0.05) -> str:
        """ "learner waits for actors 31%, executors wait for actors 60%", shares of the last seconds; waits below `least` are left out."""
        phrases = []
        for wait in self.waits(now):
            if wait.share >= least:
                number = sum(role.kind == wait.kind for role in self.roles.values())
                part = plural(wait.waits_for, sum(role.kind == wait.waits_for for role in self.roles.values()) or 1)
                phrases.append(f"{plural(wait.kind, number)} {'waits' if number == 1 else 'wait'} for {part} {wait.share:.0%}")
        return ", ".join(phrases) or "nobody waits"

    def longest_wait(self, now: float) -> tuple[RoleState, float] | None:
        """The worker that has waited longest without a break, and for how many seconds; None when nobody waits."""
        waiting = [role for role in self.roles.values() if role.waits_for is not None]
        if not waiting:
            return None
        longest = min(waiting, key=lambda role: role.since)
        return longest, now - longest.since
