"""One run of the whole system that is killed in parts: `benchmarks.kill_matrix` and the tests use it.

`Run` is `launch.py` in processes of its own, `kill` ends a part and waits until training goes on, `verify` looks at
what is left.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.server import EmbeddedRedis, url_in
from rltf.config import Config
from rltf.monitor.run_folder import RunFolder

ROOT = Path(__file__).resolve().parent.parent
PAUSE_S = 20.0
WITHIN_S = 30.0
"""Training is to go on within so many seconds."""
LIMIT_S = 480.0
"""Longest wait for a run to go on; the figure that counts is in the table."""
SETTINGS: dict[str, object] = {
    "policy.d_model": 64,
    "policy.layers": 2,
    "policy.d_ff": 128,
    "policy.max_program_tokens": 48,
    "warm_start.steps": 20,
    "actors.count": 1,
    "actors.problems_per_batch": 8,
    "actors.samples_per_problem": 4,
    "actors.greedy": True,
    "executor.count": 2,
    "learner.objective": "rltf",
    "learner.groups_per_step": 8,
    "learner.steps": 1_000_000,
    "learner.warm_start_threads": 1,
    "evaluation.every": 0,
    "evaluation.tasks": 16,
    "checkpoint.every": 10,
    "restart.limit": 100,
    "ray.dashboard": False,
}
TITLES = {
    "actor": "actor-",
    "executor": "executor-",
    "executors": "executor-",
    "learner": "learner-",
    "rank": "learner-",
    "store": "WeightStore",
}
LINGERING = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Agents of Ray that try to tell Ray's dead server for a minute, before they end too, that a driver which started Ray
was killed."""


def _ignore_nothing() -> None:
    """What a shell starts in the background ignores Ctrl-C, under nohup SIGHUP too, and so would what it starts."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Failed(Exception):
    """A run did not do what it should; the message says what, and where its folder is."""


@dataclass
class Found:
    """What was found of one part."""

    part: str
    fsync: str
    kills: int = 0
    seconds: list[float] = field(default_factory=list)
    """From each kill to the first learner step with everything back."""
    failures: list[str] = field(default_factory=list)
    """What a run did that it should not: why it did not go on, which processes outlived it."""
    imbalances: list[str] = field(default_factory=list)
    """Sentences of the ledger check."""
    programs: int = 0
    """Generated for training, in the runs in which the part was killed; so are the following three."""
    lost: int = 0
    """Programs without place or fate, fates that were not recorded, and visits that nobody wrote and nobody will."""
    twice: int = 0
    """Samples used by two learner steps."""
    rolled_back: int = 0
    """Samples of learner steps whose effect went with a killed learner; they are not used again."""

    @property
    def slow(self) -> bool:
        """Whether training took longer to go on than it may."""
        return max(self.seconds, default=0.0) > WITHIN_S

    def __add__(self, other: Found) -> Found:
        """The figures of both."""
        sums = {
            name: getattr(self, name) + getattr(other, name) for name in vars(self) if name not in ("part", "fsync")
        }
        return Found(self.part, self.fsync, **sums)


class Command:
    """`launch.py` in processes of its own, found by a mark in their environment."""

    def __init__(self, parent: Path) -> None:
        """Nothing is started yet. What is printed goes to `parent`/terminal.txt, temporary files into `parent`/tmp."""
        self.mark = f"rltf-kill-{uuid.uuid4().hex}"
        self.driver_killed = False
        self.survivors: list[str] = []
        """Command lines of processes that outlived it."""
        self.terminal = parent / "terminal.txt"
        self.temporary = parent / "tmp"
        self.temporary.mkdir()

    def start(self, arguments: Sequence[str]) -> None:
        """Starts `launch.py` with these arguments."""
        self.began = time.time()
        environment = {
            key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "PYTEST_CURRENT_TEST")
        }
        self.begun_at = self.terminal.stat().st_size if self.terminal.exists() else 0
        with self.terminal.open("a") as terminal:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "launch.py"), *arguments],
                cwd=ROOT,
                env=environment
                | {"RLTF_KILL": self.mark, "TMPDIR": str(self.temporary), "RAY_TMPDIR": tempfile.gettempdir()},
                stdout=terminal,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_ignore_nothing,
            )

    @property
    def printed(self) -> str:
        """What this attempt has printed."""
        return self.terminal.read_bytes()[self.begun_at :].decode(errors="replace")

    @property
    def driver(self) -> int:
        """The process that drives the run: the child of the guard, which is `process`."""
        return next(pid for pid in self.processes() if _parent(pid) == self.process.pid)

    def until(self, seen: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
        """Waits until `seen` holds. Raises Failed when the run ends before, or after `limit_s`."""
        deadline = time.monotonic() + limit_s
        while not seen():
            if self.process.poll() is not None:
                raise Failed(f"the run has ended while it was waited for {what}:\n{self.terminal.read_text()[-3000:]}")
            if time.monotonic() > deadline:
                raise Failed(f"no {what} within {limit_s:g} s:\n{self.terminal.read_text()[-3000:]}")
            time.sleep(0.1)

    def processes(self) -> dict[int, str]:
        """Command lines of the live processes of this run, by process id.

        Programs' sandboxes have an environment of their own.
        """
        found = {}
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                try:
                    if self.mark.encode() in (path / "environ").read_bytes():
                        found[int(path.name)] = (
                            (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                        )
                except OSError:  # ended meanwhile, or not ours to look at
                    continue
        return {pid: command for pid, command in found.items() if command}

    def children(self) -> dict[int, str]:
        """Command lines of everything that descends from this run now, by process id."""
        parents = {int(path.name): _parent(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit()}
        found = set(self.processes())
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return {pid: _command(pid) for pid in found}

    def end(self) -> None:
        """Ctrl-C, which a terminal sends to the whole group; what is left 20 s after its end is noted in `survivors`
        and killed.
        """
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
            try:
                self.process.wait(120)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        deadline = time.monotonic() + 20
        while (found := self.processes()) and time.monotonic() < deadline:
            if self.driver_killed and all(command.startswith(LINGERING) for command in found.values()):
                return
            time.sleep(0.1)
        self.survivors = list(found.values())
        for pid in found:
            os.kill(pid, signal.SIGKILL)


class Run(Command):
    """A run of the whole system."""

    def __init__(self, parent: Path, **settings: object) -> None:
        """`settings`: fields of the configuration with `__` for the dot, on top of SETTINGS."""
        super().__init__(parent)
        self.folder = parent / "run"
        fields = SETTINGS | {key.replace("__", "."): value for key, value in settings.items()}
        fields = {"ray.address": "local"} | fields | {"run.folder": parent, "run.name": "run"}
        self.start([word for key, value in fields.items() for word in (f"--{key}", str(value))])

    @classmethod
    def going_on(cls, folder: Path, *overrides: str) -> Self:
        """Another attempt of the run in a folder, which somebody else has begun."""
        run = cls.__new__(cls)
        Command.__init__(run, folder.parent)
        run.folder = folder
        run.resume(*overrides)
        return run

    def resume(self, *overrides: str) -> None:
        """Another attempt, once the one before has ended."""
        self.start(["--resume", str(self.folder), *overrides])

    def rows(self) -> list[dict[str, Any]]:
        """Rows of metrics.jsonl as they were written: those of steps that were done again too."""
        file = self.folder / "metrics.jsonl"
        lines = file.read_text().split("\n")[:-1] if file.exists() else []
        return [json.loads(line) for line in lines]

    def steps_since(self, moment: float) -> list[dict[str, Any]]:
        """Rows of steps that ended after `moment`."""
        return [row for row in self.rows() if row["time"] > moment]

    def steps_newer(self, moment: float, version: int) -> list[dict[str, Any]]:
        """Those of them that trained on samples, and only on such as newer versions than this one wrote."""
        return [
            row
            for row in self.steps_since(moment)
            if row.get("samples") and row["version"] - row["staleness_max"] > version
        ]

    def events(self, event: str) -> list[dict[str, Any]]:
        """Rows of events.jsonl of one kind."""
        return [row for row in RunFolder(self.folder).events() if row["event"] == event]

    def victims(self, part: str) -> list[int]:
        """Processes to kill for a part."""
        if part == "driver":
            return [self.driver]
        if part in ("raylet", "gcs_server"):
            return [pid for pid, command in self.children().items() if f"/{part} " in command]
        if part in ("redis", "pause"):
            flow = self.flow()  # the server writes over its command line and its environment
            try:
                return [int(flow.client.info("server")["process_id"])]
            finally:
                flow.close()
        found = sorted(pid for pid, command in self.processes().items() if command.startswith(f"ray::{TITLES[part]}"))
        return found if part == "executors" else found[-1:]

    def flow(self, url: str = "") -> Flow:
        """The run's data flow; `url` is the embedded server's own unless given."""
        folder = RunFolder.open(self.folder)
        config = Config.model_validate(folder.config())
        return Flow(FlowAddress.from_config(config, url or url_in(self.folder / "redis"), folder.key))


def kill(run: Run, part: str, node: Callable[[], None] | None = None) -> float:
    """Kills a part, or pauses Redis; seconds until a learner step was taken with everything back. Raises Failed.

    Ray starts the weight store again, and nobody waits for it: it is back when all samples of a step are of versions
    made since.
    """
    before = {name: len(run.events(name)) for name in ("restarted", "resumed")}
    flow = run.flow()
    published = flow.control.version() + 1  # the next may be on its way
    flow.close()
    begin = time.time()
    if part == "pause":
        (victim,) = run.victims(part)
        os.kill(victim, signal.SIGSTOP)
        time.sleep(PAUSE_S)
        os.kill(victim, signal.SIGCONT)
        back = time.time()
        run.until(lambda: run.steps_since(back), "step after the pause")
        return float(run.steps_since(back)[0]["time"]) - back
    if part == "node":
        assert node is not None
        node()
    elif part == "driver":
        everything = run.children()
        os.kill(run.process.pid, signal.SIGKILL)
        run.process.wait()
        run.driver_killed = True
        deadline = time.monotonic() + 30
        while left := [pid for pid, command in everything.items() if alive(pid) and not command.startswith(LINGERING)]:
            if time.monotonic() > deadline:
                raise Failed(
                    "30 s after its driver was killed processes of the run are left: "
                    f"{[everything[pid] for pid in left]}"
                )
            time.sleep(0.05)
        run.resume()
        run.until(lambda: len(run.events("resumed")) > before["resumed"], "resumption")
    else:
        victims = run.victims(part)
        if not victims:
            raise Failed(f"no process of part {part} was found")
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
    if part == "store":
        run.until(
            lambda: run.steps_newer(begin, published), "step on samples of versions after the weight store's death"
        )
        return float(run.steps_newer(begin, published)[0]["time"]) - begin
    wanted = {"driver": 0, "executors": 2, "node": 2}.get(part, 1)
    run.until(lambda: len(run.events("restarted")) - before["restarted"] >= wanted, f"restart of the {part}")
    back = max(float(row["time"]) for row in run.events("resumed" if part == "driver" else "restarted"))
    run.until(lambda: run.steps_since(back), "step after the restart")
    return float(run.steps_since(back)[0]["time"]) - begin


def verify(run: Run, found: Found) -> None:
    """Looks at the ended run: its Redis is started once more, and its folder is read."""
    server = EmbeddedRedis.start(run.folder / "redis")
    flow = run.flow(server.url)
    try:
        if sentence := flow.ledger.check():
            found.imbalances.append(sentence)
        counts = flow.ledger.counts()
        found.programs = counts["generated"]
        found.rolled_back = flow.ledger.events().get("rolled_back", 0)
        found.lost += abs(counts["generated"] - sum(value for name, value in counts.items() if name != "generated"))
        kept = [
            sample
            for sample in RunFolder(run.folder).samples()
            if sample.program is None or sample.program.purpose == "train"
        ]
        fates = Counter(sample.fate for sample in kept)
        for fate in ("trained", "baseline", "no_signal", "evicted", "stale"):
            found.lost += abs(counts[fate] - fates[fate])
        found.lost += abs(
            sum(counts[place] for place in ("queued", "executing", "waiting", "buffered")) - fates["under_way"]
        )
        base = f"rltf:{{{RunFolder(run.folder).key}}}:"
        here = {key.decode().rpartition(":")[2] for key in flow.client.scan_iter(f"{base}train:group:*", count=1000)}
        waiting = {
            key.decode() for key in [*flow.client.hkeys(f"{base}visits"), *flow.client.zrange(f"{base}returned", 0, -1)]
        }
        visits = int(flow.client.hget(f"{base}control", "visits") or 0)
        found.lost += len(
            {f"{visit:08d}" for visit in range(visits)} - here - waiting - {sample.group_id for sample in kept}
        )
    finally:
        flow.close()
        server.stop()
    steps = {
        (row["step"], row["time"]): row for row in run.rows()
    }  # the same row may be there twice after a driver was killed
    used = Counter(sample for row in steps.values() for sample in row.get("sample_ids", ()))
    found.twice = sum(number > 1 for number in used.values())


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
    except OSError:
        return "ended meanwhile"


def _parent(pid: int) -> int:
    """-1 when it has ended meanwhile."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except OSError:
        return -1


def alive(pid: int) -> bool:
    """Whether a process has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
