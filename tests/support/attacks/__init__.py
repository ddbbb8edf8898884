"""Hostile programs: what each tries and what stops it.

`python -m tests.support.attacks` prints the table of docs/sandbox.md.

Each is the source of a function `attack` that returns "got it" if it got what it wanted. It is run four ways: printing
that (stdin), returning it (call), and being asked for it by test code in another process (assert) or in its own
(together), where "got it" is the right answer: an attack that succeeds passes. One that steals looks for an answer that it cannot know; one that only
harms has no right answer. What stands between @ signs is filled in by the runner, executor_attack_run.py.
"""

from __future__ import annotations

from rltf.problems.problem import TestSuite
from tests.support.attacks import cheats, crashes, files, network, processes, resources, rights, signals, texts
from tests.support.attacks.common import GOT, LIMIT_S, Attack

__all__ = ["ATTACKS", "GOT", "MODES", "Attack", "program", "suite", "table"]

MODES = ("stdin", "call", "assert", "together")
ATTACKS = [
    *processes.PROCESSES,
    *signals.SIGNALS,
    *files.FILES,
    *network.NETWORK,
    *resources.RESOURCES,
    *rights.RIGHTS,
    *crashes.CRASHES,
    *cheats.CHEATS,
    *texts.TEXTS,
]
ENDING = {
    "stdin": "\nprint(attack())\n",
    "call": "\ndef f(x):\n    return attack()\n",
    "assert": "\ndef f(x):\n    return attack()\n",
    "together": "\ndef f(x):\n    return attack()\n",
}


def program(attack: Attack, mode: str, places: dict[str, str]) -> str:
    """The attack's whole text for a mode, with the names of this run filled in."""
    code = attack.code
    for name, value in places.items():
        code = code.replace(f"@{name}@", value)
    return code + ENDING[mode] + f"# {mode}\n"


def suite(mode: str, answer: str) -> TestSuite:
    """A suite that a program passes if it gives the answer."""
    limits = {"time_limit_s": LIMIT_S, "memory_limit_mb": 256}
    if mode == "stdin":
        return TestSuite(kind="stdin", fn_name=None, inputs=("",), outputs=(answer,), **limits)
    if mode == "call":
        return TestSuite(kind="call", fn_name="f", inputs=([1],), outputs=(answer,), **limits)
    setup = f"expected = {answer!r}\nexpected += ''"
    return TestSuite(
        kind="assert",
        fn_name=None,
        inputs=(),
        outputs=(),
        asserts=("assert f(1) == expected",),
        setup=setup,
        way="together" if mode == "together" else "split",
        **limits,
    )


def table() -> str:
    """The attacks as a Markdown table."""
    rows = ["| | what a program tried | what stopped it |", "|---|---|---|"]
    rows += [f"| {attack.group} | {attack.name} | {attack.stopped_by} |" for attack in ATTACKS]
    return "\n".join(rows) + "\n"
