"""Terminals that cannot show everything, that are full, or that are gone: a run goes on, a command ends as it should."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from rltf.monitor.run_folder import RunFolder
from rltf.monitor.state import RunState
from rltf.monitor.status_line import Goal, StatusLine
from rltf.telemetry.console import progress, time_left
from tests.support.monitor_rows import config, fill
from tests.support.paths import ROOT

LAUNCH = [sys.executable, str(ROOT / "launch.py")]
ASCII = [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"},
]
"""Surroundings in which Python does not write UTF-8."""

SHOW = """
import sys
from rich.console import Console
from rltf.telemetry.console import print_error, harden_streams, output, progress, warn
from rltf.monitor.plan import Section
from rltf.monitor.state import RunState
from rltf.monitor.status import print_end, print_plan
from rltf.monitor.status_line import Goal, StatusLine
harden_streams()
console = output()
print_plan(console, [Section("run: Łódź", [("folder", "…/größe → ±1")])])
state = RunState()
state.fold_step({"step": 3, "loss": 1.0})
state.held_out = {"": {"pass@1": 0.5, "step": 2}}
with StatusLine(console, Goal(9)) as line:
    for state.phase in ("training", "final_evaluation"):
        line.update(state)
    line.note("held-out pass@1 0.5 ± 0.1 · of “日本”")
    warn("a warning ×2")
with progress(console, "judging", 3) as advance:
    advance(3)
program = {"verdict": "passes", "passed": True, "text": "print('é…')\\n" * 30, "line": None}
held_out = {"tasks": 2, "before": {"pass@1": 0.5, "pass@1_se": 0.1}, "after": {"pass@1": 0.9}}
print_end(console, {"held_out": held_out, "examples": [{"question": "Füge ± ein.", "before": program, "after": program}]}, "runs/x")
print_error("error: \\udcff is no name")
"""


def _script(folder: Path) -> Path:
    """`SHOW` as a file, for it is more than some surroundings can have on a command line."""
    file = folder / "show.py"
    file.write_text(SHOW, encoding="utf-8")
    return file


def _on_a_terminal(command: list[str], environment: dict[str, str], read: bool = True) -> tuple[int, bytes]:
    """Exit status, and what a terminal of its own shows; with `read` false the terminal is closed at once."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=os.environ | environment
    )
    os.close(theirs)
    shown = b""
    try:
        while read:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the last that had the terminal open is gone
                break
            if not piece:
                break
            shown += piece
    finally:
        os.close(ours)
    return process.wait(timeout=60), shown


@pytest.mark.parametrize(
    ("environment", "terminal"), [(ASCII[0], False), (ASCII[0], True), (ASCII[1], True), (ASCII[2], False)]
)
def test_what_cannot_be_shown_is_replaced(environment: dict[str, str], terminal: bool, tmp_path: Path) -> None:
    command = [sys.executable, str(_script(tmp_path))]
    environment = environment | {"PYTHONPATH": str(ROOT)}
    if terminal:
        code, shown = _on_a_terminal(command, environment | {"TERM": "xterm"})
    else:
        done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, timeout=60)
        code, shown = done.returncode, done.stdout + done.stderr
    latin = environment.get("PYTHONIOENCODING") == "latin-1"
    text = shown.decode("latin-1" if latin else "ascii")
    assert code == 0 and "Traceback" not in text, text
    for words in (
        "±" if latin else "0.5 +- 0.1",
        "0.900",
        'of "??"',
        "Warning: a warning",
        "error: ? is no name",
        "Report and plots",
    ):
        assert words in text
    assert "größe -> ±1" in text if latin else ".../gro?e -> +-1" in text


def test_a_terminal_that_shows_everything_gets_everything(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONUTF8": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(_script(tmp_path))], env=environment, capture_output=True, timeout=60)
    text = (done.stdout + done.stderr).decode("utf-8")
    assert done.returncode == 0 and "0.5 ± 0.1 · of “日本”" in text and "┌" in text and "error: ? is no name" in text


@pytest.mark.parametrize("terminal", [False, True])
def test_work_that_takes_a_while_tells_the_time_left(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = io.StringIO()
    with progress(Console(file=out, width=80, force_terminal=terminal), "judging", 1000, every_s=0) as advance:
        time.sleep(0.01)
        advance(250)
        deadline = time.monotonic() + 30
        while "s left" not in out.getvalue():  # a terminal is redrawn now and then
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for _ in range(3):
            advance(250)
    told = out.getvalue()
    if terminal:
        assert "judging" in told and "1000/1000" in told
        return
    assert [line.partition(",")[0] for line in told.splitlines()] == [
        f"judging: {done} of 1" for done in (250, 500, 750)
    ]
    assert all(line.endswith(" s left") for line in told.splitlines())


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    out = io.StringIO()
    with StatusLine(Console(file=out, force_terminal=True, color_system=None), Goal(9)) as line:
        line.update(RunState())
    assert out.getvalue().endswith("starting\n")


def test_time_left_in_words() -> None:
    assert [time_left(seconds) for seconds in (0.4, 89, 90, 3600, 5400, 90_061)] == [
        "0 s left", "89 s left", "2 min left", "60 min left", "1 h 30 min left", "25 h 1 min left",
    ]  # fmt: skip


GOES_ON = """
import sys, time
from pathlib import Path
from rltf.telemetry.console import harden_streams, output, warn
from rltf.monitor.state import RunState
from rltf.monitor.status_line import Goal, StatusLine
harden_streams()
with StatusLine(output(), Goal(9)) as line:
    for number in range(100):
        line.note("a line of what goes on " * 40)
        line.update(RunState())
        warn("of standard error")
        if number == 20:
            time.sleep(0.5)
print("the last words", flush=True)
Path(sys.argv[1]).write_text("done")
"""
"""A driver in small: it shows how far it is, and leaves a file when it is done."""


@pytest.mark.parametrize("gone", ["pipe", "terminal", "closed", "full"])
def test_a_terminal_that_is_gone_does_not_end_what_goes_on(gone: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    command = [sys.executable, "-c", GOES_ON, str(kept)]
    if gone == "terminal":
        code, _ = _on_a_terminal(command, {"TERM": "xterm"}, read=False)
        told = b""
    elif gone == "pipe":
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()
        code = process.wait(timeout=60)
    else:
        redirected = {"closed": ">&- 2>&-", "full": ">/dev/full"}[gone]
        done = subprocess.run(
            ["bash", "-c", f'exec "$@" {redirected}', "bash", *command], cwd=ROOT, capture_output=True, timeout=60
        )
        code, told = done.returncode, done.stderr
    assert code == 0 and kept.read_text() == "done"
    assert b"Traceback" not in told and b"Exception" not in told
    assert gone not in ("pipe", "full") or told.count(b"Warning: of standard error") == 100


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that has ended."""
    folder = RunFolder.create(config(tmp_path))
    fill(folder)
    return folder


@pytest.mark.parametrize(
    ("shell", "code", "told"),
    [
        (
            "{launch} status {run} >/dev/full",
            1,
            "error: standard output could not be written (No space left on device), and what was",
        ),
        (
            "{launch} help >/dev/full",
            1,
            "error: standard output could not be written (No space left on device), and what was printed",
        ),
        ("{launch} status {run}x >/dev/full", 2, "error: "),
        ("{launch} status {run} >&-", 0, ""),
        ("{launch} status {run}x >&- 2>&-", 2, ""),
        ("{launch} --help-all | head -1; exit ${{PIPESTATUS[0]}}", 0, ""),
        ("{launch} status {run} | true; exit ${{PIPESTATUS[0]}}", 0, ""),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {launch} status {run}", 0, ""),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {python} -m rltf.monitor.report {run}", 0, ""),
        ("PYTHONIOENCODING=ascii {launch} status größe", 2, "error: gro?e: there is no run folder of this name"),
    ],
)
def test_a_short_command_ends_as_it_should(shell: str, code: int, told: str, run: RunFolder) -> None:
    line = shell.format(launch=" ".join(LAUNCH), python=sys.executable, run=run.path)
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, timeout=60)
    shown = done.stderr.decode()
    assert done.returncode == code, shown
    assert (shown.startswith(told) and shown.count("\n") == 1) if told else not shown
