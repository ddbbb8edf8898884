"""Verdicts do not depend on how busy the machine is; `python -m benchmarks.load` is the long form."""

from __future__ import annotations

from benchmarks.load import compare, programs


def test_verdicts_are_the_same_beside_busy_processes() -> None:
    work = programs(25, 0.1)
    idle, busy = compare(work, (0, 4), lanes=2)
    assert (idle["right"], idle["differ"]) == (len(work), [])
    assert (busy["right"], busy["differ"]) == (len(work), [])
