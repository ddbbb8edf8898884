"""Signals to others, and none for itself."""

from __future__ import annotations

from tests.support.attacks.common import RAW, Attack, forever, tries

SIGNALS = [
    Attack(
        "signals",
        "kill everybody",
        "seccomp (no signal but to itself), pid namespace or Landlock's signal scope",
        tries("""
os.kill(-1, 9)
os.kill(-1, 15)
os.kill(-1, 19)
os.kill(0, 9)
os.kill(0, 15)
os.kill(0, 19)
os.kill(os.getppid() or -1, 9)
os.kill(os.getppid() or -1, 15)
os.kill(os.getppid() or -1, 19)
os.killpg(0, 9)
"""),
    ),
    Attack(
        "signals",
        "kill by process id",
        "seccomp, pid namespace or Landlock's signal scope",
        """
import os
def attack():
    for pid in [p for p in range(1, 400) if p != os.getpid()] + [-1]:
        for number in (0, 9, 19):
            try:
                os.kill(pid, number)
                return 'got it'
            except OSError: pass
""",
    ),
    Attack(
        "signals",
        "tgkill, tkill, sigqueue and pidfd by number",
        "seccomp",
        RAW
        + """
def attack():
    info = (ctypes.c_int * 32)(9, 0, -1)
    for pid in [p for p in range(1, 400) if p != os.getpid()] + [-1]:
        results = [call(234, 131, pid, pid, 9), call(200, 130, pid, 9), call(129, 138, pid, 9, info), call(297, 240, pid, pid, 9, info),
                   call(434, 434, pid, 0)]
        if any(r >= 0 for r in results): return 'got it'
""",
    ),
    Attack(
        "signals",
        "SIGIO sent to another process",
        "seccomp (fcntl commands)",
        """
import fcntl, os
def attack():
    r, w = os.pipe()
    for pid in [p for p in range(1, 400) if p != os.getpid()] + [-1]:
        try:
            fcntl.fcntl(r, fcntl.F_SETOWN, pid)
            fcntl.fcntl(r, fcntl.F_SETSIG, 9)
            return 'got it'
        except OSError: pass
""",
    ),
    Attack(
        "signals",
        "looks killed from outside",
        "seccomp (SIGKILL), a pid namespace's first process",
        """
import os
def attack():
    os.kill(os.getpid(), 9)
    os.kill(os.getpid(), 9)
    return 'got it'
""",
        wants="harm",
    ),
    Attack(
        "signals",
        "stops itself",
        "idle time measured from outside",
        """
import os, signal
def attack():
    os.kill(os.getpid(), signal.SIGSTOP)
    signal.pause()
""",
        wants="harm",
        slow=True,
    ),
    Attack(
        "signals",
        "ignores every signal and loops",
        "CPU clock read from outside",
        forever(
            """
pass
""",
            """
import signal
for s in range(1, 65):
    try: signal.signal(s, signal.SIG_IGN)
    except (OSError, ValueError): pass
""",
        ),
        wants="harm",
        slow=True,
    ),
    Attack(
        "signals",
        "blocks every signal and loops",
        "CPU clock read from outside",
        forever(
            """
pass
""",
            """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
""",
        ),
        wants="harm",
        slow=True,
    ),
    Attack(
        "signals",
        "catches everything and loops",
        "the handler of the time limit is C code that ends the process",
        """
def attack():
    while True:
        try:
            while True: pass
        except BaseException: pass
""",
        wants="harm",
        slow=True,
    ),
    Attack(
        "signals",
        "disarms the timer and loops",
        "CPU clock read from outside",
        forever(
            """
pass
""",
            """
import ctypes
_libc = ctypes.CDLL(None)
for i in range(-1, 64):
    _libc.syscall(226 if __import__('os').uname().machine == 'x86_64' else 111, i)
""",
        ),
        wants="harm",
        slow=True,
    ),
]
