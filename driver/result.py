"""How an attempt of a run ends: what its workers left behind, result.json, the report and the end table."""

from __future__ import annotations

from typing import Any

from rltf.buffer.connection import DataLost, ServerError, ServerLost
from rltf.buffer.work_queue import DeadLetter
from rltf.config import disk_sentence, first_line, run_files
from rltf.driver.attempt import Attempt
from rltf.driver.failures import collecting_failures
from rltf.learner.export import write_card
from rltf.monitor.examples import as_rows
from rltf.monitor.report import write_report
from rltf.monitor.report_fates import MAX_DEAD_LETTERS, data_loss_warnings, dead_letter_rows
from rltf.monitor.status import print_end
from rltf.telemetry.vocabulary import without_better


class Result:
    """What is known of an attempt once it has ended."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self.reachable = True
        """Whether Redis answers, and has what the run keeps there."""
        self._imbalance: str | None = (
            "it is not known whether the ledger balances; what is shown of Redis is the last that was seen"
        )
        self._dead_letters: list[DeadLetter] = []
        self._buffer_events: dict[str, int] = {}
        """What happened in the buffer that is no fate (`buffer.ledger.Ledger.events`)."""

    def read_the_rest(self) -> None:
        """Takes in what the ended workers left behind in Redis.

        Where Redis is gone the report says so beside the reason for the run's end.
        """
        attempt, flow = self._attempt, self._attempt.flow
        if not self.reachable or (attempt.redis is not None and not attempt.redis.running):
            return
        try:
            attempt.held_out.close()
            attempt.watcher.finish()
            self._imbalance = attempt.watcher.check_ledger() or attempt.state.imbalance
            attempt.state.ledger = flow.ledger.counts()
            self._buffer_events = flow.ledger.events()
            for work in (flow.work, flow.evaluation_work):
                self._dead_letters += work.dead_letters(MAX_DEAD_LETTERS)
            flow.marker.release()
        except (ServerLost, ServerError, DataLost) as error:
            self._imbalance = f"it is not known whether the ledger balances: {first_line(error)}"
        except OSError as error:
            sentence = disk_sentence(error, attempt.folder.path)
            self._imbalance = f"it is not known whether the ledger balances: {sentence}"
            raise

    def report(self) -> None:
        """Writes result.json, report.md with its pictures, and the end table. On a full disk whatever of it can be
        written is.

        Raises the first OSError or DiskFailure of them.
        """
        attempt, folder = self._attempt, self._attempt.folder
        if attempt.goes_on and not folder.config_kept and folder.result():
            folder.close()  # what the attempt before left, which came further, stays
            return
        failures: list[Exception] = []
        warnings = self._warnings()
        with collecting_failures(failures):
            folder.close()
        if clipped := attempt.clip.warning:
            warnings.append(clipped)
        result = self._values(warnings)
        with collecting_failures(failures):
            folder.write_result(result)
        if result["finished"] and (export := folder.path / run_files.EXPORT).is_dir():
            facts = {"steps": result["steps"], "held_out": result["held_out"]}
            facts |= {"samples": attempt.state.ledger.get("trained", 0), "code_version": attempt.code_version}
            facts |= {"run": folder.name, "prompt": attempt.inputs.prompt}
            with collecting_failures(failures):
                write_card(export, attempt.config, facts)
        with collecting_failures(failures):
            write_report(folder)
        print_end(attempt.console, result, str(folder.path))
        if failures:
            raise failures[0]

    def _warnings(self) -> list[str]:
        found = [self._imbalance] if self._imbalance else []
        found += data_loss_warnings(self._attempt.folder, self._attempt.watcher.lost, self._dead_letters)
        return found + list(self._attempt.inputs.warnings)

    def _values(self, warnings: list[str]) -> dict[str, Any]:
        """What result.json says."""
        attempt, state, folder = self._attempt, self._attempt.state, self._attempt.folder
        return {
            "held_out": attempt.held_out.result(),
            "curve": attempt.held_out.curve(),
            "steps": int(state.step.get("step", attempt.steps_before)),
            "samples": attempt.watcher.graded,
            "versions": int(max((role.gauges.get("version", -1) for role in state.roles.values()), default=-1)) + 1,
            "seconds": folder.phases.seconds,
            "ledger": state.ledger,
            "ledger_checks": attempt.watcher.ledger_checks,
            "imbalance": state.imbalance,
            "buffer_events": self._buffer_events,
            "objective": attempt.config.learner.objective,
            "examples": as_rows(attempt.held_out.examples()),
            "warnings": warnings,
            "left_out": [
                {"set": name, "problem": skipped.where, "reason": skipped.reason}
                for name, skipped in attempt.inputs.left_out
            ],
            "dead_letters": dead_letter_rows(self._dead_letters),
            "attempts": folder.attempts(),
            "restarts": folder.restarts(),
            "finished": state.phase == "done",
        } | self._early_end()

    def _early_end(self) -> dict[str, str]:
        """Why training ended before its last step, where the evaluations ended it."""
        evaluations = self._attempt.state.stopped_early
        by = self._attempt.config.evaluation.best_by
        return {"stopped_early": without_better(by, evaluations)} if evaluations else {}
