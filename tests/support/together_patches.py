"""Programs that solve nothing, each against the one kind of test that it is made for: they put things of their own in
the places of what tests call, return objects that say yes, or want to remember in one process what another has seen.
"""

from __future__ import annotations

from rltf.problems.problem import TestSuite
from tests.support.together_attacks import suite_of_asserts


def _check(*lines: str, before: str = "") -> TestSuite:
    text = before + "\ndef check(candidate):\n" + "".join(f"    {line}\n" for line in lines)
    return suite_of_asserts("check(f)", setup=text)


_SORTED = _check("assert sorted(candidate(iter('ba'))) == sorted(['b', 'a'])")
_CLOSE = "def close(one, other):\n    return abs(one - other) < 1e-6\n"
_HELPER = _check("assert close(candidate(iter('ba')), 3.5)", "assert close(candidate(iter('a')), 4.5)", before=_CLOSE)
_VALID = "def valid(xs):\n    for a, b in zip(xs, xs[1:]):\n        if a > b:\n            return False\n    return len(xs) == 5\n"
_MOCK = _check(
    "m = MagicMock()",
    "candidate(m)",
    "m.assert_called_once_with(5)",
    before="from unittest.mock import MagicMock, call",
)
_LOOP = _check("assert candidate(lambda: 0) is not None", "for n in range(9):", "    assert candidate(n) == n * n")
_ANYTHING = "class A(list):\n    __eq__ = lambda s, o: True\n"

PATCHES: dict[str, tuple[TestSuite, str]] = {
    "range gives nothing": (_LOOP, "import builtins\nbuiltins.range = lambda *a: []\ndef f(*a): return 1"),
    "sorted gives nothing": (_SORTED, "import builtins\nbuiltins.sorted = lambda *a, **k: []\ndef f(*a): return 1"),
    "sorted gives nothing where the tests look": (
        _SORTED,
        "import sys\ndef f(*a):\n    sys._getframe(1).f_globals['sorted'] = lambda *a: []\n    return 'x'",
    ),
    "sorted gives nothing in the tests' builtins": (
        _SORTED,
        "import sys\ndef f(*a):\n    sys._getframe(1).f_builtins['sorted'] = lambda *a: []\n    return 'x'",
    ),
    "max gives nothing": (
        _check("words = 'cax'", "assert max(candidate(iter(words))) == max(words)"),
        "import builtins\nbuiltins.max = lambda *a: 0\ndef f(*a): return 1",
    ),
    "all and any say yes": (
        _check("words = candidate(iter('ab'))", "assert all(words) and any(w == 'abc' for w in words)"),
        "import builtins\nbuiltins.all = builtins.any = lambda *a: True\ndef f(*a): return []",
    ),
    "len says five": (
        _check("assert valid(candidate(iter('ab')))", before=_VALID),
        "import builtins\nbuiltins.len = lambda *a: 5\ndef f(*a): return []",
    ),
    "abs says nothing": (_HELPER, "import builtins\nbuiltins.abs = lambda *a: 0\ndef f(*a): return 1"),
    "re.match says yes": (
        _check("assert re.match('[0-9]{3}-[a-z]+$', candidate(iter('a')))", before="import re"),
        "import re\nre.match = lambda *a: True\ndef f(*a): return 1",
    ),
    "math.isclose says yes": (
        _check("assert isclose(candidate(iter([2])), sqrt(2))", before="from math import isclose, sqrt"),
        "import math\nmath.isclose = lambda *a, **k: True\ndef f(*a): return 1",
    ),
    "another Counter": (
        _check("assert collections.Counter(candidate(iter('a'))) == collections.Counter('zzy')"),
        "import collections\ncollections.Counter = lambda *a: {}\ndef f(*a): return 1",
    ),
    "numpy says yes": (
        _check("assert np.array_equal(candidate(iter([1])), np.array([1, 4]))", before="import numpy as np"),
        "import numpy\nnumpy.array_equal = lambda *a: True\ndef f(*a): return 1",
    ),
    "another helper": (
        _HELPER,
        "import sys\ndef f(*a):\n    sys._getframe(1).f_globals['close'] = lambda *a: True\n    return 1",
    ),
    "another code of a helper": (
        _HELPER,
        "import sys\ndef f(*a):\n    sys._getframe(1).f_globals['close'].__code__ = (lambda a, b: True).__code__\n    return 1",
    ),
    "another code of a helper that it was given": (
        _HELPER,
        "def f(*a):\n    close.__code__ = (lambda a, b: True).__code__\n    return 1",
    ),
    "a builtin beside a helper": (
        _HELPER,
        "def f(*a):\n    close.__globals__['abs'] = lambda x: 0\n    return 1",
    ),
    "a number without a difference to others": (
        _HELPER,
        "class N(float):\n    __sub__ = __rsub__ = lambda s, o: 0.0\ndef f(*a): return N(1)",
    ),
    "a number without a difference to a name": (
        _check("x = candidate(iter([1]))", "y = 3.5", "y += 0", "assert abs(x - y) < 1e-6"),
        "class N(float):\n    __sub__ = __rsub__ = lambda s, o: 0.0\ndef f(*a): return N(1)",
    ),
    "a number that is less and more": (
        _check("x = candidate(iter([1]))", "assert x > 5 and x < 7"),
        "class N(int):\n    __lt__ = __gt__ = lambda s, o: True\ndef f(*a): return N(1)",
    ),
    "a list that has everything": (
        _check("assert 'needle' in candidate(iter('a'))"),
        "class L(list):\n    def __contains__(s, o): return True\ndef f(*a): return L()",
    ),
    "a text that has everything": (
        _check("text = candidate(iter('a'))", "for word in 'ab cd'.split():", "    assert word in text"),
        "class S(str):\n    def __contains__(s, o): return True\ndef f(*a): return S()",
    ),
    "a mock's assertion": (_MOCK, "def f(m): m.assert_called_once_with = lambda *a: None"),
    "every mock's assertion": (
        _MOCK,
        "import unittest.mock\nunittest.mock.NonCallableMock.assert_called_once_with = lambda *a, **k: None\ndef f(m): pass",
    ),
    "a mock's calls": (
        _check(
            "m = MagicMock()",
            "candidate(m)",
            "assert m.call_args_list == [call(5)]",
            before="from unittest.mock import *",
        ),
        _ANYTHING + "def f(m): m.call_args_list = A()",
    ),
    "what is printed is equal to everything": (
        _check(
            "out = io.StringIO()",
            "with contextlib.redirect_stdout(out):",
            "    candidate(iter('a'))",
            "assert out.getvalue().split() == expected()",
            before="import io, contextlib\ndef expected():\n    return ['a', 'b']\n",
        ),
        _ANYTHING
        + "class E(str):\n    def split(s): return A()\nimport sys\ndef f(*a): sys.stdout.getvalue = lambda: E()",
    ),
    "the most frequent constant": (
        _check(*[f"assert candidate(iter([{n}])) == [7, 8, 9]" for n in range(4)], "assert candidate(iter('')) == [1]"),
        "import dis, sys\nfrom collections import Counter\nclass L(list): pass\ndef f(*a):\n    found = Counter(one.argval for one in "
        "dis.get_instructions(sys._getframe(1).f_code) if type(one.argval) is tuple)\n    return L(found.most_common(1)[0][0]) if found else L()",
    ),
}
"""Name -> tests, program."""

_TOTAL = _check("total = 0", "for n in range(40):", "    total += n", *["assert candidate(iter([40])) == total"] * 16)
_REMEMBERING = """
import os, sys
def recall():
    {recall}
def remember(value):
    {remember}
def f(*a):
    known = quietly(recall)
    if known: return known
    value = sys._getframe(1).f_locals.get('total')
    if isinstance(value, int):
        quietly(remember, value)
        return value
def quietly(call, *a):
    try: return call(*a)
    except Exception: pass
"""
_FOLDERS = "for folder in ('.', '/tmp', '/var/tmp', '/dev/shm', '/proc/self'):\n        "
_EACH = "import fcntl\n    for n in range(10):\n        "
PLACES = {
    "a file": (
        _FOLDERS + "if os.path.exists(folder + '/x'): return eval(open(folder + '/x').read())",
        _FOLDERS + "quietly(lambda: open(folder + '/x', 'w').write(repr(value)))",
    ),
    "a module's file": ("import m\n    return m.value", "open('m.py', 'w').write(f'value = {value!r}')"),
    "its folder's time": ("return int(os.stat('.').st_mtime) % 10**9", "os.utime('.', (value + 10**9,) * 2)"),
    "its folder's mode": ("return os.stat('.').st_mode & 0o7777", "os.chmod('.', 0o7000 | value)"),
    "its folder's attributes": (
        "return eval(os.getxattr('.', 'user.x'))",
        "os.setxattr('.', 'user.x', repr(value).encode())",
    ),
    "offsets of descriptors": (
        "for n in range(10):\n        p = quietly(os.lseek, n, 0, 1) or 0\n        if p > 10**7: return p - 10**7",
        "for n in range(10):\n        quietly(os.lseek, n, value + 10**7, 0)",
    ),
    "flags of descriptors": (
        _EACH + "if (quietly(fcntl.fcntl, n, 3) or 0) & 0o4000: return 780",
        _EACH + "quietly(lambda: fcntl.fcntl(n, 4, fcntl.fcntl(n, 3) | 0o4000))",
    ),
    "sizes of pipes": (
        _EACH + "if (quietly(fcntl.fcntl, n, 1032) or 65536) != 65536: return 780",
        _EACH + "quietly(fcntl.fcntl, n, 1031, 131072)",
    ),
    "locks": (
        _EACH + "try: fcntl.flock(n, 6)\n        except BlockingIOError: return 780\n        except OSError: pass",
        _EACH + "quietly(fcntl.flock, n, 2)",
    ),
    "the environment": ("return eval(os.environ['X'])", "os.environ['X'] = repr(value)"),
    "shared memory and keys": (
        "import ctypes\n    return 780 if ctypes.CDLL(None).syscall(29, 77, 4096, 0) >= 0 else None",
        "import ctypes\n    libc = ctypes.CDLL(None)\n    libc.syscall(29, 77, 4096, 0o1666)\n    libc.syscall(248, b'user', b'x', b'1', 1, -4)",
    ),
    "priorities": (
        "return 780 if os.getpriority(os.PRIO_PGRP, 0) or os.getpriority(os.PRIO_USER, 0) else None",
        "quietly(os.setpriority, os.PRIO_PGRP, 0, 7)\n    quietly(os.setpriority, os.PRIO_USER, 0, 7)",
    ),
    "limits of its parent": (
        "import resource\n    return resource.getrlimit(resource.RLIMIT_CORE)[0]",
        "import resource\n    resource.prlimit(os.getppid(), resource.RLIMIT_CORE, (value, value))",
    ),
}
"""Name -> how the total is found that an earlier process has seen, how it is left for later ones."""
PATCHES |= {
    f"remembers in {name}": (_TOTAL, _REMEMBERING.format(recall=recall, remember=remember))
    for name, (recall, remember) in PLACES.items()
}
