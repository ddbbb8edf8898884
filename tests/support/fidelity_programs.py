"""Honest programs in the many ways people write them, and wrong ones that come close; `executor_suites` has more, for
one problem.

Each is (suite, program); those that define functions are in `fidelity_functions`. Written for these tests, after the
habits of contest and interview sites.
"""

from __future__ import annotations

from rltf.problems.problem import TestSuite
from tests.support.executor_suites import FAST_IO, SUM, stdin_suite
from tests.support.fidelity_functions import ADD, CHECK, CODED, HALVES, HONEST_ASSERT, HONEST_CALL

GRID = stdin_suite(("2 3\n#.#\n..#\n", "3\n"), ("1 1\n.\n", "0\n"), time_limit_s=4.0)
"""Rows and columns, then a map; the number of '#'."""
QUERIES = stdin_suite(("3\n5\n1\n3\n", "1\n3\n5\n"), ("1\n7\n", "7\n"), time_limit_s=4.0)
"""A count, then a number per line; sorted, one per line."""
HALF = stdin_suite(("3\n", "1.5\n"), ("5\n", "2.5000000\n"))
WORDS = stdin_suite(("b a  c\r\nx", "4 b\n"), ("one\r\n", "1 one\n"))
"""Words over several lines, Windows line ends; how many, and the first."""
BIG = stdin_suite(("200000\n", "".join(f"{n}\n" for n in range(200_000))), time_limit_s=8.0)
"""A count; that many numbers, 1.3 MB of them."""

_READ = "n = int(input())\nxs = [int(input()) for _ in range(n)]\n"
_SHOW = "print(*sorted(xs), sep='\\n')\n"

HONEST_STDIN: dict[str, tuple[TestSuite, str]] = {
    "the fast IO of PyPy users": (QUERIES, FAST_IO + _READ + _SHOW),
    "fast IO, flushed by hand": (
        QUERIES,
        FAST_IO + _READ + "sys.stdout.write('\\n'.join(map(str, sorted(xs))) + '\\n')\nsys.stdout.flush()\n",
    ),
    "a reader that is an iterator": (
        QUERIES,
        "import sys\nit = iter(sys.stdin.read().split())\nn = int(next(it))\nxs = [int(next(it)) for _ in range(n)]\n"
        + _SHOW,
    ),
    "input replaced by next": (
        QUERIES,
        "import sys\ninput = iter(sys.stdin.read().splitlines()).__next__\n" + _READ + _SHOW,
    ),
    "stdin replaced by StringIO": (
        QUERIES,
        "import io, sys\nsys.stdin = io.StringIO(sys.stdin.read())\n" + _READ + _SHOW,
    ),
    "stdin opened again": (QUERIES, "import os, sys\nsys.stdin = os.fdopen(0)\n" + _READ + _SHOW),
    "stdout replaced, shown at the end": (
        QUERIES,
        "import io, sys\nold, sys.stdout = sys.stdout, io.StringIO()\n"
        + _READ
        + _SHOW
        + "old.write(sys.stdout.getvalue())\n",
    ),
    "stdout opened again": (QUERIES, "import sys\nsys.stdout = open(1, 'w')\n" + _READ + _SHOW),
    "redirect_stdout": (
        QUERIES,
        f"import contextlib, io\nout = io.StringIO()\n{_READ}"
        f"with contextlib.redirect_stdout(out):\n    {_SHOW}print(out.getvalue(), end='')\n",
    ),
    "read one character at a time": (
        GRID,
        "import sys\nread = lambda: sys.stdin.read(1)\nc, total = read(), 0\nwhile c:\n    total += c == '#'\n"
        "    c = read()\nprint(total)\n",
    ),
    "fileinput": (
        GRID,
        "import fileinput\nlines = [line for line in fileinput.input()]\n"
        "print(sum(line.count('#') for line in lines[1:]))\n",
    ),
    "numbers with numpy": (
        SUM,
        "import sys\nimport numpy as np\ndata = np.array(sys.stdin.read().split(), dtype=np.int64)\n"
        "print(data[1:].sum())\n",
    ),
    "numpy.loadtxt": (
        QUERIES,
        "import sys\nimport numpy\nxs = numpy.loadtxt(sys.stdin, dtype=int, ndmin=1)[1:]\n"
        "for x in sorted(xs.tolist()): print(x)\n",
    ),
    "csv": (SUM, "import csv, sys\nrows = list(csv.reader(sys.stdin, delimiter=' '))\nprint(sum(map(int, rows[1])))\n"),
    "a template with solve and T": (
        SUM,
        "import sys\nfrom collections import Counter, defaultdict, deque\nfrom heapq import heappop, heappush\nfrom math import ceil, gcd\n"
        "input = lambda: sys.stdin.readline().strip()\nMOD = 10**9 + 7\nINF = float('inf')\ndef solve():\n    n = int(input())\n"
        "    a = list(map(int, input().split()))\n    return sum(a)\ndef main():\n    t = 1\n    for _ in range(t):\n"
        "        print(solve())\n"
        "if __name__ == '__main__':\n    main()\n",
    ),
    "bootstrapped recursion": (
        SUM,
        "from types import GeneratorType\ndef bootstrap(f, stack=[]):\n    def wrapped(*args, **kwargs):\n        if stack:\n"
        "            return f(*args, **kwargs)\n        to = f(*args, **kwargs)\n        while True:\n"
        "            if type(to) is GeneratorType:\n"
        "                stack.append(to)\n                to = next(to)\n            else:\n"
        "                stack.pop()\n                if not stack:\n"
        "                    break\n                to = stack[-1].send(to)\n        return to\n    return wrapped\n"
        "@bootstrap\ndef add(xs, i):\n    if i == len(xs):\n        yield 0\n    rest = yield add(xs, i + 1)\n    yield xs[i] + rest\n"
        "input()\nprint(add(list(map(int, input().split())) + [0] * 5000, 0))\n",
    ),
    "recursion on a limit of a million": (
        SUM,
        "import sys\nsys.setrecursionlimit(10**6)\ndef add(xs):\n    return xs[0] + add(xs[1:]) if xs else 0\ninput()\n"
        "print(add([int(x) for x in input().split()] + [0] * 900))\n",
    ),
    "recursion of a lambda": (
        SUM,
        "input()\nadd = lambda xs: xs[0] + add(xs[1:]) if xs else 0\nprint(add(list(map(int, input().split()))))\n",
    ),
    "deep recursion through C": (
        SUM,
        "import sys\nfrom functools import lru_cache\nsys.setrecursionlimit(10**5)\n@lru_cache(maxsize=None)\ndef down(n):\n"
        "    return 0 if n == 0 else down(n - 1)\ninput()\nprint(sum(map(int, input().split())) + down(5000))\n",
    ),
    "a thread with a stack of 64 MB": (
        SUM,
        "import sys, threading\nsys.setrecursionlimit(1 << 20)\nthreading.stack_size(1 << 26)\ndef down(n):\n"
        "    return n and 1 + down(n - 1)\n"
        "def main():\n    input()\n    print(sum(map(int, input().split())) + down(30000) - 30000)\n"
        "t = threading.Thread(target=main)\nt.start()\nt.join()\n",
    ),
    "threads and a queue": (
        SUM,
        "import queue, threading\nq = queue.Queue()\ndone = []\ndef work():\n    while (x := q.get()) is not None:\n"
        "        done.append(x)\n"
        "threads = [threading.Thread(target=work) for _ in range(4)]\nfor t in threads: t.start()\ninput()\n"
        "for x in input().split(): q.put(int(x))\n"
        "for t in threads: q.put(None)\nfor t in threads: t.join()\nprint(sum(done))\n",
    ),
    "asyncio": (
        SUM,
        "import asyncio\nasync def main():\n    input()\n    await asyncio.sleep(0)\n"
        "    print(sum(map(int, input().split())))\nasyncio.run(main())\n",
    ),
    "exit from a nested function": (
        SUM,
        "def main():\n    def finish(x):\n        print(x)\n        exit()\n    input()\n"
        "    finish(sum(map(int, input().split())))\nmain()\nprint('never')\n",
    ),
    "sys.exit of main": (
        SUM,
        "import sys\ndef main():\n    input()\n    print(sum(map(int, input().split())))\nif __name__ == '__main__':\n"
        "    sys.exit(main())\n",
    ),
    "exit(0) inside try": (
        SUM,
        "try:\n    input()\n    print(sum(map(int, input().split())))\n    exit(0)\nexcept Exception:\n"
        "    print('no')\n",
    ),
    "finally": (
        SUM,
        "total = 0\ntry:\n    input()\n    total = sum(map(int, input().split()))\nfinally:\n    print(total)\n",
    ),
    "print in a destructor": (
        SUM,
        "class Show:\n    def __init__(self, x):\n        self.x = x\n    def __del__(self):\n        print(self.x)\ninput()\n"
        "show = Show(sum(map(int, input().split())))\ndel show\n",
    ),
    "atexit prints": (
        SUM,
        "import atexit\nout = []\n@atexit.register\ndef show():\n    print(*out)\ninput()\n"
        "out.append(sum(map(int, input().split())))\n",
    ),
    "until the end of input": (
        SUM,
        "import sys\ntotal = 0\nfor i, line in enumerate(sys.stdin):\n    if i:\n"
        "        total += sum(map(int, line.split()))\nprint(total)\n",
    ),
    "a bare except at the end": (
        SUM,
        "xs = []\ntry:\n    while 1:\n        xs.append(input())\nexcept:\n    pass\n"
        "print(sum(map(int, xs[1].split())))\n",
    ),
    "shebang and coding line": (
        SUM,
        "#!/usr/bin/env python3\n# -*- coding: utf-8 -*-\nn = int(input())\n"
        "print(sum(int(x) for x in input().split()))\n",
    ),
    "Windows line ends": (SUM, "n = int(input())\r\nif n:\r\n    print(sum(map(int, input().split())))\r\n"),
    "tabs and semicolons": (
        SUM,
        "n = int(input()); s = 0\nfor x in input().split():\n\ts += int(x); t = s\nprint(t)\n",
    ),
    "no line end": (SUM, "input();print(sum(map(int,input().split())))"),
    "a byte order mark": (SUM, "\ufeffinput()\nprint(sum(map(int, input().split())))\n"),
    "names in other alphabets": (SUM, "число = int(input())\nсумма = sum(map(int, input().split()))\nprint(сумма)\n"),
    "a main guard around everything": (
        SUM,
        "if __name__ == '__main__':\n    input()\n    import functools, operator\n"
        "    print(functools.reduce(operator.add, map(int, input().split())))\n",
    ),
    "star imports": (
        SUM,
        "from math import *\nfrom collections import *\nfrom itertools import *\ninput()\n"
        "print(list(accumulate(map(int, input().split())))[-1])\n",
    ),
    "imports in the middle": (
        SUM,
        "input()\ns = input()\nimport re\nfrom functools import reduce\n"
        "print(reduce(lambda a, b: a + int(b), re.findall(r'-?\\d+', s), 0))\n",
    ),
    "walrus and comprehension": (
        SUM,
        "input()\nprint(total := sum(y for x in input().split() if (y := int(x)) or True))\n",
    ),
    "match": (
        SUM,
        "def total(xs):\n    match xs:\n        case []:\n            return 0\n        case [x, *rest]:\n"
        "            return int(x) + total(rest)\ninput()\nprint(total(input().split()))\n",
    ),
    "enum, NamedTuple and Generic": (
        SUM,
        "from enum import Enum, auto\nfrom typing import Generic, NamedTuple, Optional, TypeVar\nT = TypeVar('T')\n"
        "class Kind(Enum):\n    ONE = auto()\n"
        "class Item(NamedTuple):\n    value: int\n    kind: Kind = Kind.ONE\nclass Bag(Generic[T]):\n"
        "    def __init__(self) -> None:\n        self.items: list[T] = []\n"
        "    def add(self, item: T) -> 'Bag[T]':\n        self.items.append(item)\n        return self\n"
        "bag: Optional[Bag[Item]] = Bag()\ninput()\n"
        "for x in input().split():\n    bag.add(Item(int(x)))\nprint(sum(i.value for i in bag.items if i.kind is Kind.ONE))\n",
    ),
    "a segment tree": (
        SUM,
        "class SegmentTree:\n    def __init__(self, xs):\n        self.n = len(xs)\n"
        "        self.t = [0] * self.n + xs\n        for i in range(self.n - 1, 0, -1):\n"
        "            self.t[i] = self.t[2 * i] + self.t[2 * i + 1]\n    def query(self, l, r):\n        s = 0\n"
        "        l += self.n\n        r += self.n\n        while l < r:\n"
        "            if l & 1:\n                s += self.t[l]\n                l += 1\n            if r & 1:\n"
        "                r -= 1\n                s += self.t[r]\n            l >>= 1\n"
        "            r >>= 1\n        return s\nn = int(input())\nprint(SegmentTree(list(map(int, input().split()))).query(0, n))\n",
    ),
    "metaclass, slots, property, operators": (
        SUM,
        "class Meta(type):\n    def __call__(cls, *a):\n        return super().__call__(*a)\nclass N(metaclass=Meta):\n"
        "    __slots__ = ('_x',)\n    def __init__(self, x):\n"
        "        self._x = x\n    @property\n    def x(self):\n        return self._x\n    def __add__(self, other):\n"
        "        return N(self.x + other.x)\n    def __radd__(self, other):\n"
        "        return self\n    def __str__(self):\n        return str(self.x)\ninput()\n"
        "print(sum(N(int(x)) for x in input().split()))\n",
    ),
    "decimal and fractions": (
        SUM,
        "from decimal import Decimal\nfrom fractions import Fraction\ninput()\n"
        "print(int(sum(Fraction(Decimal(x)) for x in input().split())))\n",
    ),
    "numbers of a thousand digits": (
        stdin_suite(("2000\n", str(2**2000) + "\n")),
        "import sys\nsys.set_int_max_str_digits(0)\nprint(1 << int(input()))\n",
    ),
    "a float with few digits": (HALF, "print('%.1f' % (int(input()) / 2))\n"),
    "a float with many digits": (HALF, "print(f'{int(input()) / 2:.12f}')\n"),
    "a float in scientific notation": (HALF, "print('%e' % (int(input()) / 2))\n"),
    "words of Windows lines": (
        WORDS,
        "words = []\ntry:\n    while True:\n        words += input().split()\nexcept EOFError:\n    print(len(words), words[0])\n",
    ),
    "more than a megabyte, line by line": (BIG, "for i in range(int(input())):\n    print(i)\n"),
    "more than a megabyte, at once": (
        BIG,
        "import sys\nsys.stdout.write(''.join(f'{i}\\n' for i in range(int(input()))))\n",
    ),
    "more than a megabyte, in bytes": (
        BIG,
        "import os\nos.write(1, b''.join(b'%d\\n' % i for i in range(int(input()))))\n",
    ),
    "flushed print": (QUERIES, _READ + "for x in sorted(xs): print(x, flush=True)\n"),
    "print as a name": (
        QUERIES,
        "import sys\nprint = lambda *a: sys.stdout.write(' '.join(map(str, a)) + '\\n')\n"
        + _READ
        + "for x in sorted(xs): print(x)\n",
    ),
    "trailing spaces and no last line end": (QUERIES, _READ + "print(' \\n'.join(map(str, sorted(xs))), end=' ')\n"),
    "a debug switch": (
        SUM,
        "import os, sys\nDEBUG = os.environ.get('DEBUG') or len(sys.argv) > 1 or os.path.exists('input.txt')\n"
        "if DEBUG:\n    sys.stdin = open('input.txt')\n"
        "input()\nprint(sum(map(int, input().split())))\n",
    ),
    "warnings, logging and a traceback": (
        SUM,
        "import logging, traceback, warnings\nwarnings.warn('old')\nlogging.warning('x')\ntry:\n    1 / 0\n"
        "except ZeroDivisionError:\n    traceback.print_exc()\n"
        "input()\nprint(sum(map(int, input().split())))\n",
    ),
    "gc off, time taken": (
        SUM,
        "import gc, time\ngc.disable()\nstart = time.perf_counter()\ninput()\nprint(sum(map(int, input().split())))\n"
        "assert time.perf_counter() - start < 60\n",
    ),
    "eval of the input": (SUM, "input()\nprint(eval('+'.join(input().split())))\n"),
    "a class made by type": (
        SUM,
        "A = type('A', (object,), {'total': lambda self, xs: sum(xs)})\ninput()\n"
        "print(A().total(map(int, input().split())))\n",
    ),
    "deepcopy, bisect, heap": (
        QUERIES,
        "import bisect, copy, heapq\n"
        + _READ
        + "a = []\nfor x in copy.deepcopy(xs): bisect.insort(a, x)\nheapq.heapify(xs)\n"
        "assert a == [heapq.heappop(xs) for _ in range(n)]\nfor x in a: print(x)\n",
    ),
    "a generator that reads": (
        QUERIES,
        "def ints():\n    while True:\n        try:\n            yield int(input())\n        except EOFError:\n"
        "            return\nn, *xs = ints()\n" + _SHOW,
    ),
    "hashing and compression": (
        SUM,
        "import base64, hashlib, zlib\nassert zlib.decompress(zlib.compress(b'a')) == base64.b64decode('YQ==')\n"
        "hashlib.sha256(b'a')\ninput()\nprint(sum(map(int, input().split())))\n",
    ),
}


CODED_WELL = HONEST_ASSERT["classes that the tests use"][1]

WRONG: dict[str, tuple[TestSuite, str]] = {
    "lines in another order": (QUERIES, _READ + "print(*sorted(xs)[::-1], sep='\\n')\n"),
    "lines on one line": (QUERIES, _READ + "print(*sorted(xs))\n"),
    "the first line only": (QUERIES, _READ + "print(min(xs))\n"),
    "a repeated line": (QUERIES, _READ + "print(*sorted(xs), max(xs), sep='\\n')\n"),
    "off by one in the last test": (GRID, "r, c = map(int, input().split())\nprint(3 if r == 2 else 1)\n"),
    "not a number": (HALF, "print('nan')\n"),
    "infinity": (HALF, "print('inf')\n"),
    "rounded": (HALF, "print(round(int(input()) / 2))\n"),
    "three decimals off": (HALF, "print(int(input()) / 2 + 1e-4)\n"),
    "a fraction": (HALF, "print(input(), '/ 2')\n"),
    "an integer as a float": (SUM, "input()\nprint('%.1f' % sum(map(int, input().split())))\n"),
    "an integer in scientific notation": (SUM, "input()\nprint('%e' % sum(map(int, input().split())))\n"),
    "zeros in front": (SUM, "input()\nprint('%05d' % sum(map(int, input().split())))\n"),
    "in brackets": (SUM, "input()\nprint([sum(map(int, input().split()))])\n"),
    "right, then an error": (SUM, "input()\nprint(sum(map(int, input().split())), flush=True)\n1 / 0\n"),
    "right, then status 1": (SUM, "input()\nprint(sum(map(int, input().split())), flush=True)\nexit(1)\n"),
    "right, then killed": (SUM, "import os\ninput()\nprint(sum(map(int, input().split())), flush=True)\nos.abort()\n"),
    "the echo of the input": (SUM, "import sys\nprint(sys.stdin.read())\n"),
    "printed, not returned": (ADD, "def add(xs, k):\n    print([x + k for x in xs])\n"),
    "text of the list": (ADD, "def add(xs, k):\n    return str([x + k for x in xs])\n"),
    "a generator": (ADD, "def add(xs, k):\n    return (x + k for x in xs)\n"),
    "floats, as text": (ADD, "def add(xs, k):\n    return [f'{x + k}' for x in xs]\n"),
    "a set": (ADD, "def add(xs, k):\n    return {x + k for x in xs}\n"),
    "one element short": (ADD, "def add(xs, k):\n    return [x + k for x in xs][:1]\n"),
    "nested": (ADD, "def add(xs, k):\n    return [[x + k for x in xs]]\n"),
    "another name": (ADD, "def plus(xs, k):\n    return [x + k for x in xs]\n"),
    "a method of another class": (ADD, "class A:\n    def add(self, xs, k):\n        return [x + k for x in xs]\n"),
    "nearly equal": (HALVES, "def half(x):\n    return x / 2 + 1e-15\n"),
    "equal to everything": (
        HALVES,
        "class A(float):\n    def __eq__(self, other): return True\ndef half(x):\n    return A(7)\n",
    ),
    "a mean that is wrong by name only": (CHECK, "def mean(numbers):\n    return sum(numbers) / len(numbers)\n"),
    "right for one": (CHECK, "def mean(xs):\n    return 2.0\n"),
    "exits before the check": (CHECK, "import sys\ndef mean(xs):\n    sys.exit(0)\n"),
    "an exception that is an AssertionError's friend": (
        CODED,
        CODED_WELL.replace("raise TypeError", "raise ValueError"),
    ),
}

HONEST = HONEST_STDIN | HONEST_CALL | HONEST_ASSERT
