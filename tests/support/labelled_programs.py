"""Broken programs, with the outcome, the error type and the line that they are to be labelled with."""

from tests.support.executor_suites import stdin_suite

ONE = stdin_suite(("1\n", "2\n"), time_limit_s=0.5, memory_limit_mb=128)

CASES = [
    ("x = 1\nif x\n    pass\n", "compile_error", "SyntaxError", 2),
    ("x = 1\n  y = 2\n", "compile_error", "IndentationError", 2),
    ("if 1:\n\tx = 1\n        y = 2\n", "compile_error", "TabError", 3),
    ("print(1)\nreturn 2\n", "compile_error", "SyntaxError", 2),
    ("a = 0\n\nprint(1 // a)\n", "runtime_error", "ZeroDivisionError", 3),
    ("def last(xs):\n    return xs[5]\n\nlast([1])\n", "runtime_error", "IndexError", 2),
    ("import json\n\njson.loads('{')\n", "runtime_error", "JSONDecodeError", 3),
    ("{}[1]\n", "runtime_error", "KeyError", 1),
    ("print(1)\nundefined\n", "runtime_error", "NameError", 2),
    ("def f(x):\n    if x:\n        return missing_helper(x)\n\n\nf(1)\n", "runtime_error", "NameError", 3),
    ("1 + 'a'\n", "runtime_error", "TypeError", 1),
    ("\n\nint('x')\n", "runtime_error", "ValueError", 3),
    ("None.x\n", "runtime_error", "AttributeError", 1),
    ("input()\ninput()\n", "runtime_error", "EOFError", 2),
    ("def f():\n    f()\n\nf()\n", "runtime_error", "RecursionError", 2),
    ("class Odd(Exception):\n    pass\n\nraise Odd('so')\n", "runtime_error", "Odd", 4),
    ("import nonexistent\n", "runtime_error", "ModuleNotFoundError", 1),
    ("x = 1\nassert x == 2\n", "runtime_error", "AssertionError", 2),
    ("eval('1 +')\n", "runtime_error", "SyntaxError", 1),
    ("import sys\n\nsys.exit(1)\n", "runtime_error", "NonZeroExit", 3),
    ("exit('bad')\n", "runtime_error", "NonZeroExit", 1),
    ("import os\nos._exit(3)\n", "runtime_error", "NonZeroExit", None),
    ("x = 0\nwhile True: x += 1\n", "runtime_error", "TimeLimit", 2),
    ("def f():\n    while True: pass\n\nf()\n", "runtime_error", "TimeLimit", 2),
    (
        "while True:\n    try:\n        while True: x = 1\n    except BaseException:\n        pass\n",
        "runtime_error",
        "TimeLimit",
        3,
    ),
    (
        "import threading\ndef spin():\n    while True: pass\nthreading.Thread(target=spin).start()\n",
        "runtime_error",
        "TimeLimit",
        3,
    ),
    ("import re\n\nre.match('(a+)+b', 'a' * 40)\n", "runtime_error", "TimeLimit", 3),
    ("import time\n\ntime.sleep(1000)\n", "runtime_error", "TimeLimit", 3),
    ("\nx = [0] * (10 ** 10)\n", "runtime_error", "MemoryLimit", 2),
    ("xs = []\nwhile True:\n    xs.append(bytearray(1 << 24))\n", "runtime_error", "MemoryLimit", 3),
    ("while True:\n    print('x' * 100000)\n", "runtime_error", "OutputLimit", 2),
    ("import os\n\nwhile True:\n    os.write(1, b'x' * 1000000)\n", "runtime_error", "OutputLimit", 4),
    ("import ctypes\n\nctypes.string_at(0)\n", "runtime_error", "Crash", 3),
    ("import os\n\nos.abort()\n", "runtime_error", "Crash", 3),
    ("print(1)\n", "failure", None, None),
    ("print(2)\n", "pass", None, None),
]
