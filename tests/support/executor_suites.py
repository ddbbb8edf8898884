"""Suites and programs for the executor's tests."""

from __future__ import annotations

from typing import Any

from rltf.problems.problem import TestSuite


def stdin_suite(*pairs: tuple[str, str], time_limit_s: float = 1.0, memory_limit_mb: int = 512) -> TestSuite:
    return TestSuite(
        kind="stdin",
        fn_name=None,
        inputs=tuple(given for given, _ in pairs),
        outputs=tuple(expected for _, expected in pairs),
        time_limit_s=time_limit_s,
        memory_limit_mb=memory_limit_mb,
    )


def call_suite(fn_name: str, *pairs: tuple[list[Any], Any], time_limit_s: float = 1.0) -> TestSuite:
    return TestSuite(
        kind="call",
        fn_name=fn_name,
        inputs=tuple(arguments for arguments, _ in pairs),
        outputs=tuple(expected for _, expected in pairs),
        time_limit_s=time_limit_s,
    )


def assert_suite(*asserts: str, setup: str = "", time_limit_s: float = 1.0) -> TestSuite:
    return TestSuite(
        kind="assert", fn_name=None, inputs=(), outputs=(), asserts=asserts, setup=setup, time_limit_s=time_limit_s
    )


SUM = stdin_suite(("2\n1 2\n", "3\n"), ("3\n4 5 6\n", "15\n"))
"""A count, then numbers on one line; their sum."""

HONEST_SUMS = {
    "input": "n = int(input())\nprint(sum(map(int, input().split())))\n",
    "stdin.readline": "import sys\ninput = sys.stdin.readline\nn = int(input())\nprint(sum(map(int, input().split())))\n",
    "stdin.buffer.read": "import sys\ndata = sys.stdin.buffer.read().split()\nprint(sum(map(int, data[1:])))\n",
    "stdin.buffer.readline": "import sys\nsys.stdin.buffer.readline()\nprint(sum(map(int, sys.stdin.buffer.readline().split())))\n",
    "stdin lines": "import sys\nlines = [line.strip() for line in sys.stdin]\nprint(sum(int(x) for x in lines[1].split()))\n",
    "stdin.readlines": "from sys import stdin\nlines = stdin.readlines()\nprint(sum(map(int, lines[1].split())))\n",
    "open(0)": "n, numbers = open(0)\nprint(sum(map(int, numbers.split())))\n",
    "open(0).read": "data = open(0).read().split()\nprint(sum(map(int, data[1:])))\n",
    "os.read": "import os\ndata = os.read(0, 10**6).split()\nprint(sum(map(int, data[1:])))\n",
    "os.write": "import os\nn = input()\nos.write(1, str(sum(map(int, input().split()))).encode())\n",
    "stdout.write": "import sys\ninput()\nsys.stdout.write(str(sum(map(int, input().split()))) + '\\n')\n",
    "stdout.buffer": "import sys\ninput()\nsys.stdout.buffer.write(b'%d' % sum(map(int, input().split())))\n",
    "print to file": "import sys\ninput()\nprint(sum(map(int, input().split())), file=sys.stdout, flush=True)\n",
    "StringIO stdout": (
        "import io, sys\nout = io.StringIO()\ninput()\n"
        "out.write(str(sum(map(int, input().split()))))\nsys.__stdout__.write(out.getvalue())\n"
    ),
    "fast io": (
        "import io, os, sys\ninput = io.BytesIO(os.read(0, os.fstat(0).st_size)).readline\ninput()\nprint(sum(map(int, input().split())))\n"
    ),
    "guard": "def main():\n    input()\n    print(sum(map(int, input().split())))\n\nif __name__ == '__main__':\n    main()\n",
    "exit()": "input()\nprint(sum(map(int, input().split())))\nexit()\n",
    "quit(0)": "input()\nprint(sum(map(int, input().split())))\nquit(0)\n",
    "sys.exit": "import sys\ninput()\nprint(sum(map(int, input().split())))\nsys.exit(0)\n",
    "os._exit": "import os, sys\ninput()\nprint(sum(map(int, input().split())))\nsys.stdout.flush()\nos._exit(0)\n",
    "raise SystemExit": "input()\nprint(sum(map(int, input().split())))\nraise SystemExit\n",
    "future": "from __future__ import annotations\ninput()\nx: Undefined = 0\nprint(sum(map(int, input().split())))\n",
    "global": "total = 0\ndef add(x):\n    global total\n    total += x\ninput()\nfor x in input().split(): add(int(x))\nprint(total)\n",
    "late star import": "n = input()\nfrom math import *\nprint(int(fsum(map(int, input().split()))))\n",
    "big stack thread": (
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(2**27)\n"
        "def add(xs, i): return 0 if i == len(xs) else xs[i] + add(xs, i + 1)\n"
        "def main():\n    input()\n    xs = list(map(int, input().split()))\n    print(add(xs + [0] * 20000, 0))\n"
        "threading.Thread(target=main).start()\n"
    ),
    "daemon joined": (
        "import threading\ndef main():\n    input()\n    print(sum(map(int, input().split())))\n"
        "t = threading.Thread(target=main, daemon=True)\nt.start()\nt.join()\n"
    ),
    "deep recursion": (
        "import sys\nsys.setrecursionlimit(200000)\ndef depth(n): return 0 if n == 0 else 1 + depth(n - 1)\n"
        "input()\nprint(sum(map(int, input().split())) + depth(50000) - 50000)\n"
    ),
    "atexit": "import atexit\ninput()\natexit.register(print, sum(map(int, input().split())))\n",
    "generator": "def numbers():\n    input()\n    yield from map(int, input().split())\nprint(sum(numbers()))\n",
    "classes": (
        "from dataclasses import dataclass, field\n@dataclass\nclass Node:\n    values: list = field(default_factory=list)\n"
        "class Tree(Node):\n    def total(self): return sum(self.values)\ninput()\nprint(Tree(list(map(int, input().split()))).total())\n"
    ),
    "type hints": (
        "from typing import List\ndef solve(xs: List[int]) -> int:\n    return sum(xs)\n"
        "input()\nprint(solve([int(x) for x in input().split()]))\n"
    ),
    "lru_cache": (
        "from functools import lru_cache\ninput()\nxs = tuple(map(int, input().split()))\n"
        "@lru_cache(None)\ndef go(i): return 0 if i == len(xs) else xs[i] + go(i + 1)\nprint(go(0))\n"
    ),
    "executor pool": (
        "from concurrent.futures import ThreadPoolExecutor\ninput()\nwith ThreadPoolExecutor(2) as pool:\n"
        "    print(sum(pool.map(int, input().split())))\n"
    ),
    "eof loop": (
        "data = []\nwhile True:\n    try:\n        data += input().split()\n    except EOFError:\n        break\n"
        "print(sum(map(int, data[1:])))\n"
    ),
    "stderr": "import sys\nprint('debug', file=sys.stderr)\ninput()\nprint(sum(map(int, input().split())))\n",
    "exec": "exec('input()\\nprint(sum(map(int, input().split())))')\n",
    "pickle of a class": (
        "import pickle\nclass Box:\n    def __init__(self, x): self.x = x\ninput()\n"
        "print(pickle.loads(pickle.dumps(Box(sum(map(int, input().split()))))).x)\n"
    ),
    "temporary file": (
        "import tempfile\ninput()\nwith tempfile.TemporaryFile('w+') as file:\n    file.write(input())\n    file.seek(0)\n"
        "    print(sum(map(int, file.read().split())))\n"
    ),
    "spaces and blank lines": "input()\nprint()\nprint('  ', sum(map(int, input().split())), '  ')\nprint()\n",
    "closes stdout": "import sys\ninput()\nprint(sum(map(int, input().split())))\nsys.stdout.close()\n",
}

WRONG_SUMS = {
    "constant": "print(3)\n",
    "nothing": "pass\n",
    "off by one": "input()\nprint(sum(map(int, input().split())) + 1)\n",
    "float": "input()\nprint(float(sum(map(int, input().split()))))\n",
    "extra line": "input()\nprint(sum(map(int, input().split())))\nprint('done')\n",
    "extra word": "input()\nprint('sum:', sum(map(int, input().split())))\n",
    "to stderr": "import sys\ninput()\nprint(sum(map(int, input().split())), file=sys.stderr)\n",
    "digits apart": "input()\nprint(*str(sum(map(int, input().split()))), sep='\\n')\n",
    "all answers": "print(3)\nprint(15)\n",
}

FAST_IO = """
import os, sys
from io import BytesIO, IOBase
BUFSIZE = 8192
class FastIO(IOBase):
    newlines = 0
    def __init__(self, file):
        self._fd = file.fileno()
        self.buffer = BytesIO()
        self.writable = "x" in file.mode or "r" not in file.mode
        self.write = self.buffer.write if self.writable else None
    def read(self):
        while True:
            b = os.read(self._fd, max(os.fstat(self._fd).st_size, BUFSIZE))
            if not b:
                break
            ptr = self.buffer.tell()
            self.buffer.seek(0, 2), self.buffer.write(b), self.buffer.seek(ptr)
        self.newlines = 0
        return self.buffer.read()
    def readline(self):
        while self.newlines == 0:
            b = os.read(self._fd, max(os.fstat(self._fd).st_size, BUFSIZE))
            self.newlines = b.count(b"\\n") + (not b)
            ptr = self.buffer.tell()
            self.buffer.seek(0, 2), self.buffer.write(b), self.buffer.seek(ptr)
        self.newlines -= 1
        return self.buffer.readline()
    def flush(self):
        if self.writable:
            os.write(self._fd, self.buffer.getvalue())
            self.buffer.truncate(0), self.buffer.seek(0)
class IOWrapper(IOBase):
    def __init__(self, file):
        self.buffer = FastIO(file)
        self.flush = self.buffer.flush
        self.writable = self.buffer.writable
        self.write = lambda s: self.buffer.write(s.encode("ascii"))
        self.read = lambda: self.buffer.read().decode("ascii")
        self.readline = lambda: self.buffer.readline().decode("ascii")
sys.stdin, sys.stdout = IOWrapper(sys.stdin), IOWrapper(sys.stdout)
input = lambda: sys.stdin.readline().rstrip("\\r\\n")
"""
