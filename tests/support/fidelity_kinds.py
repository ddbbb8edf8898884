"""Honest programs of the kinds that judges get wrong: streams by their paths, long integers, deep values and recursion,
names that a site imports; and wrong ones that come close.

Each is (suite, program). Written for these tests, after the kinds of public reports.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rltf.problems.problem import TestSuite
from tests.support.executor_suites import SUM, assert_suite, call_suite, stdin_suite

NAN, INF = float("nan"), float("inf")
TWO_LINES = stdin_suite(("1 2\n", "1\n2\n"), ("7 8\n", "7\n8\n"))
"""Two numbers; each on a line."""
LONG = 10**5000 + 7
LONG_TEXT = "1" + "0" * 4999 + "7"
POWER = stdin_suite((f"{LONG_TEXT}\n", "3" + "0" * 4998 + "21\n"), time_limit_s=4.0)
"""A number of 5,001 digits; three times as much."""
BUILTINS = stdin_suite(("5\n", "5\n"))


def nested(levels: int, inner: Any = None) -> list[Any]:
    value: list[Any] = [] if inner is None else [inner]
    for _ in range(levels - 1):
        value = [value]
    return value


def same(value: Any) -> TestSuite:
    return call_suite("same", ([value], value))


_SAME = "def same(x):\n    return x\n"
_TOTAL = "print(sum(map(int, data.split()[1:])))\n"
_DEPTH = call_suite("depth", ([20_000], 20_000), ([3], 3), time_limit_s=4.0)
_APPS = replace(call_suite("pick", ([{"1": "a", "-2": "b"}, 1], "a"), ([{"5": "x"}, 5], "x")), site="apps")
_BIG = stdin_suite(
    *((f"{n}\n" + "words\n" * 1_400_000, f"{n}\n") for n in range(2)), time_limit_s=4.0, memory_limit_mb=64
)
"""Two tests of 8 MB each, and 64 MB of memory."""
_CYCLES = stdin_suite(*((f"{n}\n", f"{n}\n") for n in range(4)), time_limit_s=4.0, memory_limit_mb=96)
_STARTED = replace(
    call_suite("pairs", ([[1, 2, 3]], [[1, 2], [2, 3]])), prelude="from typing import List\nimport itertools"
)

HONEST_KINDS: dict[str, tuple[TestSuite, str]] = {
    "/dev/stdin": (SUM, "data = open('/dev/stdin').read()\n" + _TOTAL),
    "/dev/stdin as a path": (SUM, "from pathlib import Path\ndata = Path('/dev/stdin').read_text()\n" + _TOTAL),
    "/dev/fd/0": (SUM, "with open('/dev/fd/0', 'rb') as f:\n    data = f.read()\n" + _TOTAL),
    "/proc/self/fd/0": (SUM, "import io\ndata = io.open('/proc/self/fd/0').read()\n" + _TOTAL),
    "os.open of /dev/stdin": (
        SUM,
        "import os\nfd = os.open('/dev/stdin', os.O_RDONLY)\ndata = os.read(fd, 10**6)\nos.close(fd)\n" + _TOTAL,
    ),
    "/dev/stdin if it is there": (
        SUM,
        "import os, sys\nif os.path.exists('/dev/stdin'):\n    sys.stdin = open('/dev/stdin')\n"
        "data = sys.stdin.read()\n" + _TOTAL,
    ),
    "numpy.loadtxt of /dev/stdin": (
        TWO_LINES,
        "import numpy as np\nfor x in np.loadtxt('/dev/stdin', dtype=int): print(x)\n",
    ),
    "fileinput of /dev/stdin": (
        SUM,
        "import fileinput\ndata = ''.join(fileinput.input(files=['/dev/stdin']))\n" + _TOTAL,
    ),
    "/dev/stdout, begun by print": (
        TWO_LINES,
        "a, b = input().split()\nprint(a, flush=True)\nout = open('/dev/stdout', 'w')\nprint(b, file=out)\n",
    ),
    "/dev/stdout, added to": (
        TWO_LINES,
        "for x in input().split():\n    with open('/dev/stdout', 'a') as out:\n        print(x, file=out)\n",
    ),
    "/dev/fd/1 by its number": (
        TWO_LINES,
        "import os\nout = os.open('/dev/fd/1', os.O_WRONLY)\nfor x in input().split(): os.write(out, x.encode() + b'\\n')\n",
    ),
    "a file on 1 that nobody closes": (
        TWO_LINES,
        "out = open(1, 'w')\nfor x in input().split(): out.write(x + '\\n')\n",
    ),
    "a file on 1 in a cycle": (
        TWO_LINES,
        "import os\nclass Out:\n    def __init__(self):\n        self.me, self.file = self, os.fdopen(1, 'w')\nout = Out()\n"
        "for x in input().split(): print(x, file=out.file)\n",
    ),
    "stdin opened again by its descriptor": (SUM, "import os\ndata = os.fdopen(0).read()\n" + _TOTAL),
    "stdout detached": (
        TWO_LINES,
        "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='utf-8', newline='\\n')\n"
        "for x in input().split(): print(x)\n",
    ),
    "stdout and stdin wrapped": (
        TWO_LINES,
        "import io, sys\nsys.stdin = io.TextIOWrapper(sys.stdin.buffer)\n"
        "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, line_buffering=True)\nfor x in input().split(): print(x)\n",
    ),
    "stdin detached": (
        TWO_LINES,
        "import sys\nraw = sys.stdin.detach()\nfor x in raw.readline().split(): print(x.decode())\n",
    ),
    "a writer of codecs": (
        TWO_LINES,
        "import codecs, sys\nsys.stdout = codecs.getwriter('utf-8')(sys.stdout.buffer)\nfor x in input().split(): print(x)\n",
    ),
    "no stdout at the end": (
        TWO_LINES,
        "import sys\nfor x in input().split(): print(x)\nsys.stdout.flush()\nsys.stdout = None\nprint('nowhere')\n",
    ),
    "names of the streams": (
        BUILTINS,
        "import sys\nassert (sys.stdin.name, sys.stdout.name) == ('<stdin>', '<stdout>')\nprint(input())\n",
    ),
    "__builtins__ of a script": (BUILTINS, "show = __builtins__.print\nshow(__builtins__.input())\n"),
    "__builtins__ by vars": (BUILTINS, "assert 'sum' in vars(__builtins__)\nprint(getattr(__builtins__, 'input')())\n"),
    "names of a script": (
        BUILTINS,
        "x: int = 5\nassert __name__ == '__main__' and __annotations__ == {'x': int} and __spec__ is None\nprint(x)\n",
    ),
    "a long integer, read and printed": (POWER, "print(3 * int(input()))\n"),
    "a long integer in a text": (POWER, "n = int(input())\nprint(f'{n + n + n}')\n"),
    "a long integer by json": (POWER, "import json\nprint(json.dumps(3 * json.loads(input())))\n"),
    "a long integer by its repr": (POWER, "import sys\nsys.stdout.write(repr(3 * eval(input())))\n"),
    "a long integer as a value": (same(LONG), _SAME),
    "a long integer below zero, in a list": (same([1, [-LONG, {"a": LONG}]]), _SAME),
    "a long integer in an assert": (assert_suite(f"assert same({LONG_TEXT}) == {LONG_TEXT}"), _SAME),
    "NaN": (same(NAN), _SAME),
    "NaN of numpy, in lists and dictionaries": (
        call_suite("f", ([[1]], [NAN, {"a": [NAN]}])),
        "import numpy as np\ndef f(xs):\n    return [np.nan, {'a': [np.float64('nan')]}]\n",
    ),
    "infinities": (same([INF, -INF, 1.5]), _SAME),
    "an argument of 300 levels": (
        call_suite("levels", ([nested(300), [[]]], [300, 2])),
        "def count(x):\n    n = 0\n    while isinstance(x, list):\n        n += 1\n        x = x[0] if x else None\n    return n\n"
        "def levels(x, y):\n    return [count(x), count(y)]\n",
    ),
    "a value of 300 levels": (
        call_suite("nest", ([300], nested(300))),
        "def nest(n):\n    x = []\n    for _ in range(n - 1): x = [x]\n    return x\n",
    ),
    "dictionaries of 150 levels": (same({"a": nested(140, {"b": nested(5)})}), _SAME),
    "keys as JSON writes them": (
        call_suite("f", ([1], {"true": 1, "null": 2, "1.5": 3, "7": 4})),
        "def f(x):\n    return {True: 1, None: 2, 1.5: 3, 7: 4}\n",
    ),
    "deep recursion of a method": (
        _DEPTH,
        "class Solution:\n    def depth(self, n: int) -> int:\n        return 0 if n == 0 else 1 + self.depth(n - 1)\n",
    ),
    "deep recursion of a method through C": (
        _DEPTH,
        "class Solution:\n    def depth(self, n):\n        @cache\n        def down(k):\n"
        "            return 0 if k == 0 else 1 + down(k - 1)\n        return down(n)\n",
    ),
    "deep recursion in LiveCodeBench": (
        replace(_DEPTH, site="livecodebench"),
        "def depth(n):\n    return 0 if n == 0 else 1 + depth(n - 1)\n",
    ),
    "threads with large stacks in little memory": (
        stdin_suite(("9\n", "9\n"), time_limit_s=4.0, memory_limit_mb=256),
        "import sys, threading\nsys.setrecursionlimit(10**7)\nthreading.stack_size(2**28)\ndef down(n):\n"
        "    return n and 1 + down(n - 1)\ndef main():\n    print(down(int(input())))\nt = threading.Thread(target=main)\n"
        "t.start()\nt.join()\n",
    ),
    "hints of names that the prompt imported": (
        _STARTED,
        "def pairs(xs: List[int]) -> List[List[int]]:\n    return [[a, b] for a, b in itertools.pairwise(xs)]\n",
    ),
    "asserts on a class Solution with the site's names": (
        assert_suite("assert Solution().total([1, 2]) == 3"),
        "class Solution:\n    def total(self, xs: List[int]) -> int:\n        return reduce(add, xs, 0) if inf else -1\n",
    ),
    "sorted containers that the site imports": (
        call_suite("ranks", ([[3, 1, 2]], [1, 2, 3])),
        "class Solution:\n    def ranks(self, xs):\n        return list(SortedList(xs))\n",
    ),
    "sorted containers, imported": (
        SUM,
        "from sortedcontainers import SortedDict, SortedList\ninput()\nprint(sum(SortedList(map(int, input().split()))))\n",
    ),
    "names of the APPS harness": (
        replace(SUM, site="apps"),
        "input()\nq = []\nfor x in input().split(): heappush(q, int(x))\nprint(sum(Counter(q).elements()) + gcd(4, 6) - 2)\n",
    ),
    "numbers as keys in APPS": (_APPS, "def pick(d, k):\n    return d[k]\n"),
    "names of LiveCodeBench's harness": (
        replace(SUM, site="livecodebench"),
        "stdin.readline()\nprint(sum(map(int, re.findall('[0-9]+', stdin.readline()))))\n",
    ),
    "tests larger than a quarter of the memory": (_BIG, "print(input())\n"),
    "garbage of earlier tests": (
        _CYCLES,
        "class Box:\n    pass\ndef work():\n    box = Box()\n    box.me, box.data = box, [0] * 5_000_000\nwork()\nprint(input())\n",
    ),
}

WRONG_KINDS: dict[str, tuple[TestSuite, str]] = {
    "zero for NaN": (same(NAN), "def same(x):\n    return 0.0\n"),
    "NaN for a number": (same(1.5), "def same(x):\n    return float('nan')\n"),
    "NaN as a text": (same(NAN), "def same(x):\n    return 'nan'\n"),
    "the other infinity": (same(INF), "def same(x):\n    return -x\n"),
    "a long integer, off by one": (same(LONG), "def same(x):\n    return x + 1\n"),
    "one level too few": (same(nested(200)), "def same(x):\n    return x[0]\n"),
    "no names without a class Solution": (same(1), "def same(x: List[int]):\n    return x\n"),
    "no names on standard input": (SUM, "input()\nprint(sum(Counter(map(int, input().split())).elements()))\n"),
    "deep recursion of a plain function": (
        _DEPTH,
        "def depth(n):\n    return 0 if n == 0 else 1 + depth(n - 1)\n",
    ),
    "endless recursion of a method": (
        _DEPTH,
        "class Solution:\n    def depth(self, n):\n        return self.depth(n + 1)\n",
    ),
    "endless recursion of a method through C": (
        _DEPTH,
        "class Solution:\n    @cache\n    def depth(self, n):\n        return self.depth(n + 1)\n",
    ),
    "texts as keys elsewhere": (
        call_suite("pick", ([{"1": "a"}], "a")),
        "def pick(d):\n    return d[1]\n",
    ),
    "a stdout that cannot be flushed": (
        BUILTINS,
        "import os, sys\nos.write(1, b'5\\n')\nclass Out:\n    def write(self, text): pass\nsys.stdout = Out()\n",
    ),
    "/dev/stdout of too much": (TWO_LINES, "with open('/dev/stdout', 'w') as out:\n    out.write(input() + '\\n')\n"),
}
