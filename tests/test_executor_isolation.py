"""What a program cannot do: cheat, stay, or hurt. What could hurt the host runs only inside a throw-away namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from executor_suites import HONEST_SUMS, SUM, assert_suite, call_suite, stdin_suite

from executor.judge import Judge

ROOT = Path(__file__).resolve().parent.parent
SECRET = stdin_suite(("1\n", "the-answer-731\n"), ("2\n", "the-answer-732\n"))
SEARCH = """
import gc, sys
found = None
def look(text):
    global found
    i = text.find('the-' + 'answer-')
    if i >= 0 and 'find' not in text:
        found = text[i:i + 14]
for thing in gc.get_objects():
    values = thing if isinstance(thing, (list, tuple)) else list(thing.values()) if isinstance(thing, dict) else ()
    for x in values:
        if isinstance(x, (str, bytes)):
            look(str(x))
frame = sys._getframe()
while frame:
    for x in list(frame.f_locals.values()):
        look(str(x)[:10000])
    frame = frame.f_back
"""


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(1, 1.0, 512) as judge:
        yield judge


CHEATS = {
    "frames and gc": (SECRET, SEARCH + "print(found)\n"),
    "memory": (
        SECRET,
        "import ctypes, gc, sys\nneedle = b'the-' + b'answer-'\n"
        "try:\n    data = open('/proc/self/mem', 'rb')\nexcept OSError:\n    data = None\nprint(data)\n",
    ),
    "forged report": (SECRET, "import os\nos.write(3, b'[0,1,0]\\n[0,1,0]\\n\"end\"\\n')\nos._exit(0)\n"),
    "forged offsets": (SECRET, "import os\nos.write(3, b'[0,1,999999]\\n[0,1,-5]\\n\"end\"\\n')\nos._exit(0)\n"),
    "garbage in every descriptor": (
        SECRET,
        "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'\\xff[[[[' * 10000)\n    except OSError: pass\nos._exit(0)\n",
    ),
    "nested report": (SECRET, "import os\nos.write(3, b'[' * 1000000)\nos._exit(0)\n"),
    "equal to everything": (call_suite("f", ([1], 5)), "class A:\n    def __eq__(self, x): return True\ndef f(x): return A()\n"),
    "int that is equal": (
        call_suite("f", ([1], 5)),
        "class A(int):\n    def __eq__(self, x): return True\n    def __repr__(self): return '5'\ndef f(x): return A(4)\n",
    ),
    "equal in an assert": (
        assert_suite("assert f(1) == five", setup="five = 5"),
        "class A:\n    def __eq__(self, x): return True\n    def __ne__(self, x): return False\ndef f(x): return A()\n",
    ),
    "patched builtins": (
        assert_suite("assert sorted(f(1)) == [1, 2]"),
        "import builtins\nbuiltins.sorted = sorted = lambda x: [1, 2]\nbuiltins.AssertionError = Exception\ndef f(x): return [3]\n",
    ),
    "own math": (
        assert_suite("assert math.isclose(f(1), 5)"),
        "class math:\n    isclose = lambda *a: True\ndef f(x): return 4\n",
    ),
    "exit before the assert": (assert_suite("assert f(1) == five", setup="five = 5"), "import os\ndef f(x): os._exit(0)\n"),
    "forged tester": (
        assert_suite("assert f(1) == five", setup="five = 5"),
        "import os\ndef f(x):\n    os.write(3, b'[\"pass\"]\\n\"end\"\\n')\n    os.write(4, b'\\2\\0\\0\\0[]')\n    os._exit(0)\n",
    ),
    "test code by gc": (
        assert_suite("assert f(1) == five", setup="five = 'the-answer-731'"),
        SEARCH + "def f(x): return found\n",
    ),
    "disarmed timer": (SECRET, "import signal\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)\nwhile True: pass\n"),
    "blocked signals": (
        SECRET,
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass\n",
    ),
    "raised limits": (
        SECRET,
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)\nprint('raised')\n",
    ),
}


def test_cheats_do_not_pass(judge: Judge) -> None:
    results = judge.grade([work for work in CHEATS.values()])
    passed = [name for name, result in zip(CHEATS, results, strict=True) if result.outcome == "pass"]
    assert not passed
    assert judge.restarts == 0
    (feedback,) = judge.grade([(SUM, HONEST_SUMS["input"])])
    assert feedback.outcome == "pass"


def test_nothing_of_a_program_survives_it(judge: Judge) -> None:
    if judge.layers.get("pid namespace per program") != "on":
        pytest.skip(f"no namespaces here: {judge.layers}")
    marker = "executor-straggler-5551"
    program = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        f"        open('{marker}', 'w').close()\n        time.sleep(100)\n    os._exit(0)\nos.wait()\ntime.sleep(0.05)\n"
        "print(os.listdir('.'))\n"
    )
    before = _own_processes()
    (first,) = judge.grade([(stdin_suite(("", f"['{marker}']")), program)])
    assert first.outcome == "pass"
    assert _own_processes() == before
    (second,) = judge.grade([(stdin_suite(("", "[]")), "import os\nprint(os.listdir('.'))\n")])
    assert second.outcome == "pass"


def _own_processes() -> int:
    listing = subprocess.run(["ps", "-ww", "-e", "-o", "args="], capture_output=True, text=True, check=True).stdout
    return sum("executor.zygote" in line for line in listing.splitlines())


def test_files_network_and_environment_are_out_of_reach(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    if judge.layers.get("read-only root") != "on":
        pytest.skip(f"no namespaces here: {judge.layers}")
    attempts = [
        "open('/etc/passwd')",
        f"open({str(ROOT / 'config.py')!r})",
        "open('/usr/lib/owned', 'w')",
        "open('/owned', 'w')",
        "import os; os.listdir('/proc')[0]",
        "import os; os.environ['HOME']",
        "import os; os.kill(os.getppid() or 1 << 20, 9)",
        "import socket; socket.create_connection(('127.0.0.1', 22), 1)",
        "import os; os.setuid(0)",
        "import os; os.chroot('/')",
        "import ctypes; assert ctypes.CDLL(None).mount(b'none', b'/box', b'tmpfs', 0, None) == 0",
    ]
    suite = stdin_suite(("", "got it"))
    results = judge.grade([(suite, f"{attempt}\nprint('got it')\n") for attempt in attempts])
    succeeded = [attempt for attempt, result in zip(attempts, results, strict=True) if result.outcome == "pass"]
    assert not succeeded
    (feedback,) = judge.grade([(stdin_suite(("", "0")), "import os\nprint(os.getuid())\n")])
    assert feedback.outcome == "failure"


def test_the_judge_leaves_nothing_behind() -> None:
    before, folders = _own_processes(), len(list(Path("/tmp").glob("executor-box-*")))
    with Judge(2, 1.0, 256):
        assert _own_processes() > before
    deadline = time.monotonic() + 10
    while _own_processes() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _own_processes() == before
    assert len(list(Path("/tmp").glob("executor-box-*"))) == folders


HOSTILE = """
import sys
from executor.judge import Judge
from executor_suites import HONEST_SUMS, SUM, stdin_suite

programs = {
    "kill everything": '''
import os
for sig in (9, 15):
    try: os.kill(-1, sig)
    except OSError: pass
    os.kill(0, sig)
while True: pass
''',
    "fork bomb": '''
import os
while True:
    try: os.fork()
    except OSError: pass
''',
    "kill the group": '''
import os
os.killpg(0, 9)
while True: pass
''',
    "thread bomb": '''
import threading, time
while True: threading.Thread(target=time.sleep, args=(100,)).start()
''',
    "fill the disk": '''
i = 0
while True:
    i += 1
    open(str(i), 'wb').write(b'x' * 1000000)
''',
    "daemons": '''
import os, time
for i in range(20):
    if os.fork() == 0:
        os.setsid()
        while True: time.sleep(1)
print(1 / 0)
''',
}
with Judge(1, 1.0, 256) as judge:
    if judge.layers.get("pid namespace per program") != "on":
        sys.exit(f"layers: {judge.layers}")
    for name, program in programs.items():
        hostile, honest = judge.grade([(stdin_suite(("", ""), time_limit_s=0.5), program), (SUM, HONEST_SUMS["input"] + f"# {name}")])
        print(name, hostile.outcome, hostile.error_type, honest.outcome, judge.restarts, flush=True)
        assert hostile.outcome == "runtime_error" and honest.outcome == "pass" and judge.restarts == 0
print("all held")
"""


def test_hostile_programs_are_held_in_a_throw_away_namespace() -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare command to make a throw-away namespace with")
    inside = [unshare, *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*inside, "true"], capture_output=True).returncode != 0:
        pytest.skip("this host allows no namespaces (as root, or kernel.unprivileged_userns_clone and AppArmor's userns restriction)")
    done = subprocess.run(
        [*inside, sys.executable, "-c", HOSTILE],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )
    assert done.returncode == 0 and done.stdout.endswith("all held\n"), done.stdout + done.stderr
