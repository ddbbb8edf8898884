"""Where a response ends: at each end token, at a text, in a reasoning that is too long; and the program before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rltf.actors.engine import Completion, Request
from rltf.actors.programs import programs_of
from rltf.actors.sampling_engine import SamplingEngine
from rltf.actors.stopping import Endings, EndingWatch, ended_at
from rltf.buffer.records import Program, VersionRun
from rltf.policy.policy import Policy
from rltf.problems import Prompt
from tests.support.chat import chat_policy
from tests.support.policies import policy_of

ASKED = Prompt("", "q", "", entry_point="f")


def written(policy: Policy, text: str, end: int | None, prompt: Prompt = ASKED, stop: bool = True) -> Program:
    """What is made of a response; `end`: the token that ended it."""
    ids = policy.tokenizer(text, add_special_tokens=False)["input_ids"] + ([] if end is None else [end])
    reason: Any = "stop" if stop else "length"
    completion = Completion(ids, [-1.0] * len(ids), [], reason, False, [VersionRun(0, 0)])
    (program,) = programs_of(policy, [completion], group_id="g", problem_id="p", prompt_ids=[1], prompt=prompt)
    assert program.text == text and len(program.offsets) == len(ids)
    return program


def test_each_end_token_ends_a_response_and_is_no_part_of_it(tmp_path: Path) -> None:
    policy = chat_policy(tmp_path)
    for end in policy.stop_token_ids:
        program = written(policy, "So:\n```python\nx = 1\n```\n", end)
        assert (program.code, program.end_tokens, program.has_program) == ("x = 1\n", 1, True)
    cut = written(policy, "So:\n```python\nx = ", None, stop=False)
    assert (cut.code, cut.end_tokens) == ("x = ", 0)
    without = written(policy, "No.", policy.eos_id)
    assert (without.code, without.has_program, list(without.spans)) == ("", False, [])


def test_a_text_that_ends_a_response_is_no_part_of_the_program(tmp_path: Path) -> None:
    policy = chat_policy(tmp_path, format="raw", stop=["[DONE]"])
    program = written(policy, "x = 1\n[DONE]\ny", None)
    assert program.code == "x = 1\n" and list(program.spans) == [0, 6]
    ended = program.offsets[len(program.offsets) - program.end_tokens :]
    assert list(ended) == [offset for offset in program.offsets if offset >= 6] and program.end_tokens
    whole = written(policy, "x = 1\n", policy.eos_id)
    assert (whole.code, list(whole.spans), whole.end_tokens) == ("x = 1\n", [], 1)
    goes_on = Prompt("", "", "def f():\n", program="continued", starter_code="def f():\n", stop=("\nprint",))
    program = written(policy, "    return 1\nprint", None, goes_on)
    assert program.code == "def f():\n    return 1" and list(program.spans) == [0, 12]


def test_which_tokens_a_text_takes() -> None:
    assert ended_at("abcd", [0, 1, 2, 3, 4], ["cd"]) == (2, 3) and ended_at("abcd", [0, 1, 3], ["cd", "bc"]) == (1, 2)
    assert ended_at("abcd", [0], ["x"]) is None


def test_the_engine_ends_where_a_text_is_whole(tmp_path: Path) -> None:
    policy = policy_of("llama", 60)
    engine = SamplingEngine(policy)
    request = Request([5, 6, 7], 16, seed=3)

    def texts(endings: Endings) -> list[tuple[str, str]]:
        engine.submit("a", Request(**{**fields, "endings": endings}))
        ((_, found),) = engine.step()
        return [(policy.pieces.decode(one.token_ids)[0], one.finish_reason) for one in found]

    fields = {name: getattr(request, name) for name in ("prompt_ids", "samples", "seed")}
    plain = texts(Endings())
    stop = next(
        text[10:12] for text, _ in plain if len(text) > 20 and text[10:12].isascii() and text.find(text[10:12]) == 10
    )
    found = texts(Endings((stop, "never at all")))
    for (before, reason), (text, how) in zip(plain, found, strict=True):
        if stop in before:
            assert how == "stop" and before.startswith(text) and stop in text and text.find(stop) >= len(text) - 12
        else:
            assert (text, how) == (before, reason)
    assert sum(stop in before for before, _ in plain) >= 1
    torch.manual_seed(0)


@pytest.mark.parametrize("begun", [True, False])
def test_a_reasoning_that_is_too_long_is_ended(tmp_path: Path, begun: bool) -> None:
    policy = chat_policy(tmp_path)

    def ends(text: str, limit: int, **fields: Any) -> tuple[str, int]:
        watch = EndingWatch(policy, Endings(reasoning=("<think>", "</think>"), max_reasoning_tokens=limit, **fields), 1)
        ids = policy.tokenizer(text, add_special_tokens=False)["input_ids"]
        for number, index in enumerate(ids, 1):
            if how := watch.see(0, index):
                return how, number
        return "", len(ids)

    start = "" if begun else "<think>"
    length = len(policy.tokenizer(f"{start}abc</think>", add_special_tokens=False)["input_ids"])
    assert ends(f"{start}{'abc' * 50}", 20, begun=begun) == ("length", 20)
    assert ends(f"{start}abc</think>{'abc' * 50}", length, begun=begun)[0] == ""
    assert ends(f"{start}abc</think>{'abc' * 50}", length - 1, begun=begun) == ("length", length - 1)
    assert ends("abc" * 50, 20, begun=begun) == (("length", 20) if begun else ("", ends("abc" * 50, 900)[1]))
