"""The train command: problems and policy in, a run folder with a better policy out."""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from rich.console import Console

from buffer.connection import connect
from buffer.flow import Flow, FlowAddress
from buffer.server import EmbeddedRedis
from config import Config
from driver import RunFailed
from driver.held_out import HeldOutBook
from driver.inputs import Inputs
from driver.parts import Parts
from driver.ray_cluster import await_gpus, ray_cluster
from learner.worker import LearnerTask
from monitor.examples import as_rows
from monitor.plan import make_plan
from monitor.ray_metrics import RaySink
from monitor.report import write_report
from monitor.run_folder import RunFolder
from monitor.state import RunState
from monitor.status import StatusLine, print_end, print_plan, print_warnings
from monitor.watcher import Watcher

_POLL_S = 0.25
_DEAD_LETTERS = 20
_HEALTH_EVERY_S = 5.0


def train(config: Config, preset: str, dry_run: bool, console: Console) -> None:
    """Runs `python launch.py`. With `dry_run` the plan is printed and nothing but Ray is started, to see what it offers.

    Raises:
        UserError: problems, model, Redis or resources are not what the configuration says.
        RunFailed: a part failed, or nothing moved for run.stall_timeout_s.
        KeyboardInterrupt: the user stopped the run; everything it started has ended.
    """
    inputs = Inputs.of(config)
    if config.redis.url:
        connect(config.redis.url, config.redis.timeout_s).close()  # a server that cannot be used is told before Ray starts
    with ExitStack() as stack:
        cluster = stack.enter_context(ray_cluster(config))
        if not dry_run:
            await_gpus(config, cluster, lambda sentence: console.print(sentence, markup=False))
        folder = None if dry_run else stack.enter_context(closing(RunFolder.create(config, preset)))
        path = folder.path if folder else RunFolder.planned(config, preset)
        print_plan(console, make_plan(config, inputs.facts(config, cluster, path)))
        print_warnings(console, inputs.warnings, shown=None if dry_run else 5)
        if folder is None:
            return
        url = config.redis.url or _own_redis(stack, folder)
        address = FlowAddress.of(config, url, folder.key)
        flow = stack.enter_context(closing(Flow.connect(address)))
        _Run(config, inputs, folder, flow, address, console).go()


class _Run:
    """One run from its first actor to its report."""

    def __init__(self, config: Config, inputs: Inputs, folder: RunFolder, flow: Flow, address: FlowAddress, console: Console) -> None:
        self._config = config
        self._inputs = inputs
        self._folder = folder
        self._flow = flow
        self._address = address
        self._console = console
        self._state = RunState()
        self._sink = RaySink()
        self._watcher = Watcher(flow, folder, self._state, self._sink)
        questions = {problem.id: problem.question for problem in inputs.held_out_problems}
        self._held_out = HeldOutBook(flow, folder, self._state, questions)

    def go(self) -> None:
        """Starts the parts, watches them to the end, stops them, reports. What was gathered is kept whatever ends the run."""
        inputs, config = self._inputs, self._config
        for part in (inputs.problems, inputs.held_out):
            if part is not None:
                self._flow.problems.put_many((problem.id, problem.suite.to_json(), problem.suite.content_hash) for problem in part)
        task = LearnerTask(
            config=config,
            spec=inputs.spec,
            corpus=inputs.corpus,
            training_ids=[problem.id for problem in inputs.problems],
            held_out_ids=[problem.id for problem in inputs.held_out_problems],
            folder=self._folder.path.resolve(),
            code_version=_code_version(),
        )
        parts = Parts.start(
            config,
            inputs.spec,
            inputs.problems.problems,
            inputs.held_out_problems,
            self._address,
            task,
            self._folder.new_log_folder().resolve(),
        )
        try:
            with StatusLine(self._console, config.learner.steps) as line:
                self._watch(parts, line)
        finally:
            parts.stop()
            self._held_out.close()
            self._watcher.finish()
            self._report()
        if config.redis.url:
            self._flow.forget()  # all that is left of a finished run is in its folder; one that was stopped could go on

    def _watch(self, parts: Parts, line: StatusLine) -> None:
        """Returns when the learner is done. Raises RunFailed when a part failed or nothing moves."""
        asked_at = moved_at = time.monotonic()
        seen: Any = None
        while True:
            rows = self._watcher.poll()
            for row in rows:
                self._sink.step(row)
            for sentence in self._held_out.read(rows):
                line.note(sentence)
            line.update(self._state)
            for name, value in self._state.numbers(time.time()).items():
                self._sink.gauge(name, value, "run")
            if self._state.phase == "done" and not self._held_out.pending:
                return
            if reason := self._flow.control.stopping():
                raise RunFailed(reason)
            now = time.monotonic()
            if now - asked_at >= _HEALTH_EVERY_S:
                parts.check(timeout_s=30.0)
                asked_at = now
            progress = self._state.progress()
            if progress != seen:
                seen, moved_at = progress, now
            elif now - moved_at > self._config.run.stall_timeout_s:
                waits = self._state.waits_in_words(time.time())
                raise RunFailed(
                    f"nothing has moved for {self._config.run.stall_timeout_s:g} s ({waits}); the logs are in {self._folder.path}/logs"
                )
            time.sleep(_POLL_S)

    def _report(self) -> None:
        """result.json, report.md with its pictures, and the end table."""
        state, folder = self._state, self._folder
        warnings = []
        if imbalance := self._flow.ledger.check():
            warnings.append(imbalance)
        warnings += [f"{number} {kind} were dropped before the driver read them" for kind, number in self._watcher.lost.items() if number]
        dead_letters = [*self._flow.work.dead_letters(_DEAD_LETTERS), *self._flow.evaluation_work.dead_letters(_DEAD_LETTERS)]
        if dead_letters:
            warnings.append(f"programs were given up; the newest, {dead_letters[0].program_id}: {dead_letters[0].reason}")
        warnings += self._inputs.warnings
        folder.close()
        result = {
            "held_out": self._held_out.result(),
            "curve": self._held_out.curve(),
            "steps": int(state.step.get("step", 0)),
            "samples": int(state.total("executor", "programs")),
            "versions": int(max((role.gauges.get("version", -1) for role in state.roles.values()), default=-1)) + 1,
            "seconds": dict(folder.phase_seconds),
            "ledger": self._flow.ledger.counts(),
            "objective": self._config.learner.objective,
            "examples": as_rows(self._held_out.examples()),
            "warnings": warnings,
            "dead_letters": [{"id": letter.program_id, "fate": letter.fate, "reason": letter.reason} for letter in dead_letters],
        }
        folder.write_result(result)
        write_report(folder)
        print_end(self._console, result, str(folder.path))


def _own_redis(stack: ExitStack, folder: RunFolder) -> str:
    # Workers on other nodes of a cluster reach the server at the address by which Ray knows this node.
    import ray

    node = ray.util.get_node_ip_address()
    server = EmbeddedRedis.start(folder.path / "redis", bind=node)
    stack.callback(server.stop)
    return server.url


def _code_version() -> str:
    """The commit of the code, `unknown` outside a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
