"""500 programs that models wrote, wrapped in responses as models wrap them: the program is extracted, and each line is
blamed on exactly its tokens, by a mapping that is worked out here on its own.

RLTF_CHAT_MODELS names folders of further models, separated by colons, whose tokenizers are tried too.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rltf.actors.engine import Completion
from rltf.actors.programs import programs_of
from rltf.buffer.records import VersionRun
from rltf.config import PolicyConfig, PromptConfig
from rltf.learner.spans import line_span, lines_of
from rltf.policy.policy import Policy, build_policy, make_spec
from rltf.problems import Prompt
from tests.support.chat import chat_tokenizer
from tests.support.paths import SHARED

SAMPLES = SHARED / "data" / "gen_samples" / "mbpp_labeled.jsonl.gz"
TOKENIZERS = SHARED / "data" / "tokenizers"
pytestmark = [
    pytest.mark.real_problems,
    pytest.mark.skipif(
        not SAMPLES.is_file(), reason="../shared/data is absent: real programs are not part of the project"
    ),
]
NUMBER = 500
FURTHER = [Path(name) for name in os.environ.get("RLTF_CHAT_MODELS", "").split(":") if name]


@dataclass
class Reply:
    """A response under construction, with the place of each line of the program."""

    text: str = ""
    program: str = ""
    lines: list[tuple[int, int]] | None = None
    prefix: str = ""

    def say(self, text: str) -> Reply:
        self.text += text
        return self

    def write(self, program: str, indent: str = "", blank: str = "") -> Reply:
        self.program, self.lines = program, []
        for begin, end in lines_of(program):
            line = program[begin:end]
            self.text += indent if line.strip() else blank
            self.lines.append((len(self.text), len(self.text) + len(line)))
            self.text += line
        return self


DECOY = "def helper_of_none():\n    return 'é'\n"


def sentence(program: str) -> Reply:
    return Reply().say("Sure, here it is — ü:\n\n```python\n").write(program).say("```\n\nIt runs in O(n).\n")


def reasoning(program: str) -> Reply:
    thought = f"<think>\nFirst 日本:\n```python\n{DECOY}```\nNo.\n</think>\n\n"
    return Reply().say(f"{thought}```py\n").write(program).say("```")


def several(program: str) -> Reply:
    head = f"A helper:\n```python\n{DECOY}```\nThe program:\n```python\n"
    return (
        Reply()
        .say(head)
        .write(program)
        .say("```\nIts output:\n```text\n42\n```\nOn a shell:\n```bash\npython x.py\n```\n")
    )


def in_a_list(program: str) -> Reply:
    return Reply().say("1. Read.\n2. Write:\n\n   ```python\n").write(program, "   ").say("   ```\n3. Done.\n")


def behind_a_marker(program: str) -> Reply:
    return Reply().say("1. ```python:f.py\n").write(program, "   ").say("   ```\n2. ```\n   42\n   ```\n")


def quoted(program: str) -> Reply:
    return Reply().say("> So:\n> ```python3.12\n").write(program, "> ", ">").say("> ```\nDone.\n")


def deep(program: str) -> Reply:
    return Reply().say("- a\n    - b\n\n\t```\n").write(program, "\t").say("\t```\n- c\n")


def tildes(program: str) -> Reply:
    return Reply().say("~~~~~ python x=1\n").write(program).say("~~~~~~  \nend")


def unclosed(program: str) -> Reply:
    return Reply().say("Here:\n````python\n").write(program)


def carriage_returns(program: str) -> Reply:
    reply = Reply().say("Here:\r\n\r\n```python\r\n").write(program.replace("\n", "\r\n"))
    return reply.say("```\r\nBye.\r\n")


def nested(program: str) -> Reply:
    noted = f"#```\n{program}'''\n```python\nx\n```\n'''\n"
    return Reply().say("See `x`:\n````python\n").write(noted).say("````\n")


def begun(program: str) -> Reply:
    reply = Reply(prefix="Below is a script:\n```python\n").write(program)
    return reply.say("```\nThat is it.\n")


WRAPPERS: list[Callable[[str], Reply]] = [
    sentence, reasoning, several, in_a_list, behind_a_marker, quoted, deep, tildes, unclosed, carriage_returns, nested, begun,
]  # fmt: skip


def programs() -> list[str]:
    found: dict[str, None] = {}
    with gzip.open(SAMPLES, "rt", encoding="utf-8") as lines:
        for line in lines:
            code = json.loads(line)["code"].replace("\r\n", "\n").strip("\n") + "\n"
            # A line of a fence's own marks would end any block; nested() brings some.
            if code.strip() and "\r" not in code and not re.search(r"^\s*(```|~~~)", code, re.MULTILINE):
                if all(line == "" or line.strip() for line in code.split("\n")):
                    found[code] = None
    chosen = list(found)
    step = len(chosen) // NUMBER
    return chosen[: step * NUMBER : step]


def policy_with(folder: Path, chat: bool, **prompt: Any) -> Policy:
    shape = PolicyConfig(d_model=8, layers=1, heads=1, d_ff=8, tokenizer=str(folder), max_prompt_tokens=64)
    asked = PromptConfig.model_validate({"format": "chat" if chat else "raw", "program": "entry_block"} | prompt)
    return build_policy(make_spec(shape, [], asked), weights=False)


def tokens_over(places: list[tuple[int, int]], begin: int, end: int) -> tuple[int, int]:
    """From the first to the last token that shares a character, by the tokenizer's own account of their places."""
    touched = [index for index, (first, last) in enumerate(places) if first < end and last > begin]
    return touched[0], touched[-1] + 1


@pytest.mark.parametrize("source", ["chat", "gpt2", "codet5", *FURTHER], ids=lambda source: Path(source).name)
def test_programs_and_lines_are_exact(source: str | Path, tmp_path: Path) -> None:
    if source == "chat":
        chat_tokenizer().save_pretrained(tmp_path)
    folder = tmp_path if source == "chat" else source if isinstance(source, Path) else TOKENIZERS / source
    policy = policy_with(folder, chat=source not in ("gpt2", "codet5"))
    wrapped = [WRAPPERS[number % len(WRAPPERS)](program) for number, program in enumerate(programs())]
    assert len(wrapped) == NUMBER
    checked = 0
    for number, reply in enumerate(wrapped):
        name = re.search(r"^(?:def|class) +(\w+)", reply.program, re.MULTILINE)
        prompt = Prompt("", "q", "", answer_prefix=reply.prefix, entry_point=name[1] if name else "")
        encoded = policy.tokenizer(reply.text, add_special_tokens=False, return_offsets_mapping=True)
        ids, places = list(encoded["input_ids"]), list(encoded["offset_mapping"])
        completion = Completion([*ids, policy.eos_id], [0.0] * (len(ids) + 1), [], "stop", False, [VersionRun(0, 0)])
        (found,) = programs_of(policy, [completion], group_id="g", problem_id="p", prompt_ids=[1], prompt=prompt)
        kind = WRAPPERS[number % len(WRAPPERS)].__name__
        assert found.text == reply.text and found.has_program and found.end_tokens == 1, kind
        assert found.code == reply.program, kind
        assert reply.lines is not None
        for line, (begin, end) in enumerate(reply.lines, start=1):
            assert line_span(found, line) == tokens_over(places, begin, end), (kind, line, reply.text[begin:end])
            checked += 1
    assert checked > 8 * NUMBER
