"""One run, from its first actor to its report: wiring, watching, stopping, result."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from contextlib import ExitStack, closing, suppress
from functools import partial
from typing import Any

from rich.console import Console

from rltf.buffer.connection import DataLost, ServerError, ServerLost
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.ledger import in_words
from rltf.buffer.stall_clock import StallClock
from rltf.buffer.work_queue import DeadLetter
from rltf.config import Config, disk_sentence, first_line, run_files
from rltf.driver import RunFailed, continuing
from rltf.driver.failures import noted
from rltf.driver.held_out import HeldOutBook
from rltf.driver.inputs import Inputs
from rltf.driver.installed import code_version
from rltf.driver.kinds import Kinds
from rltf.driver.parts import MARGIN_S, STOP_LEARNER_S, Parts
from rltf.driver.ray_calls import ANSWER_S, KILL_S, RayCalls
from rltf.driver.ray_cluster import node_address
from rltf.driver.redis_keeper import RedisKeeper
from rltf.driver.stopping import stopping
from rltf.driver.supervisor import START_TIMEOUT_S, Supervisor
from rltf.learner.checkpoint import Checkpoint
from rltf.learner.export import write_card
from rltf.learner.task import LearnerTask
from rltf.monitor.absent import write_absent
from rltf.monitor.clipping import clip_watch
from rltf.monitor.examples import as_rows
from rltf.monitor.losses import MOST_LETTERS, letter_rows, losses
from rltf.monitor.ray_metrics import RaySink
from rltf.monitor.report import write_report
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.state import RunState
from rltf.monitor.status import print_end
from rltf.monitor.status_line import Goal, StatusLine
from rltf.monitor.watcher import CONFIRMED, Watcher
from rltf.telemetry.console import warn

_POLL_S = 0.25
_LOOK_S = 1.0
"""Between two looks at workers that do not run, for which Ray's head is asked."""


class Run:
    """One run from its first actor to its report."""

    def __init__(
        self,
        config: Config,
        inputs: Inputs,
        folder: RunFolder,
        console: Console,
        stack: ExitStack,
        calls: RayCalls,
        start_timeout_s: float,
        kinds: Kinds,
        saved: Checkpoint | None,
    ) -> None:
        """`stack`: ends what is started here, after everything else; `start_timeout_s`: longest wait for a worker's
        process.

        `saved`: the checkpoint to go on from. Raises UserError where the run cannot go on.
        """
        self._config = config
        self._inputs = inputs
        self._clip = clip_watch(config)
        self._folder = folder
        self._console = console
        self._calls = calls
        self._start_timeout_s = start_timeout_s
        self._kinds = kinds
        self._poll_s = ANSWER_S + config.redis.outage_s + config.redis.timeout_s
        """Longest wait for Ray's answers about the workers, and for Redis to take back what a dead one held."""
        self._looked_at = float("-inf")
        """When it was last looked at who does not run."""
        self._state = RunState(clock=time.monotonic)
        self._sink = RaySink()
        self._reachable = True
        """Whether Redis answers, and has what the run keeps there."""
        self._begun_at = 0
        """Steps that were taken before this attempt and are not lost."""
        self._config_kept = False
        """Whether the run has gone on with this attempt's configuration."""
        self._code_version = code_version()
        self._imbalance: str | None = (
            "it is not known whether the ledger balances; what is shown of Redis is the last that was seen"
        )
        self._dead_letters: list[DeadLetter] = []
        self._events: list[str] = []
        """Sentences for the terminal; the keeper's thread adds too."""
        self._buffer_events: dict[str, int] = {}
        """What happened in the buffer that is no fate (`buffer.ledger.Ledger.events`), at the end."""
        self._redis = None if config.redis.url else self._own_redis()
        if self._redis is not None:
            stack.callback(self._redis.stop)
        url, near = (config.redis.url, "") if self._redis is None else (self._redis.url, self._redis.socket)
        self._flow = Flow.connect(FlowAddress.of(config, url, folder.key, near, uuid.uuid4().hex))
        stack.enter_context(closing(self._flow))
        self._logs = continuing.take_charge(self._flow, folder, saved)
        self._watcher = Watcher(self._flow, folder, self._state, self._sink)
        self._held_out = HeldOutBook(self._flow, folder, self._state, inputs.held_out, config.evaluation.ks)

    def _own_redis(self) -> RedisKeeper:
        # Workers on other nodes of a cluster reach the server at the address by which Ray knows this node.
        address = self._calls.call("the address of this machine", node_address, ANSWER_S)
        return RedisKeeper(self._folder.path / run_files.REDIS, address, self._config, self._restarted)

    def go(self, goes_on: bool, saved: Checkpoint | None = None) -> None:
        """Starts the parts, watches them to the end, stops them, reports.

        What was gathered is kept whatever ends the run.
        """
        inputs, config = self._inputs, self._config
        self._begin(goes_on, saved)
        for part in (inputs.problems, inputs.held_out_problems):
            self._flow.problems.put_many(
                (problem.id, problem.suite.to_json(), problem.suite.content_hash) for problem in part
            )
        self._flow.marker.problems_stored()
        task = LearnerTask(
            config=config,
            spec=inputs.spec,
            corpus=inputs.corpus,
            training_ids=[problem.id for problem in inputs.problems],
            held_out_ids=[problem.id for problem in inputs.held_out_problems],
            held_out=inputs.held_out.about() if inputs.held_out else {},
            folder=self._folder.path.resolve(),
            code_version=self._code_version,
            prompt=inputs.prompt,
            code=inputs.code,
            key=self._folder.key,
        )
        starts = partial(
            Parts,
            config,
            inputs.spec,
            inputs.problems.problems,
            inputs.held_out_problems,
            self._flow,
            task,
            self._logs,
            self._restarted,
            self._start_timeout_s,
            self._kinds,
        )
        parts = self._calls.call("the start of the workers", starts, START_TIMEOUT_S + self._start_timeout_s + ANSWER_S)
        with (
            ExitStack() as ending
        ):  # each step of it is done, whatever becomes of the others; the last that is named here first
            ending.callback(self._report, goes_on)
            ending.callback(self._read_the_rest)
            ending.callback(self._stop, parts)
            warm = config.warm_start
            goal = Goal(config.learner.steps, config.learner.max_seconds, 0 if warm.until_pass else warm.steps)
            with StatusLine(self._console, goal) as line:
                try:
                    self._watch(parts, line)
                except (ServerLost, DataLost):
                    self._reachable = False  # it was waited for long enough, or there is nothing to read
                    raise
                finally:
                    stopping.end()
        if config.redis.url:
            self._flow.forget()  # all that is left of a finished run is in its folder; one that was stopped can go on

    def _begin(self, goes_on: bool, saved: Checkpoint | None) -> None:
        """Writes down that an attempt begins, after `saved`; what the one before left half done is put right."""
        row: dict[str, Any] = {
            "time": time.time(),
            "event": "started",
            "attempt": self._folder.attempts(),
            "run": self._folder.key,
        }
        if self._inputs.code.files:
            row["code"] = self._inputs.code.hash
        if goes_on:
            self._begun_at = saved.step if saved else 0
            self._watcher.read_earlier()
            row |= {"event": "resumed", "step": saved.step if saved else None, "given_back": self._flow.resume()}
            where = f"after step {saved.step}" if saved else "at its beginning: it has no checkpoint"
            self._console.print(f"Attempt {row['attempt']} goes on {where}.", markup=False)
        self._folder.add_event(row)

    def _stop(self, parts: Parts) -> None:
        """Ends the workers; a Ray that is gone is left to the guard."""
        if stopping.wishes:
            self._console.print(
                "Stopping: the learner finishes its step and writes a checkpoint. Once more: without that. A third "
                "time: at once.",
                markup=False,
            )
        if not self._calls.gone:
            self._calls.call(
                "the workers' end", partial(parts.stop, lambda: stopping.hurried), STOP_LEARNER_S + 2 * MARGIN_S
            )
        if self._calls.broken:
            self._calls.give_up()
        else:
            self._calls.call("ray.kill", parts.kill, KILL_S)

    def _read_the_rest(self) -> None:
        """Takes in what the ended workers left behind.

        Where Redis is gone the report says so beside the reason for the run's end.
        """
        if not self._reachable or (self._redis is not None and not self._redis.running):
            return
        try:
            self._held_out.close()
            self._watcher.finish()
            self._imbalance = self._watcher.check_ledger() or self._state.imbalance
            self._state.fold_ledger(self._flow.ledger.counts())
            self._buffer_events = self._flow.ledger.events()
            for work in (self._flow.work, self._flow.evaluation_work):
                self._dead_letters += work.dead_letters(MOST_LETTERS)
            self._flow.marker.let_go()
        except (ServerLost, ServerError, DataLost) as error:
            self._imbalance = f"it is not known whether the ledger balances: {first_line(error)}"
        except OSError as error:
            self._imbalance = f"it is not known whether the ledger balances: {disk_sentence(error, self._folder.path)}"
            raise

    def _restarted(self, name: str, reason: str, facts: dict[str, Any]) -> None:
        """Keeps and shows that a part died and runs again."""
        self._folder.add_event({"time": time.time(), "event": "restarted", "part": name, "reason": reason} | facts)
        more = f" after step {facts['step']}" if "step" in facts else ""
        self._events.append(f"{name} died and goes on{more}: {reason}")

    def _watch(self, parts: Parts, line: StatusLine) -> None:
        """Returns when the learner is done. Raises RunFailed when a part failed or nothing moves."""
        clock = StallClock(self._config.run.stall_timeout_s)
        while True:
            if self._redis is not None:
                self._redis.check()
            stopping.check()
            self._calls.check()
            try:
                self._calls.call("a question to the workers", parts.supervisor.poll, self._poll_s)
            except RunFailed:
                with suppress(ServerLost, ServerError):
                    self._flow.marker.check()  # a part may have failed for a loss before it was seen here
                raise
            finally:
                self._tell_deaths(parts.supervisor)
            self._tell_absent(parts.supervisor)
            rows = self._watcher.poll()
            if self._watcher.imbalances >= CONFIRMED:
                raise RunFailed(
                    f"{self._state.imbalance}, in {CONFIRMED} checks in a row: something outside of the run has "
                    "changed its data in Redis; "
                    f"it cannot go on with them: {continuing.way_out(self._folder.path)}",
                    resumable=False,
                )
            if self._events:
                while self._events:
                    warn(self._events.pop(0))
                if imbalance := self._watcher.check_ledger():
                    warn(imbalance)
            # Whatever is still refused is so before the first step: what an attempt was given is the run's only from
            # then on.
            if (
                not self._config_kept
                and self._state.phase
                and (rows or self._state.phase in ("final_evaluation", "done"))
            ):
                self._folder.keep_config()
                self._config_kept = True
            for row in rows:
                self._sink.step(row)
            for sentence in self._held_out.read(rows):
                line.note(sentence)
            self._state.fold_evaluation(self._held_out.progress(), time.time())
            if clipped := self._clip.fold(rows).news():
                warn(clipped)
            line.update(self._state)
            self._sink.run(self._state.numbers(time.time()))
            if self._state.phase == "done" and not self._held_out.pending:
                return
            clock.see(self._state.progress())
            if parts.supervisor.starting:  # with a bound of its own
                self._flow.control.show_life("driver")
                clock.restart()
            if clock.run_out:
                raise RunFailed(
                    f"nothing has moved for {self._config.run.stall_timeout_s:g} s: "
                    f"{self._state.waits_in_words(time.time())}; last seen: "
                    f"step {self._state.step.get('step', 0)}, {in_words(self._state.ledger)}; the logs are in "
                    f"{self._folder.path}/logs"
                )
            time.sleep(_POLL_S)

    def _tell_deaths(self, supervisor: Supervisor) -> None:
        """Keeps and shows who has died."""
        while supervisor.deaths:
            name, reason = supervisor.deaths.pop(0)
            self._folder.add_event({"time": time.time(), "event": "died", "part": name, "reason": reason})
            warn(f"{name} is dead: {reason}")

    def _tell_absent(self, supervisor: Supervisor) -> None:
        """Keeps and shows who does not run."""
        while supervisor.notes:
            warn(supervisor.notes.pop(0))
        if supervisor.running or time.monotonic() - self._looked_at >= _LOOK_S:
            self._looked_at = time.monotonic()
            absent = (
                {}
                if supervisor.running
                else self._calls.call("a look at who does not run", supervisor.absent, ANSWER_S)
            )
            if absent != self._state.absent:
                self._state.absent = absent
                write_absent(self._folder.path, absent)

    def _report(self, goes_on: bool) -> None:
        """result.json, report.md with its pictures, and the end table. On a full disk whatever of it can be written is.

        Raises the first OSError or DiskFailure of them.
        """
        if goes_on and not self._config_kept and self._folder.result():
            self._folder.close()  # what the attempt before left, which came further, stays
            return
        state, folder, dead_letters = self._state, self._folder, self._dead_letters
        warnings = [self._imbalance] if self._imbalance else []
        warnings += losses(folder, self._watcher.lost, dead_letters)
        warnings += self._inputs.warnings
        failures: list[Exception] = []
        with noted(failures):
            folder.close()
        if clipped := self._clip.warning:
            warnings.append(clipped)
        result = {
            "held_out": self._held_out.result(),
            "curve": self._held_out.curve(),
            "steps": int(state.step.get("step", self._begun_at)),
            "samples": self._watcher.graded,
            "versions": int(max((role.gauges.get("version", -1) for role in state.roles.values()), default=-1)) + 1,
            "seconds": folder.phases.seconds,
            "ledger": state.ledger,
            "ledger_checks": self._watcher.ledger_checks,
            "imbalance": state.imbalance,
            "buffer_events": self._buffer_events,
            "objective": self._config.learner.objective,
            "examples": as_rows(self._held_out.examples()),
            "warnings": warnings,
            "left_out": [
                {"set": name, "problem": skipped.where, "reason": skipped.reason}
                for name, skipped in self._inputs.left_out
            ],
            "dead_letters": letter_rows(dead_letters),
            "attempts": folder.attempts(),
            "restarts": Counter(row["part"] for row in folder.events() if row["event"] == "restarted"),
            "finished": state.phase == "done",
        }
        with noted(failures):
            folder.write_result(result)
        if result["finished"] and (export := folder.path / run_files.EXPORT).is_dir():
            facts = {"samples": state.ledger.get("trained", 0), "code_version": self._code_version}
            facts |= {"run": folder.name, "prompt": self._inputs.prompt}
            with noted(failures):
                write_card(export, self._config, {key: result[key] for key in ("steps", "held_out")} | facts)
        with noted(failures):
            write_report(folder)
        print_end(self._console, result, str(folder.path))
        if failures:
            raise failures[0]
