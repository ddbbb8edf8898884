"""Reads what the workers of a run report and hands it on: to the state and to the run folder."""

from __future__ import annotations

import time

from rltf.buffer.flow import Flow
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.state import RunState
from rltf.telemetry.recorder import Row

_ARCHIVE_INTERVAL_S = 5.0
_GROUPS_PER_READ = 512
_MAX_READ_S = 1.0
"""Longest time that one `poll` reads samples for: where they come faster than they are written, everything else is
still heard."""
_CHECK_INTERVAL_S = 10.0
"""Between two checks of the ledger; one takes about 10 microseconds of the server's time for each group under way."""
_HEARTBEAT_INTERVAL_S = 10.0
"""Between two beats (`buffer.marker`): longer than what a server may lose with a power loss."""
_WITHOUT_VERDICT = ("queued", "executing", "dead_letter", "malformed")
"""Places and fates of programs that nobody has judged."""
CONFIRMING_CHECKS = 3
"""Checks in a row that find an imbalance before it counts as one that stays."""


class Watcher:
    """The driver's ear: `poll` a few times a second.

    It is in no sample's path; stopped for a while, it goes on where it was.

    What the buffer dropped meanwhile is counted in `lost`, by kind (rows, steps, samples). How far it has read is kept
    in the run folder once what it read is on disk, so that a later attempt goes on from there; a driver that is killed
    reads its last seconds again.
    """

    def __init__(self, flow: Flow, folder: RunFolder, state: RunState) -> None:
        self._flow = flow
        self._folder = folder
        self._state = state
        earlier = folder.progress()
        # A server that lost its last second with the machine may be behind what was read of it before.
        read = {"rows": 0, "steps": 0, "samples": 0} | earlier.get("position", {})
        self._position: dict[str, int] = {
            name: min(read[name], end) for name, end in flow.telemetry.positions().items()
        }
        self._kept = dict(self._position)
        self.lost: dict[str, int] = {"rows": 0, "steps": 0, "samples": 0} | earlier.get("lost", {})
        self._graded_earlier = self._graded_kept = int(earlier.get("graded", 0))
        state.earlier_seconds = float(earlier.get("rl_seconds", 0.0))
        self._archived_at = self._checked_at = self._beaten_at = float("-inf")
        flow.marker.beats = max(flow.marker.beats, int(earlier.get("beats", 0)))
        self._judged, self._written = -1, 0
        """Programs with a verdict, and those that were written when their number last changed."""
        self.imbalances = 0
        """Checks in a row that found an imbalance."""
        self.ledger_checks = int(earlier.get("ledger_checks", 0))
        """How often the ledger was compared with what the queue and the buffer hold, by all attempts together."""

    def read_earlier(self) -> None:
        """Takes in what the workers of an earlier attempt told and nobody read; what they were doing then is over."""
        while self._read_rows():
            pass
        self._state.forget_workers()

    def _read_rows(self) -> bool:
        """Takes in new telemetry; whether there was any."""
        rows = self._flow.telemetry.rows(self._position["rows"])
        self._state.fold(rows.items)
        self._folder.add_telemetry(rows.items)
        self._position["rows"] = rows.position
        self.lost["rows"] += rows.lost
        return bool(rows.items)

    def poll(self) -> list[Row]:
        """Takes in what is new and gives back the new step rows.

        Samples are read every 5 s, in larger pieces, or when there are many.

        Raises DataLost, before anything is read, when Redis no longer has what the run keeps there.
        """
        beat = time.monotonic() - self._beaten_at >= _HEARTBEAT_INTERVAL_S
        self._flow.marker.check(beat)
        if beat:
            self._beaten_at = time.monotonic()
        telemetry = self._flow.telemetry
        self._read_rows()
        steps = telemetry.steps(self._position["steps"])
        for row in steps.items:
            self._state.fold_step(row)
            self._folder.add_step(row)
        self._position["steps"] = steps.position
        self.lost["steps"] += steps.lost
        if steps.items or self._folder.telemetry_on_disk:
            self._keep()
        self._state.ledger = self._flow.ledger.counts()
        self._hear_actors()
        if self.imbalances or time.monotonic() - self._checked_at >= _CHECK_INTERVAL_S:
            self.check_ledger()
            self._folder.bound_logs()
        if phase := self._flow.control.phase():
            self._state.phase = phase
            self._folder.enter_phase(phase, time.time())
        hurry = self._flow.telemetry.archive_length() > self._flow.address.buffer.archive_capacity / 4
        if hurry or time.monotonic() - self._archived_at >= _ARCHIVE_INTERVAL_S:
            deadline = time.monotonic() + _MAX_READ_S
            while (more := self._read_samples()) and time.monotonic() < deadline:
                pass
            if not more:
                self._archived_at = time.monotonic()
            self._keep()
        return steps.items

    def _hear_actors(self) -> None:
        """What actors compute brings the run on until programs are written; then the next thing to come is a
        verdict, so that programs which are written and given up, time and again, keep no run going.
        """
        counts = (self._state.ledger, self._flow.ledger.counts("evaluation"))
        written = sum(each["generated"] for each in counts)
        judged = written - sum(each[name] for each in counts for name in _WITHOUT_VERDICT)
        if judged != self._judged:
            self._judged, self._written = judged, written
        if written == self._written:
            (self._state.actor_life,) = self._flow.control.heartbeats("actor")

    @property
    def graded(self) -> int:
        """Programs graded, by all attempts together."""
        return self._graded_earlier + int(self._state.total("executor", "programs"))

    def check_ledger(self) -> str | None:
        """None when the ledger balances, else what does not; kept as an event, the first time.

        Called every 10 s, several times a second after one that found something, whenever a part was started again, and
        at the end.
        """
        self._checked_at = time.monotonic()
        problem = self._flow.ledger.check()
        self.imbalances = self.imbalances + 1 if problem else 0
        self.ledger_checks += 1
        if problem is not None and problem != self._state.imbalance:
            self._folder.add_event({"time": time.time(), "event": "imbalance", "reason": problem})
        self._state.imbalance = problem or self._state.imbalance
        return problem

    def _keep(self) -> None:
        """Writes down how far this driver has read.

        Telemetry is held for a while before it is written: its position waits.
        """
        if self._folder.telemetry_on_disk:
            self._graded_kept = self.graded
        kept = self._position | ({} if self._folder.telemetry_on_disk else {"rows": self._kept["rows"]})
        if kept == self._kept:
            return
        self._kept = kept
        now = time.time()
        self._folder.write_progress(
            {
                "position": kept,
                "beats": self._flow.marker.beats,
                "lost": self.lost,
                "kept": self._folder.kept_samples,
                "graded": self._graded_kept,
                "ledger_checks": self.ledger_checks,
                "rl_seconds": self._state.rl_seconds(now),
                "phase_seconds": self._folder.phases.seconds_until(now),
            }
        )

    def finish(self) -> list[Row]:
        """Takes in everything that is left, once the workers have ended, programs without a fate too; gives back the
        step rows.
        """
        rows = self.poll()
        while True:
            before = dict(self._position)
            rows += self.poll()
            self._read_samples()
            if self._position == before:
                for left in self._flow.telemetry.under_way(_GROUPS_PER_READ):
                    self._folder.add_samples(left.items)
                    self.lost["samples"] += left.lost
                self._folder.flush()
                self._keep()
                return rows

    def _read_samples(self) -> bool:
        """One piece of the archive; whether there may be more.

        Asking for the next piece tells the buffer that this one is on disk.
        """
        archived = self._flow.telemetry.archived(self._position["samples"], _GROUPS_PER_READ)
        self._folder.add_samples(archived.items)
        moved = archived.position != self._position["samples"]
        self._position["samples"] = archived.position
        self.lost["samples"] += archived.lost
        return moved
