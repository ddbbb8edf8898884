"""Programs in responses: blocks as CommonMark has them, which of them, what of it, and where each character stands."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from rltf.config import Config, PromptConfig, UserError
from rltf.config.prompt import PROGRAMS
from rltf.config.user_code import NO_CODE, UserCode
from rltf.problems.definitions import needed
from rltf.problems.extraction import RULES, as_response, extract, reasons_already, rule_of, stops_of
from rltf.problems.fences import blocks_of, open_fence
from rltf.problems.prompts import Prompt

ASKED = Prompt("", "q", "", entry_point="f")


def code_of(
    response: str, prompt: Prompt = ASKED, chat: bool = True, reasons: bool = False, **fields: Any
) -> str | None:
    found = extract(response, PromptConfig(**fields), prompt, chat, reasons)
    if not found.has_program:
        assert not found.spans and not found.lead
        return None
    spans = found.spans or [(0, len(response))]
    return found.lead + "".join(response[begin:end] for begin, end in spans)


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("```\na\n```\n", ["a\n"]),
        ("```\na\n", ["a\n"]),
        ("```\na", ["a"]),
        ("~~~~ python x\na\n~~~\n```\n~~~~~\nb\n", ["a\n~~~\n```\n"]),
        ("````\n```\na\n```\n````\n```\nb\n```", ["```\na\n```\n", "b\n"]),
        ("``` `x`\na\n", []),
        ("``\na\n``\n", []),
        ("x ```\na\n```\n", []),
        ("```py\na\n    ```\nb\n```", ["a\n    ```\nb\n"]),
        ("```py\na\n   ```  \nb\n", ["a\n"]),
        ("1. x\n\n   ```py\n   a\n     b\n  c\n   ```\n", ["a\n  b\nc\n"]),
        ("\t```\n\ta\n\tb\n\t```\n", ["a\nb\n"]),
        ("        ```\n        a\n        ```\nb", ["a\n"]),
        ("```\r\na\r\n\r\nb\r\n```\r\n", ["a\r\n\r\nb\r\n"]),
        ("```\ra\r```\rb", ["a\r"]),
        ("```\n\n \n```\n```\na\n```\n", ["a\n"]),
        ("1. ```py\n   a\n     b\n   ```\n- ```\n  c\n  ```\n2) x ```\n", ["a\n  b\n", "c\n"]),
        ("> x\n> ```py\n> a\n>\n>   b\n>c\n> ```\n\n```\nd\n```\n", ["a\n\n  b\nc\n", "d\n"]),
        ("> ```\n> a\nb\n```\nc\n```\n", ["a\n", "c\n"]),
        ("> 1. ```\n>    a\n>    ```\n> > ~~~\n> > b\n", ["a\n", "b\n"]),
        ("- ```\n  a\n", ["a\n"]),
        ("-```\n1.```\n*```\n", []),
        ("```\n``` x\n```\n", ["``` x\n"]),
        ("```\na\x0cb\u2028c\n```", ["a\x0cb\u2028c\n"]),
        ("", []),
    ],
)
def test_blocks_are_those_of_commonmark(text: str, blocks: list[str]) -> None:
    found = blocks_of(text)
    assert [block.of(text) for block in found] == blocks
    assert all(begin < end for block in found for begin, end in block.spans)


@pytest.mark.parametrize(
    ("text", "fence"), [("x\n```python\n", "```"), ("~~~~\na\n", "~~~~"), ("```\n```\n", ""), ("", "")]
)
def test_a_block_that_stays_open(text: str, fence: str) -> None:
    assert open_fence(text) == fence


TWO = "Say:\n```python\ndef f(): return 1\n```\nthen\n```python\ndef g(): return 2\n```\nout:\n```text\n2\n```\n"


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("whole", TWO),
        ("after_reasoning", TWO),
        ("first_block", "def f(): return 1\n"),
        ("last_block", "def g(): return 2\n"),
        ("entry_block", "def f(): return 1\n"),
        ("auto", "def f(): return 1\n"),
    ],
)
def test_which_block(rule: str, code: str) -> None:
    assert code_of(TWO, program=rule) == code
    assert code_of("<think>\n```\nx\n```</think>" + TWO, program=rule) == (
        "<think>\n```\nx\n```</think>" + TWO if rule == "whole" else code
    )


def test_blocks_that_say_they_are_python_go_first() -> None:
    assert code_of("```\na\n```\n```bash\nb\n```\n", program="last_block") == "a\n"
    assert code_of("```bash\nb\n```\n", program="last_block") == "b\n"
    for tag in ("Python3", "python:a.py", "{.python}", "python3.12 x", "py,ignore", "ipython", " Py"):
        assert code_of(f"```{tag}\na\n```\n```\nb\n```\n", program="last_block") == "a\n", tag
    for tag in ("pycon", "python-repl", "pyx", "cython"):
        assert code_of(f"```{tag}\na\n```\n```\nb\n```\n", program="first_block") == "b\n", tag
    assert code_of("```text\ndef f(): 1\n```\n```python\nb\n```\n") == "def f(): 1\n"


def test_where_no_block_defines_the_function_it_is_the_last() -> None:
    assert code_of("```\na\n```\n```\nb\n```\n") == "b\n"
    assert code_of("```\ndef f2(): 1\nff = 2\nf == 1\n```\n```\nb\n```\n") == "b\n"
    assert code_of("```\nf: Callable[[int], int] = abs\n```\n```\nb\n```\n").startswith("f: Callable")
    assert code_of("```\nclass S:\n    async  def f(self): 1\n```\n```\nb\n```\n").startswith("class S")
    assert code_of("```\ndef f(): 1\n```\n```\nb\n```\n", Prompt("", "q", "")) == "b\n"


def test_without_a_block_there_is_no_program() -> None:
    assert code_of("I cannot.") is None and code_of("") is None and code_of("```\n\n```") is None
    assert code_of("I cannot.", chat=False) == "I cannot." and code_of("", chat=False) == ""


def test_a_reasoning_that_does_not_end_holds_no_program() -> None:
    block = "```\na\n```\n"
    assert code_of(f"<think>{block}") is None and code_of(f" \n<think>{block}</think>{block}") == "a\n"
    assert code_of(block, reasons=True) is None and code_of(f"{block}</think>{block}", reasons=True) == "a\n"
    assert code_of(f"x</think>{block}") == "a\n"
    spells = "```\nprint('</think>')\n```\n"
    for before in ("", "<think>x</think>", "<think>```\nx</think>y\n", "x</think>"):
        assert code_of(before + spells) == "print('</think>')\n", before
    assert code_of(f"<think>the </think> is near</think>{block}") == "a\n"
    assert code_of(f"<r>{block}", reasoning=("<r>", "</r>")) is None and code_of(f"<r>\n{block}") == "a\n"
    assert code_of(f"{block}", answer_prefix="<think>\n") is None
    config = PromptConfig()
    assert reasons_already(config, "a<think>\n") and not reasons_already(config, "<think></think>")


def test_a_block_that_the_prompt_has_opened() -> None:
    prompt = Prompt("", "q", "", answer_prefix="Here:\n```python\n", entry_point="f")
    assert code_of("a\n```\nb", prompt) == "a\n" and code_of("a", prompt, chat=False) == "a"
    assert code_of("a\n```\nb", prompt, answer_prefix="") == "b"
    begun = "```python\ndef f():\n"
    found = extract("    1\n```\n", PromptConfig(answer_prefix=begun), ASKED, True)
    assert (found.lead, found.spans) == ("def f():\n", ((0, 6),))
    assert code_of("```\n", answer_prefix=begun) is None, "nothing of the program is the model's"


def test_a_program_that_goes_on_with_the_prompt() -> None:
    prompt = Prompt(
        "", "", "def f():\n", program="continued", entry_point="f", starter_code="def f():\n", stop=("\ndef",)
    )
    found = extract("    return 1\n", PromptConfig(), prompt, False)
    assert (found.lead, found.spans, found.has_program) == ("def f():\n", (), True)
    assert code_of("", prompt, chat=False) == "def f():\n"
    assert stops_of(PromptConfig(stop=("x", "\ndef")), prompt, False) == ("x", "\ndef")
    # In a conversation nothing goes on with the prompt.
    assert rule_of(PromptConfig(), prompt, True) == "entry_block" and stops_of(PromptConfig(), prompt, True) == ()
    assert rule_of(PromptConfig(program="continued"), prompt, True) == "continued"


DEFINITIONS = '''\
"""Solves it."""
from __future__ import annotations
import os, math as m
from x import (a,
    b)
from y import *
LIMIT: int = 3
other = {"LIMIT": 1}
sieve = [True] * LIMIT
for i in range(LIMIT):
    sieve[i] = False

# a comment
@cache
def helper(n):
    """Uses m."""
    return m.sqrt(n)

class Unused:
    def g(self): return b

try:
    import numpy as np
except ImportError:
    np = None

def f(x):

    # inside
    return helper(x) + len(sieve) + np.size

assert f(2) == 3
print(f(2))
result = f(3)
if __name__ == "__main__":
    helper = None
'''
KEPT = '''\
from __future__ import annotations
import os, math as m
from y import *
LIMIT: int = 3
sieve = [True] * LIMIT
for i in range(LIMIT):
    sieve[i] = False
@cache
def helper(n):
    """Uses m."""
    return m.sqrt(n)
try:
    import numpy as np
except ImportError:
    np = None
def f(x):

    # inside
    return helper(x) + len(sieve) + np.size
'''


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_definitions_that_a_function_needs(line_end: str) -> None:
    code = DEFINITIONS.replace("\n", line_end)
    spans = needed(code, "f")
    assert spans is not None and "".join(code[begin:end] for begin, end in spans) == KEPT.replace("\n", line_end)
    reply = f"Sure:{line_end}```python{line_end}{code}```{line_end}"
    assert code_of(reply, runs="definitions") == KEPT.replace("\n", line_end)
    assert code_of(reply, Prompt("", "q", ""), runs="definitions") == code, "no function is asked for"


@pytest.mark.parametrize(
    "code",
    [
        "def f(:\n    (1\n", "def f():\n  x\n y\n", "def g(): 1\nf(1)\n", "def f(): '''", "def f(): return ?\n", "x = '\n",
        "(" * 100_000, "f = " + "-" * 150_000 + "1\n", "[" * 300 + "]" * 300, "def f(): 1\n" + "x = 1\n" * 40_000, "\0",
    ],
)  # fmt: skip
def test_what_does_not_split_into_tokens_is_run_as_a_whole(code: str) -> None:
    found = needed(code, "f")
    assert found is None or "".join(code[begin:end] for begin, end in found).strip() == code.strip()


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        ("class Solution:\n    def f(self): return 1\nSolution().f()\n", "class Solution:\n    def f(self): return 1\n"),
        ("def g(): 1\nf = g\nprint(1)\n", "def g(): 1\nf = g\n"),
        ("f = lambda x: x == 1\nf(2)", "f = lambda x: x == 1\n"),
        ("x = 1; print(x)\ndef f(): return x", "x = 1; print(x)\ndef f(): return x"),
        ("def f(): return 1\ndef f(): return 2\n", "def f(): return 1\ndef f(): return 2\n"),
        ("with open(p) as h:\n    data = h.read()\ndef f(): return data\nh == 2\n",
         "with open(p) as h:\n    data = h.read()\ndef f(): return data\n"),
        ("memo = {}\nmemo[0] = 1\nmemo[1] += 2\nmemo.x(1)\ndef f(): return memo\n",
         "memo = {}\nmemo[0] = 1\nmemo[1] += 2\ndef f(): return memo\n"),
        ("import a.b\nimport c.d as e\nfrom g import h as k\ndef f(): return a.b, e, k\nimport z\n",
         "import a.b\nimport c.d as e\nfrom g import h as k\ndef f(): return a.b, e, k\n"),
        ("if 1:\n    X = 1\nelif 2:\n    X = 2\nelse:\n    X = 3\ndef f(): return X\n",
         "if 1:\n    X = 1\nelif 2:\n    X = 2\nelse:\n    X = 3\ndef f(): return X\n"),
        ("async def f(): return 1\nf()\n", "async def f(): return 1\n"),
    ],
)  # fmt: skip
def test_what_counts_as_a_definition(code: str, kept: str) -> None:
    spans = needed(code, "f")
    assert spans is not None and "".join(code[begin:end] for begin, end in spans) == kept


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("begun", ["", "Sure:\n````\n", "<think>\n"])
@pytest.mark.parametrize("program", ["x = 1\n", "x = '''\n```\n'''", "def f(): 1\r\n"])
def test_a_program_as_a_response_is_extracted_again(rule: str, begun: str, program: str) -> None:
    config = PromptConfig(program=rule, answer_prefix=begun)
    prompt = Prompt("", "q", "", entry_point="f", starter_code=program[:2])
    response = as_response(program, config, prompt, True)
    if rule in ("whole", "continued"):
        assert code_of(response, prompt, program=rule, answer_prefix=begun) == program
        return
    found = code_of(response, prompt, program=rule, answer_prefix=begun)
    assert (
        found is not None and found.removeprefix(begun if rule == "after_reasoning" else "").strip() == program.strip()
    )
    assert code_of(as_response(program, PromptConfig(), prompt, True, True), prompt, reasons=True) is not None


def test_the_rules_are_those_that_the_configuration_takes() -> None:
    assert list(PROGRAMS) == ["auto", *RULES]


def test_a_rule_of_the_users() -> None:
    files = {
        "mine.py": "def f(text, entry):\n    return [(1, 2), (3, len(text))] if entry else None\ndef g(text, entry):\n    return [(2, 1)]\n"
    }
    UserCode("/x", files).install()
    try:
        assert code_of("abcdef", program="mine:f") == "bdef"
        assert code_of("abcdef", Prompt("", "q", ""), program="mine:f") is None
        with pytest.raises(
            UserError, match="prompt.program mine:g .* gave .* not spans in order of a text of 6 characters"
        ):
            code_of("abcdef", program="mine:g")
    finally:
        NO_CODE.install()
    assert "mine" not in sys.modules


@pytest.mark.parametrize("fields", [{"stop": [""]}, {"reasoning": ["", "x"]}, {"max_reasoning_tokens": 0}])
def test_settings_that_cannot_be(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        PromptConfig.model_validate(fields)
    assert Config()
