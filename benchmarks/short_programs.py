"""Short programs with as many tests as one likes, of the length and the running time that solutions of introductory
problems have.

Half of the APPS-layout solutions for standard input have more than 35 lines. These have 35 to 45, half of them a
preamble as people keep it, and read 100 numbers; the tiny ones have 5 to 20 lines and read 10 numbers. Written for the
benchmarks, so they may run without a sandbox beside it. Every program is another text (its number is in it), so that
none is answered from memory. Of each eight that read standard input one is wrong in its last test and one raises.
"""

from __future__ import annotations

import io
import random
import sys
from dataclasses import dataclass

from rltf.problems.problem import TestSuite

NUMBERS, TINY_NUMBERS = 100, 10
"""Read in each test."""
LIMIT_S = 0.1
"""What calibration gives problems as short as these: its least limit."""


@dataclass(frozen=True, slots=True)
class Short:
    """A program, its tests, and whether it should pass them."""

    suite: TestSuite
    text: str
    passes: bool


_PREAMBLE = """import sys
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from math import gcd, sqrt

MOD = 10 ** 9 + 7
INF = float('inf')


def read_int():
    return int(sys.stdin.readline())


def read_ints():
    return list(map(int, sys.stdin.readline().split()))


def prefix_sums(values):
    sums = [0]
    for value in values:
        sums.append(sums[-1] + value)
    return sums


def lcm(a, b):
    return a // gcd(a, b) * b


"""
_READ = "import sys\ninput = sys.stdin.readline\n\nn = int(input())\nxs = list(map(int, input().split()))\n"
STDIN = (
    # The largest sum of neighbours.
    _READ
    + "best = current = xs[0]\nfor x in xs[1:]:\n    current = max(x, current + x)\n    best = max(best, current)\n"
    "print(best)\n",
    # The longest rising subsequence.
    "from bisect import bisect_left\n\n\ndef solve(xs):\n    tails = []\n    for x in xs:\n        place = "
    "bisect_left(tails, x)\n"
    "        if place == len(tails):\n            tails.append(x)\n        else:\n            tails[place] = x\n    "
    "return len(tails)\n\n\n"
    "n = int(input())\nprint(solve(list(map(int, input().split()))))\n",
    # The commonest number.
    "from collections import Counter\n\nn = int(input())\ncounts = Counter(map(int, input().split()))\nbest = None\n"
    "for value in sorted(counts):\n    if best is None or counts[value] > counts[best]:\n        best = value\n"
    "print(best, counts[best])\n",
    # Pairs with an even sum.
    "def main():\n    n = int(input())\n    xs = [int(x) for x in input().split()]\n    count = 0\n    for i in "
    "range(n):\n"
    "        for j in range(i + 1, n):\n            if (xs[i] + xs[j]) % 2 == 0:\n                count += 1\n    "
    "print(count)\n\n\n"
    "if __name__ == '__main__':\n    main()\n",
    # Stretches whose sum is zero.
    _READ + "seen = {0: 1}\ntotal = answer = 0\nfor x in xs:\n    total += x\n    answer += seen.get(total, 0)\n"
    "    seen[total] = seen.get(total, 0) + 1\nprint(answer)\n",
    # Each number's next greater one.
    _READ + "answer = [-1] * n\nstack = []\nfor i, x in enumerate(xs):\n    while stack and xs[stack[-1]] < x:\n"
    "        answer[stack.pop()] = x\n"
    "    stack.append(i)\nprint(*answer)\n",
    # Wrong: it forgets that all may be negative.
    _READ + "best = current = 0\nfor x in xs:\n    current = max(0, current + x)\n    best = max(best, current)\n"
    "print(best)\n",
    # Raises: one index too far.
    _READ + "rises = 0\nfor i in range(n):\n    if xs[i] < xs[i + 1]:\n        rises += 1\nprint(rises)\n",
)
_PASSING = 6
_LOOP = _READ + "i = 0\nwhile i < n:\n    if xs[i] > 10 ** 9:\n        i += 1\nprint(i)\n"
FUNCTION = (
    "def longest(words):\n    best = ''\n    for word in words:\n        if len(word) > len(best):\n            best "
    "= word\n"
    "    counts = {}\n    for letter in best:\n        counts[letter] = counts.get(letter, 0) + 1\n"
    "    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]\n"
)
_WORDS = ("alpha", "banana", "cucumber", "dandelion", "elderberries")
ASSERTS = tuple(f"assert longest({list(_WORDS[: 2 + number])!r}) == {{}}" for number in range(3))


def reading_programs(
    count: int, tests: int, *, loops: float = 0.0, numpy: bool = False, tiny: bool = False, mark: str = ""
) -> list[Short]:
    """So many programs that read standard input.

    `loops`: share that never end; `numpy`: they name it, and so run where it is loaded.
    """
    suites = [_suite(number, tests, TINY_NUMBERS if tiny else NUMBERS) for number in range(len(STDIN))]
    programs = []
    for number in range(count):
        kind = number % len(STDIN)
        looping = loops and number % round(1 / loops) == 0
        body = ("" if tiny else _PREAMBLE) + (_LOOP if looping else STDIN[kind])
        text = f"{body}# {mark} {number}{' numpy' if numpy else ''}\n"
        programs.append(Short(suites[kind], text, kind < _PASSING and not looping))
    return programs


def asserted_programs(count: int, *, own_code: bool = False, mark: str = "") -> list[Short]:
    """So many functions with three assert statements.

    `own_code`: compared with a variable of the tests, so that test code has to run.
    """
    names: dict[str, object] = {}
    exec(FUNCTION, names)
    values = [eval(text.removeprefix("assert ").removesuffix(" == {}"), names) for text in ASSERTS]
    if own_code:
        suite = _asserts(
            [text.format(f"expected[{number}]") for number, text in enumerate(ASSERTS)], f"expected = {values!r}\n"
        )
    else:
        suite = _asserts([text.format(repr(value)) for text, value in zip(ASSERTS, values, strict=True)], "")
    return [Short(suite, f"{FUNCTION}# {mark} {number}\n", True) for number in range(count)]


def _asserts(texts: list[str], setup: str) -> TestSuite:
    return TestSuite("assert", None, (), (), tuple(texts), setup=setup, time_limit_s=LIMIT_S, memory_limit_mb=512)


def _suite(kind: int, tests: int, numbers: int) -> TestSuite:
    """Tests of one kind of program; what a program that is wrong should have printed comes from the one that it is
    meant to be.
    """
    draw = random.Random(kind)
    inputs = []
    for number in range(tests):
        # The last test has negative numbers only, which is what the wrong program trips over.
        high = -1 if number == tests - 1 else 9
        inputs.append(f"{numbers}\n{' '.join(str(draw.randint(-9, high)) for _ in range(numbers))}\n")
    right = STDIN[kind] if kind < _PASSING else STDIN[0]
    outputs = tuple(_output(right, text) for text in inputs)
    return TestSuite("stdin", None, tuple(inputs), outputs, time_limit_s=LIMIT_S, memory_limit_mb=512)


def _output(program: str, given: str) -> str:
    before = sys.stdin, sys.stdout
    sys.stdin, sys.stdout = io.StringIO(given), io.StringIO()
    try:
        exec(program, {"__name__": "__main__"})
        return sys.stdout.getvalue()
    finally:
        sys.stdin, sys.stdout = before
