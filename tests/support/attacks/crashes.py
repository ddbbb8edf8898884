"""Interpreters that break."""

from __future__ import annotations

from tests.support.attacks.common import Attack

CRASHES = [
    Attack(
        "crashes",
        "reads address 0",
        "a process per program",
        """
import ctypes
def attack():
    ctypes.string_at(0)
""",
        wants="harm",
    ),
    Attack(
        "crashes",
        "aborts",
        "a process per program",
        """
import os
def attack():
    os.abort()
""",
        wants="harm",
    ),
    Attack(
        "crashes",
        "recursion without end",
        "limits on the stack and on CPU time",
        """
import sys
sys.setrecursionlimit(10 ** 9)
def attack():
    return attack()
""",
        wants="harm",
        slow=True,
    ),
    Attack(
        "crashes",
        "recursion in C",
        "limits on the stack and on CPU time",
        """
import sys
sys.setrecursionlimit(10 ** 9)
def attack():
    d = {}
    for i in range(100000): d = {0: d}
    return repr(d)
""",
        wants="harm",
        slow=True,
    ),
    Attack(
        "crashes",
        "bytecode that does not exist",
        "a process per program",
        """
def attack():
    code = (lambda: 0).__code__.replace(co_code=bytes([100, 255] * 50), co_consts=())
    return eval(code)
""",
        wants="harm",
    ),
    Attack(
        "crashes",
        "overwrites the interpreter",
        "a process per program",
        """
import ctypes
def attack():
    ctypes.memset(id(None), 255, 16)
    ctypes.memset(id(int), 255, 4000)
    return 1
""",
        wants="harm",
    ),
]
