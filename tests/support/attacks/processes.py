"""More processes than one."""

from __future__ import annotations

from tests.support.attacks.common import RAW, Attack, tries

PROCESSES = [
    Attack(
        "processes",
        "fork bomb",
        "seccomp (clone without a thread), process limit",
        """
import os
def attack():
    got = 0
    for i in range(2000):
        try:
            os.fork(); got += 1
        except OSError: pass
    return 'got it' if got else None
""",
    ),
    Attack(
        "processes",
        "fork, vfork, clone and clone3 by number",
        "seccomp",
        RAW
        + """
def attack():
    buffer = (ctypes.c_uint64 * 11)()
    results = [call(57, None), call(58, None), call(56, 220, 17, 0, 0, 0, 0), call(435, 435, buffer, 88)]
    return 'got it' if any(r >= 0 for r in results) else None
""",
    ),
    Attack(
        "processes",
        "shell, spawn and popen",
        "seccomp",
        tries(
            """
subprocess.run(['/bin/sh', '-c', 'true'], check=True)
os.posix_spawn(sys.executable, [sys.executable], {})
assert os.system('true') == 0
multiprocessing.get_context('fork').Process(target=print).start()
os.forkpty()
""",
            "import multiprocessing, os, subprocess, sys",
        ),
    ),
    Attack(
        "processes",
        "another program in its place",
        "seccomp (execve)",
        tries(
            """
os.execv('/bin/true', ['true'])
os.execv(sys.executable, [sys.executable, '-c', 'print("got it")'])
os.execve(os.open(sys.executable, os.O_RDONLY), ['python'], {})
""",
            "import os, sys",
        ),
    ),
    Attack(
        "processes",
        "daemon",
        "seccomp (clone, setsid), the pid namespace's end",
        """
import os, time
def attack():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(100)
        os._exit(0)
    os.wait()
    return 'got it'
""",
    ),
    Attack(
        "processes",
        "thread bomb",
        "process limit",
        """
import threading, time
threading.stack_size(32768)
def attack():
    count = 0
    for i in range(1500):
        try:
            threading.Thread(target=time.sleep, args=(5,), daemon=True).start(); count += 1
        except RuntimeError: break
    return 'got it' if count == 1500 else None
""",
    ),
    Attack(
        "processes",
        "threads that outlive the answer",
        "the process ends with its last test",
        """
import threading, time
def loop():
    while True: time.sleep(0.01)
def attack():
    threading.Thread(target=loop).start()
""",
        wants="harm",
        slow=True,
    ),
]
