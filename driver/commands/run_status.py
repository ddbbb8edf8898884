"""`status RUN`: where a run stands and where its programs are.

Reads the run folder and, while its Redis answers, the ledger there.

Changes nothing, so it may be called at any time, from any machine that sees folder and Redis. Imports no torch and no
Ray.
"""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rltf.buffer.connection import ServerLost
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.server import url_in
from rltf.config import Config, UserError, run_files
from rltf.driver import resume
from rltf.driver.commands.running import quick
from rltf.monitor.report_fates import dead_letter_rows
from rltf.monitor.run_lock import in_use
from rltf.monitor.run_record import RunRecord
from rltf.monitor.state import RunState
from rltf.problems.files import atomic_output
from rltf.telemetry.metrics import numbers_of
from rltf.telemetry.vocabulary import figures_of

_ROWS = 2000
"""Newest messages of the workers that are looked at."""
_DEAD_LETTERS = 5
_READ = (
    run_files.CONFIG,
    run_files.PROGRESS,
    run_files.METRICS,
    run_files.HELD_OUT,
    run_files.EVENTS,
    run_files.RESULT,
    run_files.KEY,
    run_files.LOCK,
)
"""Files of a run's folder that no output may take the place of."""


@dataclass
class RunStatus:
    """What is known of a run."""

    run: str
    going_on: bool
    """Whether a driver of this machine has the folder."""
    finished: bool
    attempts: int
    restarts: dict[str, int]
    """Of each part that died, how often it was started again."""
    steps: int
    """Steps that the run is to have."""
    redis: str = "not reached"
    """What Redis said when it was asked: `answers`, or why not; then the figures below are the last ones written
    down."""
    phase: str = ""
    step: dict[str, Any] = field(default_factory=dict)
    """The last row of metrics.jsonl."""
    held_out: dict[str, Any] = field(default_factory=dict)
    """The last row of the main held-out set."""
    held_out_sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """That of each further one, by name."""
    absent: dict[str, str] = field(default_factory=dict)
    """Workers of a run that goes on that do not run: why, what each waits for, and for how long."""
    waits: str = ""
    """Who waits for whom, in words."""
    ledger: dict[str, dict[str, int]] = field(default_factory=dict)
    """Programs by place and fate, for training and for evaluation."""
    damage: list[str] = field(default_factory=list)
    """A sentence for each file of the run's folder that could not be read whole."""
    balance: str = "not known"
    """`balances`, or what does not."""
    events: dict[str, int] = field(default_factory=dict)
    """What happened in the buffer that is no fate."""
    dead_letters: list[dict[str, str]] = field(default_factory=list)


def read_status(run: str, url: str = "") -> RunStatus:
    """Looks. `url`: Redis, where the run's folder does not know its password.

    Raises UserError when there is no such run.
    """
    folder = RunRecord.open(resume.find(run))
    config = folder.settings()
    result = folder.result()
    found = RunStatus(
        run=str(folder.path),
        going_on=in_use(folder.path),
        finished=folder.finished,
        attempts=folder.attempts(),
        restarts=folder.restarts(),
        steps=config.learner.steps,
        step=folder.newest_step(),
        held_out=(folder.held_out() or [{}])[-1],
        held_out_sets={name: rows[-1] for name, rows in folder.evaluations().items() if name},
    )
    if found.going_on:
        found.absent = {name: absence.in_words(time.time()) for name, absence in folder.absent().items()}
    try:
        position = int(folder.progress().get("position", {}).get("rows", 0))
    except UserError as error:
        position, found.damage = 0, [str(error)]
    found.damage += folder.damage()
    for name in ("sample_ids", "rewards", "fingerprints"):  # of every sample
        found.step.pop(name, None)
    if result:
        found.ledger = {"train": result.get("ledger") or {}}
        found.balance = result.get("imbalance") or ("balances" if result.get("ledger_checks") else "not known")
        found.dead_letters = list(result.get("dead_letters", ()))[:_DEAD_LETTERS]
    try:
        own = "" if url else url_in(folder.path / run_files.REDIS)
    except OSError as error:  # another user's, who alone may know its password
        found.redis = f"not asked: {error.filename} cannot be read: {error.strerror}"
        return found
    _ask_redis(found, folder, config, url or own or config.redis.url, position)
    return found


def _ask_redis(found: RunStatus, folder: RunRecord, config: Config, url: str, position: int) -> None:
    """`position`: how far the driver had read what the workers tell."""
    if "***" in url:
        found.redis = f"{url}: its password is not kept, give --redis.url"
        return
    try:
        flow = Flow(FlowAddress.from_config(quick(config), url, folder.key))
    except (ServerLost, UserError) as error:
        found.redis = "has ended with the run" if not found.going_on and not config.redis.url else str(error)
        return
    try:
        counts = {"train": flow.ledger.counts("train"), "evaluation": flow.ledger.counts("evaluation")}
        nothing = not any(flow.telemetry.positions().values()) and flow.marker.read() is None
        if not any(counts["train"].values()) and (found.finished or (found.attempts and nothing)):
            found.redis = "keeps nothing of this run any more" + ("" if found.finished else ": its data are lost")
            return
        found.redis, found.ledger = "answers", counts
        found.phase = flow.control.phase() or ""
        found.balance = flow.ledger.check() or "balances"
        found.events = flow.ledger.events()
        letters = flow.evaluation_work.dead_letters(_DEAD_LETTERS) + flow.work.dead_letters(_DEAD_LETTERS)
        found.dead_letters = dead_letter_rows(letters)
        if found.going_on:
            found.waits = _waits(flow, folder, position)
    except ServerLost as error:
        found.redis = str(error)
    finally:
        flow.close()


def _waits(flow: Flow, folder: RunRecord, position: int) -> str:
    """Who waits for whom, of the workers of this attempt that run; `position` as in `_ask_redis`."""
    begun = max((float(row["time"]) for row in folder.events() if row["event"] in ("started", "resumed")), default=0.0)
    state = RunState()
    state.absent = folder.absent()
    rows = flow.telemetry.rows(position, _ROWS).items
    state.fold(row for row in rows if float(row["start"] if "start" in row else row["time"]) >= begun)
    return state.waits_in_words(time.time())


def status(run: str, url: str, out: Path | None, console: Console) -> bool:
    """The command: prints where the run stands, as JSON to `out` too; whether its ledger balances, as far as
    is known.
    """
    folder = resume.find(run)
    with atomic_output(out, *(folder / name for name in _READ)) if out is not None else nullcontext() as file:
        found = read_status(run, url)
        if file is not None:
            file.write(json.dumps(asdict(found), indent=2) + "\n")
    going = "is going on" if found.going_on else "finished" if found.finished else "stopped: it can go on with --resume"
    console.print(f"{found.run}: {going}", markup=False)
    for name, value in _lines(found):
        console.print(f"  {name}: {value}", markup=False)
    if found.ledger:
        table = Table("place or fate")
        for purpose in found.ledger:
            table.add_column(purpose, justify="right")
        for name in dict.fromkeys(name for counts in found.ledger.values() for name in counts):
            table.add_row(
                name.replace("_", " "),
                *(f"{counts[name]:,}" if name in counts else "" for counts in found.ledger.values()),
            )
        console.print(table)
    return found.balance in ("balances", "not known")


def _lines(found: RunStatus) -> list[tuple[str, str]]:
    """What is known, by name."""
    lines = [
        ("phase", found.phase),
        ("Redis", found.redis),
        ("attempts", str(found.attempts)),
        ("restarts", _counted(found.restarts)),
    ]
    if found.step:
        lines.append(("step", f"{found.step['step']} of {found.steps}"))
        shown = numbers_of(found.step, "step", "status").items()
        lines += [(name.replace("_", " "), f"{value:.3g}") for name, value in shown]
    for name, row in {"": found.held_out, **found.held_out_sets}.items():
        if row:
            title = f"held-out {name}".strip()
            where = f"at step {row['step']}" + (f", {row['tasks']:,} tasks" if "tasks" in row else "")
            lines += [(f"{title} {figure}", f"{row[figure]:.3f} {where}") for figure in figures_of([row])]
    lines += [("not running", f"{name}: {words}") for name, words in found.absent.items()]
    lines += [("who waits", found.waits), ("buffer", _counted(found.events)), ("ledger", found.balance)]
    lines += [("damage", sentence) for sentence in found.damage]
    lines += [("given up", f"{letter['id']}: {letter['reason']}") for letter in found.dead_letters]
    return [(name, value) for name, value in lines if value]


def _counted(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in numbers.items())
