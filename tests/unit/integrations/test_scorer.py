"""Which part of a response is judged, and what becomes a number, without a judge."""

from __future__ import annotations

import pytest

from rltf.buffer import records
from rltf.buffer.records import Feedback
from rltf.integrations.scorer import Scorer, program_of

BLOCKS = "Like so:\n```python\ndef f(x):\n    return x\n```\nand to try it:\n```python\nprint(f(1))\n```\n"


def test_the_program_is_the_block_that_defines_the_entry_point() -> None:
    assert program_of(BLOCKS, "f") == "def f(x):\n    return x\n"
    assert program_of(BLOCKS) == program_of(BLOCKS, "g") == "print(f(1))\n"
    assert program_of("print(1)\n") == "print(1)\n", "all of it where there is no block"
    assert program_of("<think>\nprint(2)\n</think>\nprint(1)\n").strip() == "print(1)"  # type: ignore[union-attr]
    assert program_of("<think>\nprint(2)\n") is None, "a reasoning without an end"
    assert program_of([{"role": "user", "content": "?"}, {"role": "assistant", "content": BLOCKS}], "f") == (
        "def f(x):\n    return x\n"
    )
    assert program_of("") is None


def test_a_verdict_becomes_the_number_that_is_asked_for() -> None:
    half = Feedback(
        outcome="failure", tests=[records.TestResult(outcome="pass"), records.TestResult(outcome="failure")], passed=1
    )
    assert Scorer().score(half) == 0.0 and Scorer(measure="pass_ratio").score(half) == 0.5
    assert Scorer().score(Feedback(outcome="pass")) == 1.0


def test_the_judge_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLTF_JUDGE_URL", "http://127.0.0.1:1")
    assert Scorer()._config.judge == "remote" and Scorer()._config.judge_url == "http://127.0.0.1:1"
    monkeypatch.delenv("RLTF_JUDGE_URL")
    assert Scorer()._config.judge == "sandbox"


@pytest.mark.parametrize("record", ["[]", "{", '{"inputs": []}', "{}"])
def test_a_problem_that_cannot_be_used_is_an_error(record: str) -> None:
    from rltf.integrations.scorer import _parsed

    with pytest.raises(ValueError):
        _parsed(record)
