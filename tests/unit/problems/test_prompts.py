"""Prompt styles: the published texts, byte for byte, files of the user's, and what is wrong with them in a sentence."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rltf.config import ProblemsConfig, UserError
from rltf.problems import Problem, Prompt, TestSuite, load_problems, prompt_of
from rltf.problems.prompts import STYLES, entry_point
from tests.support.paths import SHARED
from tests.support.problem_files import lines

ASSERTS = ('assert f("a") == 1', "assert f('b') == 2", "assert f('') == 0", "assert f('c') == 3")
SUITES = {
    "stdin": TestSuite("stdin", None, ("1\n",), ("2\n",)),
    "call": TestSuite("call", "f", ([1],), (2,)),
    "assert": TestSuite("assert", None, (), (), ASSERTS),
    "check": TestSuite("assert", "f", (), (), ("check(f)",), "def check(candidate): pass"),
}


def problem(style: str, kind: str = "assert", starter: str = "", shown: int = 3, question: str = "Do\nit.") -> Problem:
    return Problem("p", question, starter, SUITES[kind], (), "easy", style, shown)


def apps(one: Problem) -> str:
    how = "\nUse Standard Input format\n" if one.suite.kind == "stdin" else "\nUse Call-Based format\n"
    return "\nQUESTION:\n" + one.question + "\n" + one.starter_code + "\n" + how + "\nANSWER:\n"


def mbpp(one: Problem) -> str:
    starter = f"\n\n{one.starter_code}\n" if one.starter_code else ""
    shown = [each for each in one.suite.asserts if each.startswith("assert")][: one.shown_tests]
    if not shown:
        return f"{one.question}{starter}\n"
    tests = "".join(f"{statement}\n" for statement in shown)
    return f"{one.question}{starter or ' '}Your code should satisfy these tests:\n\n{tests}\n"


def marked(one: Problem) -> str:
    shown = "".join(f"{each}\n" for each in one.suite.asserts if each.startswith("assert"))
    task = (
        f"You are an expert Python programmer, and here is your task: {one.question} Your code should pass these tests:"
    )
    return f"{task}\n\n{shown}[BEGIN]\n"


def humaneval(one: Problem) -> str:
    return one.starter_code or f"{one.question}\n"


def evalplus(one: Problem) -> str:
    code = (
        one.starter_code or f'"""\n{one.question}\n' + "".join(f"{each}\n" for each in one.suite.asserts[:1]) + '"""\n'
    )
    ask = "Please provide a self-contained Python script that solves the following problem in a markdown code block:"
    return f"{ask}\n```\n{code.strip()}\n```\n"


PUBLISHED = {"apps": apps, "mbpp": mbpp, "mbpp_marked": marked, "humaneval": humaneval, "evalplus": evalplus}


@pytest.mark.parametrize("kind", SUITES)
@pytest.mark.parametrize("starter", ["", "def f(x):\n    '''Do it.'''\n", "  x = 1\n\n"])
@pytest.mark.parametrize("style", PUBLISHED)
def test_a_published_prompt_is_written_byte_for_byte(style: str, starter: str, kind: str) -> None:
    if style == "evalplus" and kind != "assert" and not starter:
        pytest.skip("EvalPlus has code or asserts")
    if style == "mbpp_marked":
        assert prompt_of(problem(style, kind, starter, shown=9)).text == marked(problem(style, kind, starter))
        return
    for shown in (0, 2, 3) if style == "mbpp" else (3,):
        one = problem(style, kind, starter, shown)
        found = prompt_of(one)
        assert found.text == PUBLISHED[style](one)
        if style in ("apps", "mbpp"):
            assert found.question == one.question and found.text.startswith(found.before + one.question)


def solved(number: int, code: str = "") -> dict[str, Any]:
    tests = [f"assert f{number}({each}) == {each}" for each in range(4)]
    return {
        "task_id": number,
        "text": f"Do {number}.",
        "code": code or f"def f{number}(a):\n  return a\r\n",
        "test_list": tests,
    }


def test_the_three_shot_prompt_shows_the_problems_of_its_file_solved(tmp_path: Path) -> None:
    def head(number: int, shown: int) -> str:
        task = f"You are an expert Python programmer, and here is your task: Do {number}. Your code should pass these tests:"
        return task + "\n\n" + "".join(f"assert f{number}({each}) == {each}\n" for each in range(shown)) + "[BEGIN]\n"

    file = lines(tmp_path, *map(solved, (11, 4, 3, 1, 2)))
    for shown in (3, 1):
        (one,) = load_problems(f"mbpp:{file},ids=11", prompt_style="mbpp_three_shot", shown_tests=shown)
        found = prompt_of(one)
        examples = [f"{head(each, shown)}def f{each}(a):\n  return a\n[DONE]\n\n" for each in (2, 3, 4)]
        assert found.text == "".join(examples) + head(11, shown)
        assert (found.question, found.program, found.stop) == ("Do 11.", "whole", ("[DONE]",))


@pytest.mark.parametrize(
    "records", [[solved(11), solved(2), solved(3)], [*map(solved, (11, 2, 3)), solved(4) | {"test_list": []}]]
)
def test_a_file_without_those_problems_is_told(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    (one,) = load_problems(f"mbpp:{lines(tmp_path, *records)},ids=11", prompt_style="mbpp_three_shot")
    with pytest.raises(
        UserError, match="for problem mbpp/11: the style shows the solved problems 2, 3 and 4 of MBPP, "
    ):
        prompt_of(one)
    assert prompt_of(replace(one, prompt_style="mbpp")).question == "Do 11."


@pytest.mark.real_problems
@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="../shared/data is absent")
@pytest.mark.parametrize("name", ["mbpp.jsonl", "sanitized-mbpp.json"])
def test_the_published_files_have_those_problems(name: str) -> None:
    problems = load_problems(f"mbpp:{SHARED / 'data/mbpp' / name},split=test", prompt_style="mbpp_three_shot")
    for one in problems:
        found = prompt_of(one).text
        assert found.count("[BEGIN]") == 4 and found.count("[DONE]") == 3
        assert (
            found.index("def similar_elements(")
            < found.index("def is_not_prime(")
            < found.index("def heap_queue_largest(")
        )


def test_a_style_says_how_its_responses_begin_and_end() -> None:
    begins = prompt_of(problem("evalplus"))
    assert begins.answer_prefix.endswith("passes corresponding tests:\n```python\n") and "\n```\n" in begins.stop
    assert (
        prompt_of(problem("humaneval")).program == "continued" and prompt_of(problem("humaneval")).stop[0] == "\nclass"
    )
    assert prompt_of(problem("mbpp_marked")).stop == ("[DONE]",)
    plain = prompt_of(problem("mbpp"))
    assert (plain.answer_prefix, plain.program, plain.stop) == ("", "", ()) and plain.entry_point == "f"


@pytest.mark.parametrize("kind", SUITES)
def test_what_an_instruction_model_is_asked_for(kind: str) -> None:
    text = prompt_of(problem("instruct", kind, "import x\n")).text
    assert ("standard input" in text) == (kind == "stdin") and ("function `f`" in text) == (kind != "stdin")
    assert ("assert f(" in text) == (kind == "assert") and "check(f)" not in text
    assert "It begins with:\n```python\nimport x\n```\n" in text and "\n\n\n" not in text and text.endswith("\n")
    assert "begins" not in prompt_of(problem("instruct", kind)).text


@pytest.mark.parametrize(
    ("tests", "name"),
    [
        (("assert set(g([1])) == {1}",), "g"),
        (("assert math.isclose(h(1), 2)",), "h"),
        (("assert not any(x.strip() for x in k2 (3))",), "k2"),
        (("assert (lambda: 1)() == 1",), ""),
    ],
)
def test_the_function_asked_for_is_the_first_that_the_tests_call(tests: tuple[str, ...], name: str) -> None:
    assert entry_point(Problem("p", "q", "", TestSuite("assert", None, (), (), tests), (), "", "mbpp")) == name


def test_a_file_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text(
        "{% set answer_prefix = '```\\n' %}{% set program = 'first_block' %}{% set stop = ['END'] %}\n"
        "{{ id }} ({{ difficulty }}, {{ kind }}): {{ question | trim }}{{ '!' * tests | length }}"
    )
    monkeypatch.chdir(tmp_path)
    config = ProblemsConfig(prompt_style="mine.jinja")
    assert config.prompt_style == str(file)
    found = prompt_of(problem(config.prompt_style, question=" Do it. "))
    assert found == Prompt("p (easy, assert): ", "Do it.", "!!!", "```\n", "first_block", ("END",), "f")
    (one, *_) = load_problems("starter,split=heldout", prompt_style=str(file))
    assert prompt_of(one).question == one.question


def test_without_its_question_nothing_of_a_prompt_may_be_cut(tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("Solve {{ id }}.")
    assert prompt_of(problem(str(file))) == Prompt("", "", "Solve p.", entry_point="f")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ question }}\n{{ question }}", "{} has the question more than once for problem p"),
        (
            "{% if 'Do' in question %}x{% else %}y{% endif %}{{ question }}",
            "{}: what stands around the question of problem p depends",
        ),
        ("x\n{{ quest }}", "{}, line 2, for problem p: 'quest' is undefined"),
        ("x\n\n{{ 1 / 0 }}{{ question }}", "{}, line 3, for problem p: division by zero"),
        ("x\n{% if %}", "{}, line 2: Expected an expression"),
        ("{{ question.__class__.__mro__ }}", "{}, line 1, for problem p: access to attribute '__class__'"),
        ("{{ raise_exception('not ' ~ id) }}{{ question }}", "{}, line 1, for problem p: not p"),
        ("{% set program = 'last' %}{{ question }}", "{}: program 'last' is unknown; did you mean 'last_block'?"),
        ("{% set stop = 'x' %}{{ question }}", "{}: stop must be a list of texts that are not empty"),
        ("{% set answer_prefix = 1 %}{{ question }}", "{}: answer_prefix and program must be texts"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text(text)
    with pytest.raises(UserError, match="^" + re.escape(words.format(file))):
        prompt_of(problem(str(file)))


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent.jinja: No such file"):
        prompt_of(problem(str(tmp_path / "absent.jinja")))
    (tmp_path / "bytes.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is no UTF-8 text"):
        prompt_of(problem(str(tmp_path / "bytes.jinja")))


def test_every_style_has_a_sentence() -> None:
    assert all(style.about and not style.about.endswith(".") for style in STYLES.values())
