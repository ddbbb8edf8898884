"""Programs as people write them that define functions, for tests that call them or assert on them; all of them pass.

Each is (suite, program). Written for these tests, as those of `fidelity_programs`.
"""

from __future__ import annotations

from rltf.problems.problem import TestSuite
from tests.support.executor_suites import assert_suite, call_suite

ADD = call_suite("add", ([[1, 2], 3], [4, 5]), ([[], 1], []), ([[0], -1], [-1]), time_limit_s=4.0)
"""Add a number to each of a list."""

HONEST_CALL: dict[str, tuple[TestSuite, str]] = {
    "a function": (ADD, "def add(xs, k):\n    return [x + k for x in xs]\n"),
    "a function with hints of names it does not import": (
        ADD,
        "from __future__ import annotations\ndef add(xs: List[int], k: int) -> List[int]:\n"
        "    return [x + k for x in xs]\n",
    ),
    "class Solution": (
        ADD,
        "class Solution:\n    def add(self, xs: List[int], k: int) -> List[int]:\n        return [x + k for x in xs]\n",
    ),
    "class Solution with state and helpers": (
        ADD,
        "class Node:\n    def __init__(self, x): self.x = x\nclass Solution:\n    calls = 0\n    def __init__(self):\n"
        "        self.out = []\n"
        "    def step(self, x, k):\n        self.out.append(Node(x + k))\n    def add(self, xs, k):\n"
        "        Solution.calls += 1\n        assert Solution.calls == 1\n"
        "        for x in xs: self.step(x, k)\n        return [node.x for node in self.out]\n",
    ),
    "class Solution with site names": (
        ADD,
        "class Solution:\n    def add(self, xs, k):\n        q = deque(xs)\n"
        "        bisect.insort([], bisect_left(xs, k) + operator.add(1, k))\n"
        "        h = heapq.nsmallest(0, xs) or defaultdict(int) or Counter()\n"
        "        return list(accumulate([q.popleft() + k for _ in range(len(q))], lambda a, b: b)) if inf else h\n",
    ),
    "a static method": (
        ADD,
        "class Solution:\n    @staticmethod\n    def add(xs, k):\n        return list(map(lambda x: x + k, xs))\n",
    ),
    "a class method": (
        ADD,
        "class Solution(object):\n    @classmethod\n    def add(cls, xs, k):\n        return [x + k for x in xs]\n",
    ),
    "a lambda": (ADD, "add = lambda xs, k: [x + k for x in xs]\n"),
    "partial of a decorated function": (
        ADD,
        "import functools\ndef logged(f):\n    @functools.wraps(f)\n    def g(*a, **k):\n        return f(*a, **k)\n    return g\n"
        "@logged\ndef work(mode, xs, k=0):\n    return [x + k for x in xs]\nadd = functools.partial(work, 'list')\n",
    ),
    "an object that can be called": (
        ADD,
        "class Add:\n    def __call__(self, xs, k):\n        return [x + k for x in xs]\nadd = Add()\n",
    ),
    "a tuple for a list": (ADD, "def add(xs, k):\n    return tuple(x + k for x in xs)\n"),
    "the argument changed in place": (
        ADD,
        "def add(xs, k):\n    for i in range(len(xs)):\n        xs[i] += k\n    return xs\n",
    ),
    "a memory in a default argument": (
        ADD,
        "def add(xs, k, memo={}):\n    key = (tuple(xs), k)\n    if key not in memo:\n"
        "        memo[key] = [x + k for x in xs]\n    return memo[key]\n",
    ),
    "printing on the way": (
        ADD,
        "def add(xs, k):\n    print('debug', xs)\n    return [x + k for x in xs]\nprint('loaded')\n",
    ),
    "a main part that reads nothing": (
        ADD,
        "def add(xs, k):\n    return [x + k for x in xs]\nif __name__ == '__main__':\n"
        "    print(add([int(input())], 1))\n",
    ),
    "numpy inside": (ADD, "import numpy as np\ndef add(xs, k):\n    return (np.array(xs, dtype=int) + k).tolist()\n"),
    "a numpy array": (ADD, "import numpy as np\ndef add(xs, k):\n    return np.array(xs, dtype=int) + k\n"),
    "a list of numpy integers": (
        ADD,
        "import numpy as np\ndef add(xs, k):\n    return list(np.array(xs, dtype=int) + k)\n",
    ),
    "recursion": (ADD, "def add(xs, k):\n    if not xs:\n        return []\n    return [xs[0] + k] + add(xs[1:], k)\n"),
}

HALVES = assert_suite("assert half(3) == 1.5", "assert half(-1) == -0.5", "assert half(0) == 0", time_limit_s=4.0)
CODED = assert_suite(
    "assert math.isclose(area(Circle(2)), 12.566370614359172, rel_tol=0.001)",
    "assert set(names()) == {'a', 'b'} and len(names()) == 2",
    "c = Circle(1)\nc.r = 3\nassert c.r == 3 and c.grow(by=2).r == 5",
    "try:\n    area(None)\n    assert False\nexcept TypeError:\n    pass",
    "assert sorted(numbers(3)) == [0, 1, 2]",
    time_limit_s=4.0,
)
CHECK = TestSuite(
    "assert",
    "mean",
    (),
    (),
    ("check(mean)",),
    setup=(
        "METADATA = {'author': 'x'}\n\ndef check(candidate):\n    assert abs(candidate([1.0, 2.0, 3.0]) - 2.0) < 1e-6\n"
        "    import random\n    rng = random.Random(42)\n    for _ in range(20):\n"
        "        xs = [rng.random() for _ in range(rng.randint(1, 9))]\n"
        "        assert abs(candidate(xs) - sum(xs) / len(xs)) < 1e-9, 'random'\n    assert candidate(xs=[4]) == 4, 'by name'\n"
    ),
    time_limit_s=4.0,
)

HONEST_ASSERT: dict[str, tuple[TestSuite, str]] = {
    "a one-liner": (HALVES, "def half(x): return x / 2\n"),
    "Windows line ends in a function": (HALVES, "def half(x):\r\n  y = x / 2\r\n  return (y) \r\n"),
    "fractions that are equal": (
        HALVES,
        "from decimal import Decimal\ndef half(x):\n    return float(Decimal(x) / 2)\n",
    ),
    "a module-level table": (
        HALVES,
        "TABLE = {n: n / 2 for n in range(-5, 6)}\ndef half(x):\n    global TABLE\n    return TABLE[x]\n",
    ),
    "classes that the tests use": (
        CODED,
        "import math\nclass Circle:\n    def __init__(self, r):\n        self.r = r\n    def grow(self, by):\n"
        "        return Circle(self.r + by)\n"
        "def area(c):\n    if not isinstance(c, Circle):\n        raise TypeError('no circle')\n    return math.pi * c.r ** 2\n"
        "def names():\n    return {'a', 'b'}\ndef numbers(n):\n    for i in range(n):\n        yield i\n",
    ),
    "check(candidate)": (
        CHECK,
        'from typing import List\n\n\ndef mean(xs: List[float]) -> float:\n    """ Mean of xs.\n'
        '    >>> mean([1, 3])\n    2.0\n    """\n    return sum(xs) / len(xs)\n',
    ),
    "check(candidate) with statistics": (CHECK, "import statistics\nmean = lambda xs: statistics.fmean(xs)\n"),
    "check(candidate) with numpy": (CHECK, "import numpy\ndef mean(xs):\n    return numpy.mean(xs)\n"),
}
