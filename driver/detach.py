"""`--detach`: a run that goes on without the terminal, or the connection, that began it.

What it prints is shown until its folder is made, so that wrong input and the plan are seen; then the command ends, and
the run writes to its folder (`run_files.OUTPUT`). Imports nothing but the standard library: it comes before the guard.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from rltf.program import DONE, PROGRAM

OPTION = "--detach"
_POLL_INTERVAL_S = 0.2


class _Detached:
    """What a run without a terminal knows of its beginning."""

    def __init__(self) -> None:
        self.asked = False
        """Whether this process is that of a run that was begun so."""
        self._pipe = -1
        self._written = ""

    def fork_if_asked(self, arguments: Sequence[str]) -> list[str]:
        """With the option, of a command line that trains: returns in a process without a terminal, to which the
        arguments are left; the parent shows what it prints and ends, as it says or with its exit code.
        """
        if OPTION not in arguments or not (arguments[0] == "train" or arguments[0].startswith("-")):
            return list(arguments)
        reads, writes = os.pipe()
        descriptor, self._written = tempfile.mkstemp(prefix="rltf-", suffix=".log")
        child = os.fork()
        if child:
            os.close(writes)
            _follow(child, reads, Path(self._written))
        os.close(reads)
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, stream in ((nothing, 0), (descriptor, 1), (descriptor, 2)):
            os.dup2(source, stream)
        os.close(nothing)
        os.close(descriptor)
        self.asked, self._pipe = True, writes
        return [word for word in arguments if word != OPTION]

    def announce(self, output: Path) -> None:
        """The run's folder is made: from here on this process writes to `output`, and the parent ends."""
        if not self.asked:
            return
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(descriptor, Path(self._written).read_bytes())
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)
        os.write(self._pipe, os.fsencode(output.parent))
        os.close(self._pipe)


detached = _Detached()
"""Of this process."""


def _follow(child: int, pipe: int, log: Path) -> NoReturn:
    """Shows what the run prints until it has a folder or ends; Ctrl-C until then stops it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: os.kill(child, signal.SIGTERM))
    folder, ended = b"", False
    with log.open("rb") as printed:
        while not (folder or ended):
            if select.select([pipe], [], [], _POLL_INTERVAL_S)[0]:
                folder = os.read(pipe, 1 << 16)
                ended = not folder
            _show(printed.read())
        status = DONE if folder else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        _show(printed.read())
    log.unlink(missing_ok=True)
    if folder:
        run = os.fsdecode(folder)
        words = f"The run goes on without this terminal. {PROGRAM} status {run}, attach {run}, stop {run}\n"
        _show(words.encode("utf-8", "surrogateescape"))
    os._exit(status if status >= 0 else 1)


def _show(printed: bytes) -> None:
    with suppress(OSError):  # who would have read it is gone; the run is not
        while printed:
            printed = printed[os.write(1, printed) :]
