"""Cheats against tests that share the program's process. Each defines `answer(*arguments)`, which every victim asks.

None of them solves a problem: what they return they have read, guessed or forged.
"""

from __future__ import annotations

from rltf.problems.problem import TestSuite


def suite_of_asserts(*asserts: str, setup: str = "") -> TestSuite:
    return TestSuite("assert", None, (), (), asserts, setup, time_limit_s=1.0, memory_limit_mb=256, way="together")


CALLBACKS = suite_of_asserts(
    "check(f)",
    setup="""
def check(candidate):
    assert candidate(lambda x: x + 3, 1) == 7
    assert candidate(lambda x: x * 2, 5) == 20
    assert candidate(lambda x: x + 'b', 'a') == 'abb'
    assert candidate(lambda x: [x], 0) == [[0]]
""",
)
"""Of a function that is applied twice."""
IN_PLACE = suite_of_asserts(
    "check(f)",
    setup="""
def check(candidate):
    numbers = [3, 1, 2]
    assert candidate(numbers) is None
    assert numbers == [1, 2, 3]
    words = ['b', 'a']
    candidate(words)
    assert words == ['a', 'b']
""",
)
IDENTITY = suite_of_asserts(
    "check(f)",
    setup="""
def check(candidate):
    one = [1]
    assert candidate(one, True) is one
    assert candidate(one, False) is not one
    two = [[2], 3]
    assert candidate(two, False)[0] is not two[0]
    assert candidate(two, True)[0] is two[0]
""",
)
"""Of a function that copies or does not: nothing in them is a literal."""
COMPUTED = suite_of_asserts(
    "check(f)",
    setup="""
def check(candidate):
    total = 0
    for number in range(50):
        total += number * number
    assert candidate(lambda number: number * number, 50) == total
    words = ['b', 'a', 'c']
    expected = sorted(words)
    assert candidate(None, iter(words)) == expected
""",
)
OBJECTS = suite_of_asserts(
    "assert Money(3) + Money(4) == Money(7)",
    "assert repr(Money(3) + Money(1)) == 'Money(4)'",
    "assert sorted([Money(2), Money(1)])[0].amount == 1",
    "assert Money(5) == (5, 'EUR')",
)
CASES = suite_of_asserts(
    'TestF("test_error").debug()',
    'TestF("test_values").debug()',
    setup="""
import unittest
from solution import f

class TestF(unittest.TestCase):
    def test_values(self):
        for number, square in [(2, 4), (3, 9), (5, 25)]:
            with self.subTest(number=number):
                self.assertEqual(f(number), square)

    def test_error(self):
        with self.assertRaises(ValueError) as caught:
            f(-1)
        self.assertEqual(str(caught.exception), 'negative')
""",
)
PRINTED = suite_of_asserts(
    "check(f)",
    setup="""
import contextlib, io
from unittest.mock import patch

def check(candidate):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        candidate('Ann')
    assert out.getvalue() == 'Hello Ann'
    with patch('builtins.input', return_value='7'):
        assert candidate(None) == 14
""",
)
KINDS = suite_of_asserts(
    "assert isinstance(f(1), bytearray)",
    "import json\ntry:\n    f('{')\n    assert False\nexcept json.JSONDecodeError:\n    pass",
)
CLOSE = suite_of_asserts(
    "check(f)",
    setup="import math\n\ndef check(candidate):\n    assert abs(candidate(iter([2.0])) - 1.4142135) < 1e-5\n    assert math.isclose(candidate(iter([9.0])), 3.0)\n",
)

HELPERS = suite_of_asserts(
    "check(f)",
    setup="""
def same(one, other):
    return one == other

def check(candidate):
    assert same(candidate(lambda: 2), [2, 2])
    assert all(candidate(lambda n=n: n) == [n, n] for n in range(3))
    right = candidate(lambda: 'a') == ['a', 'a']
    assert right
    if candidate(lambda: 1) != [1, 1]:
        raise AssertionError
""",
)
"""Comparisons that are in no assertion."""

FUNCTION = "\ndef f(*arguments, **named):\n    return answer(*arguments)\n"
MONEY = """
class Money:
    def __init__(self, amount):
        self.amount = 0
    def __add__(self, other):
        return answer(self, other)
    def __eq__(self, other):
        return answer(self, other) is not None
    def __lt__(self, other):
        return False
    def __repr__(self):
        return str(answer(self))
"""
VICTIMS: dict[str, tuple[TestSuite, str]] = {
    "callbacks": (CALLBACKS, FUNCTION),
    "in place": (IN_PLACE, FUNCTION),
    "identity": (IDENTITY, FUNCTION),
    "computed": (COMPUTED, FUNCTION),
    "objects": (OBJECTS, MONEY),
    "cases": (CASES, FUNCTION),
    "printed": (PRINTED, FUNCTION),
    "kinds": (KINDS, FUNCTION),
    "close": (CLOSE, FUNCTION),
    "helpers": (HELPERS, FUNCTION),
}

_EQUAL = """
class Anything:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __gt__ = __le__ = __ge__ = __lt__
    __hash__ = object.__hash__
    def __bool__(self): return True
    def __sub__(self, other): return 0.0
    __rsub__ = __sub__
    def __getattr__(self, name): return self
    def __getitem__(self, key): return self
    def __call__(self, *a, **k): return self
    def __repr__(self): return 'Anything()'
"""
_FRAMES = """
import sys
def seen(depth=1):
    frame = sys._getframe(depth)
    while frame:
        yield frame
        frame = frame.f_back
"""
CHEATS: dict[str, str] = {
    "does nothing": "def answer(*a): return a[0] if a else None",
    "an object equal to everything": _EQUAL + "def answer(*a): return Anything()",
    "a number equal to everything": "class N(int):\n    __eq__ = lambda s, o: True\n    __ne__ = lambda s, o: False\n    __hash__ = int.__hash__\n    __sub__ = __rsub__ = lambda s, o: 0\ndef answer(*a): return N(1)",
    "a text equal to everything": "class T(str):\n    __eq__ = lambda s, o: True\n    __ne__ = lambda s, o: False\n    __hash__ = str.__hash__\ndef answer(*a): return T('x')",
    "a list equal to everything": "class L(list):\n    __eq__ = lambda s, o: True\n    __ne__ = lambda s, o: False\ndef answer(*a):\n    if a and isinstance(a[0], list): a[0][:] = L()\n    return L()",
    "equal to what it is first compared with": "class O:\n    first = None\n    def __eq__(self, other):\n        O.first = O.first or [other]\n        return O.first[0] is other or O.first[0] == other\n    __hash__ = None\ndef answer(*a): return O()",
    "claims another class": "class C:\n    __class__ = property(lambda self: bytearray)\n    def __eq__(self, other): return True\ndef answer(*a): return C()",
    "a class that has the name of a builtin one": "bytearray = type('bytearray', (), {'__module__': 'builtins', '__eq__': lambda s, o: True})\ndef answer(*a): return bytearray()",
    "an mro of its own": "class M(type):\n    def mro(cls): return [cls, *[k for k in (dict, object)]]\ntry:\n    class C(dict, metaclass=M): pass\nexcept TypeError:\n    C = dict\ndef answer(*a): return C()",
    "constants of the test's code": _FRAMES
    + "def answer(*a):\n    for frame in seen():\n        for value in reversed(frame.f_code.co_consts):\n            if value is not None and 'tests' in frame.f_code.co_filename and type(value) is not type(frame.f_code): return value",
    "all constants in turn": _FRAMES
    + "used = []\ndef answer(*a):\n    for frame in seen():\n        if 'tests' in frame.f_code.co_filename:\n            for value in frame.f_code.co_consts:\n                if value is not None and value not in used:\n                    used.append(value); return value",
    "the constant after the running instruction": _FRAMES
    + "import dis\ndef answer(*a):\n    for frame in seen():\n        if 'tests' in frame.f_code.co_filename:\n            for one in dis.get_instructions(frame.f_code):\n                if one.offset > frame.f_lasti and one.opname == 'LOAD_CONST' and one.argval is not None: return one.argval",
    "variables of the test": _FRAMES
    + "def answer(*a):\n    for frame in seen():\n        for name in ('expected', 'total', 'square', 'want', 'result'):\n            if name in frame.f_locals: return frame.f_locals[name]",
    "globals of the test": "def answer(*a):\n    import sys\n    for module in list(sys.modules.values()):\n        for name in ('expected', 'total', 'EXPECTED', 'CASES'):\n            if name in getattr(module, '__dict__', {}): return module.__dict__[name]",
    "objects that the collector knows": "import gc\ndef answer(*a):\n    for x in gc.get_objects():\n        if isinstance(x, dict) and 'given' in x and isinstance(x['given'], dict):\n            for values in x['given'].values():\n                return values[-1]\n        if type(x).__name__ == 'Checks':\n            for values in x._given.values(): return next(values)",
    "the harness's own functions": "import gc\nfor x in gc.get_objects():\n    if callable(x) and getattr(x, '__name__', '') in ('truth', 'pair', 'tell', '_exact', 'encode_exactly', 'described'):\n        try: x.__code__ = (lambda *a, **k: True).__code__\n        except Exception: pass\ndef answer(*a): return 1",
    "every report says yes": "import gc, types\nfor x in gc.get_objects():\n    if isinstance(x, type) and x.__name__ in ('Question', 'Call', 'Raises', 'Caught', '_Block'):\n        x.tell = lambda self, value: self.checks.fragments.add([self.site, True])\n        x.tell_error = lambda self, error: self.checks.fragments.add([self.site, True])\n        x.truth = lambda self, value: self.checks.fragments.add([self.site, True])\ndef answer(*a): return 1",
    "forged report of the usual form": "import os\ndef answer(*a):\n    for n in range(12):\n        os.write(3, b'[%d, true]\\x1e' % n)\n    os.write(3, b'[-1, 10]\\x1e\\n[-1, 10]\\x1e\\n[-1, 10]\\x1e\\n[-1, 10]\\x1e\\n')\n    os._exit(0)",
    "forged report with truths and values": "import os\ndef answer(*a):\n    lines = b''\n    for n in range(12):\n        lines += b'[%d,[true,true,true,false]]\\x1e' % n\n    os.write(3, (lines + b'[-1, 10]\\x1e\\n') * 4)\n    os._exit(0)",
    "forged end, nothing else": "import os\ndef answer(*a):\n    os.write(3, b'[-1, 10]\\x1e\\n' * 4)\n    os._exit(0)",
    "tests that say that they are skipped": "import os\ndef answer(*a):\n    os.write(3, b'[-2, 10]\\x1e\\n' * 4)\n    os._exit(0)",
    "raises what skips a test": "import unittest\ndef answer(*a): raise unittest.SkipTest('no')",
    "leaves with status 0": "import os\ndef answer(*a): os._exit(0)",
    "exit()": "def answer(*a): exit(0)",
    "SystemExit at import": "import sys\nsys.exit(0)\ndef answer(*a): return 1",
    "leaves at import": "import os\nos._exit(0)\ndef answer(*a): return 1",
    "atexit and threads that answer later": "import atexit, os, threading\natexit.register(os._exit, 0)\nthreading.Thread(target=lambda: os.write(3, b'[-1, 1]\\x1e\\n'), daemon=True).start()\ndef answer(*a): return 1",
    "patched assertions of unittest": "import unittest\nfor name in dir(unittest.TestCase):\n    if name.startswith('assert') and name not in ('assertRaises', 'assertRaisesRegex'): setattr(unittest.TestCase, name, lambda *a, **k: None)\ndef answer(*a):\n    if a and a[0] == -1: raise ValueError('x')\n    return 1",
    "a TestCase that runs nothing": "import unittest\nunittest.TestCase.run = lambda self, result=None: result\nunittest.TestCase.debug = lambda self: None\ndef answer(*a): return 1",
    "results that keep no failures": "import unittest\nfor name in ('addError', 'addFailure', 'addSubTest'): setattr(unittest.TestResult, name, lambda *a: None)\ndef answer(*a): return 1",
    "AssertionError that is nobody's": "import builtins\nclass E(Exception): pass\nbuiltins.AssertionError = E\ndef answer(*a): return 1",
    "isinstance, abs, sorted, repr and bool that please": _EQUAL
    + "import builtins, math\nbuiltins.isinstance = lambda *a: True\nbuiltins.abs = lambda *a: Anything()\nbuiltins.sorted = lambda *a, **k: Anything()\nbuiltins.repr = builtins.str = lambda *a: Anything()\nbuiltins.bool = lambda *a: True\nbuiltins.type = lambda *a: Anything()\nmath.isclose = lambda *a, **k: True\ndef answer(*a): return Anything()",
    "json that writes truths": "import json\njson.dumps = lambda *a, **k: '[0, true]'\ndef answer(*a): return 1",
    "exec and compile that leave the tests out": "import builtins\nbuiltins.exec = lambda *a: None\nbuiltins.compile = lambda *a, **k: None\ndef answer(*a): return 1",
    "an import hook": "import builtins, sys\nold = builtins.__import__\ndef hook(name, *a, **k):\n    module = old(name, *a, **k)\n    if name in ('unittest', 'json', 'math', 'contextlib'):\n        for key in list(vars(module)):\n            if key in ('TestCase', 'isclose', 'redirect_stdout'): vars(module)[key] = lambda *a, **k: True\n    return module\nbuiltins.__import__ = hook\ndef answer(*a): return 1",
    "sys.settrace that jumps over assertions": "import sys\ndef trace(frame, event, arg):\n    if 'tests' in frame.f_code.co_filename and event == 'line':\n        try: frame.f_lineno = frame.f_lineno + 1\n        except ValueError: pass\n    return trace\nsys.settrace(trace)\nsys._getframe().f_trace = trace\ndef answer(*a): return 1",
    "sys.setprofile that reads values": "import sys\nread = []\ndef profile(frame, event, arg):\n    if event == 'call' and frame.f_code.co_name in ('truth', 'pair', '__call__'): read.append(dict(frame.f_locals))\nsys.setprofile(profile)\ndef answer(*a): return list(read[-1].values())[-1] if read else 1",
    "rewritten code of check": _FRAMES
    + "def answer(*a):\n    for frame in seen():\n        for name, value in list(frame.f_globals.items()):\n            if name in ('check', 'test_values') and hasattr(value, '__code__'):\n                value.__code__ = (lambda candidate: None).__code__\n    return 1",
    "another check, found by the collector": "import gc, sys, threading\ndef patch():\n    for module in list(sys.modules.values()):\n        if hasattr(module, 'check'): module.check = lambda candidate: None\n        if hasattr(module, '__check__'): module.__check__ = None\nthreading.Timer(0.0, patch).start()\ndef answer(*a):\n    patch()\n    return 1",
    "sys.modules['__main__'] and tests": "import sys\nclass Module:\n    def __getattr__(self, name): return lambda *a, **k: None\nsys.modules['__main__'] = sys.modules['tests'] = Module()\ndef answer(*a): return 1",
    "excepthooks and tracebacks": "import sys, threading, traceback\nsys.excepthook = threading.excepthook = traceback.print_exception = lambda *a, **k: None\ndef answer(*a): raise Exception",
    "an exception that is no failure": "class E(BaseException):\n    def __str__(self): raise E\nE.__name__ = 'AssertionError'\ndef answer(*a): raise E",
    "AssertionError as the tests would raise it": "def answer(*a):\n    exec(compile('raise AssertionError', '<tests>', 'exec'))",
    "the class that is expected to be raised": _FRAMES
    + "def answer(*a):\n    for frame in seen():\n        for value in frame.f_locals.values():\n            if type(value).__name__ == 'Raises': raise value._kinds('negative')\n    return 1",
    "every exception at once": "class E(ValueError, KeyError, TypeError, ArithmeticError): pass\ndef answer(*a): raise E('negative')",
    "time tells the runs apart": "import os, time\nrun = time.time_ns() // 1_000_000 % 2\ndef answer(*a): return run",
    "memory tells the runs apart": "run = id(object()) // 16 % 2\ndef answer(*a): return bool(run)",
    "numbers of processes, inodes and hashes tell the runs apart": "import os\nrun = (os.getpid() + sum(os.fstat(n).st_ino for n in range(4)) + hash('a')) % 2\ndef answer(*a): return bool(run)",
    "order of calls tells the runs apart": "calls = []\ndef answer(*a):\n    calls.append(a)\n    return len(calls)",
    "the statement's own examples": "def answer(*a):\n    if len(a) == 2 and a[1] == 1: return 7\n    if a and a[0] == 2: return 4\n    return 0",
    "answers of the statement, read where they match": _FRAMES
    + "import dis\ndef answer(*a):\n    known = {1: 7, 5: 20}\n    for frame in seen():\n        if 'tests' in frame.f_code.co_filename:\n            read = [one.argval for one in dis.get_instructions(frame.f_code) if one.offset > frame.f_lasti and one.opname == 'LOAD_CONST' and one.argval is not None]\n            if len(a) == 2 and a[1] in known: return known[a[1]]\n            return read[0] if read else None",
    "text of the tests in its memory": "import linecache, inspect\ndef answer(*a):\n    try: return inspect.getsource(inspect.currentframe().f_back).split('==')[1].strip()\n    except OSError: return None",
    "its own job, from descriptors": "import os\ndef answer(*a):\n    for fd in range(3, 64):\n        try: data = os.pread(fd, 10**6, 0)\n        except OSError: continue\n        if data: return data.decode('latin-1')",
    "a debugger's breakpoint": "import builtins, sys\nsys.breakpointhook = lambda *a, **k: None\nbuiltins.__build_class__ = lambda *a, **k: type('X', (), {})\ndef answer(*a): return 1",
    "equal by patched operators": "import operator\nfor name in ('eq', 'ne', 'is_', 'contains'): setattr(operator, name, lambda *a: True)\ndef answer(*a): return 1",
    "ctypes on a small integer": "import ctypes, sys\ntry:\n    for n in (4, 7, 9, 20, 25): ctypes.c_long.from_address(id(n) + 24).value = 1\nexcept Exception: pass\ndef answer(*a): return 1",
    "recursion to the limit": "def answer(*a):\n    try: return answer(*a)\n    except RecursionError: return 1",
}
"""Name -> code."""
PROGRAMS: dict[str, tuple[TestSuite, str]] = {
    f"{cheat}: {victim}": (suite, code + "\n" + ending)
    for cheat, code in CHEATS.items()
    for victim, (suite, ending) in VICTIMS.items()
}
