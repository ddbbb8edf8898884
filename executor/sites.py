"""What a program may count on before its first line: names that its site or harness imports, and depth of recursion.

Which site's, the tests say (`TestSuite.site`, `problems.problem.SITES`). Standard library only: the zygote imports this
module.
"""

from __future__ import annotations

import builtins
import importlib
from typing import Any, NamedTuple

RECURSION_LIMIT = 1000 + 6
"""A script's own frames, and the harness below them."""
DEEP_RECURSION = 50_000
"""As LiveCodeBench's harness sets it; LeetCode allows more. The C stack of a lane has room for it."""
_SORTED = ("SortedDict", "SortedKeyList", "SortedList", "SortedSet")


def _public(module: str) -> dict[str, Any]:
    """What `from module import *` binds, names of builtins left out."""
    loaded = importlib.import_module(module)
    public = getattr(loaded, "__all__", None) or [name for name in vars(loaded) if not name.startswith("_")]
    return {name: getattr(loaded, name) for name in public if not hasattr(builtins, name)}


def _names(stars: str, modules: str) -> dict[str, Any]:
    """Names of star imports in order, then the modules themselves: `bisect` is a function of its module, too."""
    names: dict[str, Any] = {}
    for module in stars.split():
        names |= _public(module)
    return names | {module: importlib.import_module(module) for module in modules.split()}


LEETCODE_NAMES = _names(
    "typing collections functools itertools heapq bisect string operator math",
    "array bisect collections copy datetime functools heapq itertools json math operator random re statistics string "
    "sys typing",
)
"""What a `class Solution` finds imported on LeetCode."""
_LIVECODEBENCH_MODULES = (
    "string re datetime collections heapq bisect copy math random statistics itertools functools operator io sys json"
)
_LIVECODEBENCH_NAMES = _names(f"typing {_LIVECODEBENCH_MODULES}", _LIVECODEBENCH_MODULES)
"""What LiveCodeBench's harness puts before every program."""
_APPS_PRELUDE = """
import sys, time, itertools, collections, math, fractions, random, heapq
from itertools import accumulate, product, permutations, combinations
from collections import Counter, OrderedDict, deque, defaultdict, ChainMap
from functools import lru_cache
from math import sqrt, sin, cos, tan, ceil, fabs, floor, gcd, exp, log, log2
from typing import List, Tuple
from heapq import *
"""
"""What the APPS harness puts before every program, and numpy as np."""
_APPS_NAMES: dict[str, Any] = {}
exec(_APPS_PRELUDE, _APPS_NAMES)
del _APPS_NAMES["__builtins__"]


class Surroundings(NamedTuple):
    """What a program finds."""

    names: dict[str, Any]
    recursion_limit: int


def surroundings(program: str, site: str, prelude: str = "", called: bool = False) -> Surroundings:
    """What a program of a site finds: the site's names, then those of `prelude`, the imports of its starter code.

    `called`: it defines what tests call; a `class Solution` is LeetCode's then, whatever the site.
    """
    if called and not site and "class Solution" in program:
        site = "leetcode"
    names: dict[str, Any] = {}
    if site == "leetcode":
        names = dict(LEETCODE_NAMES)
        if _wants_sorted(program):
            names |= _imported("sortedcontainers", _SORTED)
    elif site == "livecodebench":
        names = dict(_LIVECODEBENCH_NAMES)
    elif site == "apps":
        names = dict(_APPS_NAMES)
        if _wants_numpy(program):
            names |= _imported("numpy", (), "np")
    for statement in prelude.splitlines():
        try:
            exec(statement, names)
        except ImportError:
            continue  # a program that uses it will say so, at its own line
    names.pop("__builtins__", None)
    if site == "leetcode":
        names["__builtins__"] = builtins  # its programs are part of a script
    return Surroundings(names, DEEP_RECURSION if site in ("leetcode", "livecodebench") else RECURSION_LIMIT)


def imports_for(program: str, site: str) -> bool:
    """Whether `surroundings` imports a package for a program that may not name it itself."""
    return _wants_numpy(program) if site == "apps" else "class Solution" in program and _wants_sorted(program)


def _wants_sorted(program: str) -> bool:
    return any(name in program for name in _SORTED)


def _wants_numpy(program: str) -> bool:
    return "np." in program


def _imported(package: str, members: tuple[str, ...], alias: str = "") -> dict[str, Any]:
    """Names of a package; none where the lane has no such package."""
    try:
        module = importlib.import_module(package)
    except ImportError:
        return {}
    return {name: getattr(module, name) for name in members} | ({alias: module} if alias else {})
