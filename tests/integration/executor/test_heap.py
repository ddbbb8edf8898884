"""What a zygote does to its memory, on every interpreter at hand: in a process each, for it cannot be undone."""

from __future__ import annotations

import ctypes
import json
import subprocess
from pathlib import Path

import pytest

from tests.support.interpreters import VERSIONS, interpreters

SCRIPT = """
import json, os, re, sys
sys.path.append(sys.argv[1])
from rltf.executor import heap
import collections, decimal, random

def touched():
    before = len(open("/proc/self/maps").read())
    pid = os.fork()
    if pid == 0:
        compile("class A:\\n    def f(self, x):\\n        return [x, {x: 'a'}]\\n" * 20, "<text>", "exec")
        os._exit(0)
    return os.wait4(pid, 0)[2].ru_minflt

told = {"version": sys.version_info[:2], "before": touched()}
places = heap.code_windows(open("/proc/self/maps").read())
told["moved"], told["places"] = heap.move_code_to_huge_pages(), len(places)
rows, here = {}, None
for line in open("/proc/self/smaps"):
    found = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\\S+) \\S+ \\S+ (\\d+)", line)
    if found:
        here = int(found[1], 16), int(found[2], 16), found[3]
    elif line.startswith("AnonHugePages:") and any(here[0] <= place < here[1] for place in places):
        rows[here] = int(line.split()[1])
told["huge"], told["rights"] = sum(rows.values()), sorted({row[2] for row in rows})
told["immortal"] = heap.make_immortal()
counts = [sys.getrefcount(thing) for thing in (json, dict, told, decimal.Decimal, collections.Counter.update)]
references = [(json, dict, told, decimal.Decimal, collections.Counter.update) for _ in range(9)]
again = [sys.getrefcount(thing) for thing in references[0]]
told["grown"] = [after - before for before, after in zip(counts, again)]
told["filled"] = heap.fill_holes()
told["after"] = touched()
told["works"] = json.loads(json.dumps([str(decimal.Decimal("0.1") + 1), dict(collections.Counter("aab"))]))
del references
import gc, fractions
gc.collect()
told["still"] = str(fractions.Fraction(3, 6))
print(json.dumps(told))
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_it_holds_what_it_held_and_a_fork_copies_less(version: str) -> None:
    if version not in interpreters():
        pytest.skip(f"no Python {version} on this machine")
    root = str(Path(__file__).absolute().parents[3])
    command = [interpreters()[version], "-s", "-S", "-P", "-B", "-c", SCRIPT, root]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={"PYTHONHASHSEED": "0"})
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["works"] == ["1.1", {"a": 2, "b": 1}] and told["still"] == "1/2"
    counted = tuple(told["version"]) < (3, 12)
    assert (told["immortal"] == 0) == counted
    assert told["grown"] == ([8] * 5 if counted else [0] * 5)
    assert told["moved"] <= told["places"]  # the host may have run out of huge pages
    if told["moved"]:
        assert told["huge"] >= 2048 * told["moved"] and told["rights"] == ["r-xp"]
    if hasattr(ctypes.CDLL(None), "mallinfo2"):
        assert told["filled"] > 0
        assert told["after"] < told["before"]
