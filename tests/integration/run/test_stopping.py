"""Stops by signals: the guard and its command, `launch.py` and its commands, and a run whose Ray hangs."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.killed_run import Command, Found, Run, alive, verify
from benchmarks.stops import SETTINGS, Stop, seen_in, stop_one, stop_run
from rltf.driver import RunFailed, guard
from rltf.driver.ray_thread import RayThread
from rltf.driver.stopping import DEBOUNCE_S, SENTENCE
from rltf.executor.boxes import Box, remove_boxes
from tests.support.paths import ROOT
from tests.support.small_disk import on_small_disk

BEGINS = """
import os, signal, subprocess, sys, time
from rltf.driver import guard
guard.fork_guarded()
from rltf.driver.stopping import exit_process, stopping, tell_guard
def ready(): print(os.getpid(), flush=True)
"""
WAITS = """
ready()
for _ in range(600):  # a signal just before one sleep is heard after it
    time.sleep(0.1)
"""
WORKS = """
stopping.work()
try:
    ready()
    for _ in range(600):
        time.sleep(0.1)
except KeyboardInterrupt:
    print("in order", stopping.stop_requests, flush=True)
exit_process(1)
"""
DETACHES = """
import os, sys
from pathlib import Path
from rltf.driver.detach import detached
left = detached.fork_if_asked(sys.argv[1:])
print("the plan of", *left, os.getsid(0) == os.getpid(), flush=True)
if left == ["--wrong"]:
    sys.exit(2)
detached.announce(Path(os.environ["RUN"]) / "output.log")
print("goes on", flush=True)
"""
LEAVES = """
left = [subprocess.Popen(["sleep", "60"], start_new_session=True).pid for _ in range(2)]
os.kill(left[1], signal.SIGSTOP)
print(*left, end=" ")
ready()
exit_process(0)
"""
SAID = """
stopping.work()
try:
    ready()
    for _ in range(600):
        time.sleep(0.1)
except KeyboardInterrupt:
    print("in order", flush=True)
tell_guard(said=1)
signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as the interpreter does at its very end
time.sleep(60)
"""
HANGS = """
stopping.work()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
ready()
time.sleep(60)
"""


class Guarded:
    """A small command under the guard."""

    def __init__(self, text: str, ignored: signal.Signals | None = None) -> None:
        def ignore() -> None:
            for one in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(one, signal.SIG_IGN if one == ignored else signal.SIG_DFL)

        self.process = subprocess.Popen(
            [sys.executable, "-c", BEGINS + text],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=ignore,
        )
        assert self.process.stdout is not None
        self.pids = [int(word) for word in self.process.stdout.readline().split()]

    def end(self, *numbers: signal.Signals, pause_s: float = DEBOUNCE_S + 0.1) -> tuple[int, str]:
        """Exit status and what was printed, after these signals to the guard."""
        for place, number in enumerate(numbers):
            time.sleep(pause_s if place else 0.0)
            self.process.send_signal(number)
        printed, _ = self.process.communicate(timeout=30)
        return self.process.returncode, printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_ends_a_command_in_order(number: signal.Signals) -> None:
    assert Guarded(WORKS).end(number) == (1, "in order 1\n")


@pytest.mark.parametrize(("words", "status"), [(("--learner.steps", "3"), 0), (("--wrong",), 2)])
def test_a_detached_run_shows_its_beginning_and_goes_on_in_its_folder(
    words: tuple[str, ...], status: int, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DETACHES, "--detach", *words],
        cwd=ROOT,
        env=os.environ | {"RUN": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    plan, *more = done.stdout.splitlines()
    assert (done.returncode, plan) == (status, f"the plan of {' '.join(words)} True")
    if status:
        assert more == [] and list(tmp_path.iterdir()) == []
        return
    assert f"stop {tmp_path}" in more[0]
    output = tmp_path / "output.log"
    _until(lambda: output.read_text().splitlines() == [plan, "goes on"])
    assert [path.name for path in tmp_path.iterdir()] == ["output.log"]


def test_a_command_that_prepares_ends_at_once_without_a_traceback() -> None:
    assert Guarded(WAITS).end(signal.SIGINT) == (1, f"{SENTENCE}\n")


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_was_ignored_at_the_start_stays_so(ignored: signal.Signals) -> None:
    command = Guarded(WORKS, ignored)
    for pid in (command.process.pid, command.pids[0]):
        os.kill(pid, ignored)
    time.sleep(0.3)
    assert command.process.poll() is None
    assert command.end(signal.SIGTERM) == (1, "in order 1\n")


def test_a_signal_at_the_very_end_of_a_command_that_has_said_all_adds_nothing() -> None:
    assert Guarded(SAID).end(signal.SIGTERM, signal.SIGTERM) == (1, "in order\n")


def test_a_command_that_hangs_is_killed_at_the_third_signal() -> None:
    command = Guarded(HANGS)
    assert command.end(signal.SIGINT, signal.SIGINT, signal.SIGINT) == (1, f"{SENTENCE}\n")
    assert not alive(command.pids[0])


def test_signals_that_come_together_are_one_wish() -> None:
    command = Guarded(WORKS.replace("print", "time.sleep(0.3); print"))
    os.kill(command.pids[0], signal.SIGTERM)
    assert command.end(signal.SIGTERM, signal.SIGTERM, pause_s=0.05) == (1, "in order 1\n")


def test_what_a_command_leaves_is_ended_paused_or_not() -> None:
    command = Guarded(LEAVES)
    assert command.end() == (0, "")
    assert not any(alive(pid) for pid in command.pids)


def test_ctrl_z_does_not_freeze_a_command_without_a_shell() -> None:
    """As in tmux, `ssh -t` or a container that runs nothing else: nobody there could let it go on."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", BEGINS + WORKS],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    os.read(ours, 100)
    os.write(ours, b"\x1a")
    time.sleep(0.5)
    os.write(ours, b"\x03")
    try:
        assert process.wait(30) == 1 and b"in order 1" in os.read(ours, 100)
    finally:
        process.kill()
        os.close(ours)


def test_a_parent_that_ignores_its_children_is_told_the_status() -> None:
    assert Guarded(LEAVES, ignored=signal.SIGCHLD).end() == (0, "")


def test_a_command_that_is_killed_gets_a_last_word() -> None:
    command = Guarded(WORKS)
    os.kill(command.pids[0], signal.SIGKILL)
    status, printed = command.end()
    assert (
        status == 1
        and printed.startswith("the command failed: its driver was killed (SIGKILL)")
        and printed.count("\n") == 1
    )


def test_a_folder_of_any_name_is_told_to_the_guard() -> None:
    command = Guarded("tell_guard(run='/nowhere/a\\nb\\u2028=c')\n" + WORKS)
    os.kill(command.pids[0], signal.SIGKILL)
    status, printed = command.end()
    assert (
        status == 1
        and "Traceback" not in printed
        and printed.splitlines()[-1].startswith("run failed: its driver was killed")
    )


@pytest.mark.skipif(
    any(
        place.is_relative_to(folder)
        for place in (ROOT, Path(sys.executable))
        for folder in ("/tmp", "/var/tmp", "/usr/tmp")
    ),
    reason="the project lies in a folder that the test hides",
)
def test_a_command_ends_with_its_status_where_no_folder_for_temporary_files_is(tmp_path: Path) -> None:
    printed = on_small_disk(
        tmp_path / "disk",
        "mount('size=1m'); fill(); os.environ.pop('TMPDIR', None); os.chdir(disk)\n"
        "for folder in filter(os.path.isdir, ('/var/tmp', '/usr/tmp', '/tmp')):\n"
        "    subprocess.run(['mount', '--bind', '.', folder], check=True)\n"
        f"done = subprocess.run([sys.executable, '-c', {BEGINS + 'exit_process(2)'!r}], capture_output=True, text=True)\n"
        "print(done.returncode, done.stdout, done.stderr)\n",
    )
    assert printed.split() == ["2"]


def test_a_command_ends_with_its_guard() -> None:
    command = Guarded(WORKS)
    command.process.kill()
    command.process.wait()
    _until(lambda: not alive(command.pids[0]))


@pytest.mark.parametrize("after_s", [0.0, 0.5])
def test_ctrl_c_among_the_imports_is_one_sentence(after_s: float, tmp_path: Path) -> None:
    command = Command(tmp_path)
    command.start(["--run.folder", str(tmp_path)])
    command.until(lambda: len(command.processes()) == 2, "a guard and its command")
    time.sleep(after_s)
    command.process.send_signal(signal.SIGINT)
    assert command.process.wait(60) == 1
    *before, last = command.printed.splitlines()
    assert last == SENTENCE and all(line.endswith(" ...") for line in before) and command.processes() == {}, (
        "what it was about at most"
    )


@pytest.mark.parametrize(
    ("name", "number"), [("grade", signal.SIGINT), ("grade", signal.SIGHUP), ("check-data", signal.SIGTERM)]
)
def test_a_stopped_command_leaves_no_sandbox(name: str, number: signal.Signals, tmp_path: Path) -> None:
    stop = stop_one(name, number, tmp_path)
    assert stop.failures == [] and stop.left == [] and stop.status == 1
    assert [kept for kept in stop.kept if kept != "out.jsonl.partial"] == []


def test_boxes_of_judges_that_are_gone_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, other = tmp_path / "executor-box-left", tmp_path / "elsewhere"
    for folder in (left, other):
        folder.mkdir()
        (folder / "file").touch()
    (tmp_path / "executor-box-link").symlink_to(other)
    box = Box()
    remove_boxes()
    assert not left.exists() and (other / "file").exists() and Path(box.path).is_dir()
    box.remove()
    box.remove()
    assert not Path(box.path).exists()


def test_a_box_that_another_judge_takes_for_a_left_one_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    make, opened, made = tempfile.mkdtemp, os.open, []

    def make_and_lose(prefix: str) -> str:
        made.append(make(prefix=prefix))
        if len(made) == 1:
            remove_boxes()
        return made[-1]

    def open_and_lose(path: str, *arguments: Any, **options: Any) -> int:
        descriptor = opened(path, *arguments, **options)
        if len(made) == 2 and path == made[1]:
            Path(path).rmdir()
        return descriptor

    monkeypatch.setattr(tempfile, "mkdtemp", make_and_lose)
    monkeypatch.setattr(os, "open", open_and_lose)
    box = Box()
    assert box.path == made[2] and Path(box.path).is_dir() and not any(Path(path).exists() for path in made[:2])
    box.remove()


def test_a_call_of_ray_that_hangs_is_left_alone_and_no_other_is_made() -> None:
    calls, release = RayThread(), threading.Event()
    assert calls.call("a sum", lambda: 1 + 1, 10) == 2
    with pytest.raises(ZeroDivisionError):
        calls.call("a quotient", lambda: 1 / 0, 10)
    with pytest.raises(RunFailed, match="Ray does not answer: ray.kill has taken longer than 0.1 s"):
        calls.call("ray.kill", partial(release.wait, 30), 0.1)
    with pytest.raises(RunFailed, match="ray.kill has taken longer than 0.1 s"):
        calls.call("a sum", lambda: 1 + 1, 10)
    release.set()
    calls.close()


@pytest.mark.skipif(
    not os.environ.get("RLTF_LONG_TESTS"),
    reason="a minute; a call of Ray that hangs has a test of its own: RLTF_LONG_TESTS=1 runs it",
)
def test_a_run_whose_raylet_is_paused_stops_and_nothing_is_lost(tmp_path: Path) -> None:
    """A stop that takes longer than Ray would give it: test_recovery.py."""
    run = Run(tmp_path, **SETTINGS | {"evaluation__tasks": 16, "warm_start__steps": 20})
    stop = Stop("training", "SIGHUP")
    try:
        stop_run(run, stop, lambda: seen_in(run, "training", 1), lambda: _paused(run))
    finally:
        run.end()
    assert stop.failures == run.survivors == [] and stop.status == 1, stop
    assert stop.kept[1:] == ["result.json", "report.md"], stop
    assert stop.last_line == SENTENCE or "is paused (SIGSTOP)" in stop.last_line, "by whether a call was under way"
    found = Found("raylet", "everysec")
    verify(run, found)
    assert (found.imbalances, found.lost, found.twice) == ([], 0, 0)


def _paused(run: Run) -> None:
    for raylet in run.victims("raylet"):
        os.kill(raylet, signal.SIGSTOP)
    run.process.send_signal(signal.SIGHUP)


def _until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_processes_with_names_that_are_no_text_are_looked_at_too(tmp_path: Path) -> None:
    """Any program on the machine may give itself such a name."""
    odd = tmp_path / os.fsdecode(b"\xff\xfe")
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([odd, "30"]) as process:
        try:
            while b"\xff" not in Path(f"/proc/{process.pid}/comm").read_bytes():
                time.sleep(0.01)
            assert process.pid in guard.children() and alive(process.pid)
        finally:
            process.kill()
