"""Test suites as records, and prompts byte for byte."""

import pytest

from rltf.problems import Problem, TestSuite, prompt_of

CALL = TestSuite("call", "f", ([[1, 2], {"b": 1.5, "a": None}], [[], {}]), (3, True), time_limit_s=2.0)


def test_a_suite_survives_json_unchanged():
    suites = [
        CALL,
        TestSuite("stdin", None, ("1 2\n", ""), ("3\n", "\ud800 é\u2028")),
        TestSuite("assert", None, (), (), ("assert f(1) == 2",), setup="import math", memory_limit_mb=256),
    ]
    for suite in suites:
        again = TestSuite.from_json(suite.to_json())
        assert again == suite and again.content_hash == suite.content_hash and hash(again) == hash(suite)
        assert suite.to_json().isascii()
    assert [suite.count for suite in suites] == [2, 2, 1]


def test_the_content_hash_is_the_same_in_every_process_and_version():
    # A stored hash names a problem in checked data and in recorded runs, so it must never change by accident.
    assert CALL.content_hash == "b4fcfb4d193b71e0d60b548d3e289e33"
    assert TestSuite("stdin", None, ("1\n",), ("2\n",)).content_hash == "9cac2a9e4dd4cbb668b73927c53f992a"


def test_the_content_hash_tells_tests_limits_and_key_order_apart():
    suites = [
        CALL,
        TestSuite("call", "f", CALL.inputs, (3, False), time_limit_s=2.0),
        TestSuite("call", "f", CALL.inputs, (3, 1), time_limit_s=2.0),
        TestSuite("call", "f", CALL.inputs, (3, True), time_limit_s=3.0),
        TestSuite("call", "f", ([[1, 2], {"a": None, "b": 1.5}], [[], {}]), (3, True), time_limit_s=2.0),
    ]
    assert len({suite.content_hash for suite in suites}) == len(suites)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[]", "JSON object"),
        (b"{", "Expecting"),
        (b'{"kind": "stdin"}', "needs the field"),
        (CALL.to_json().replace(b'"call"', b'"cell"'), "unknown kind"),
        (CALL.to_json().replace(b"[3,true]", b"[3]"), "2 inputs but 1 outputs"),
        (CALL.to_json().replace(b"[3,true]", b"3"), "wrong type"),
    ],
)
def test_bytes_that_are_no_suite_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        TestSuite.from_json(data)


def test_suites_that_cannot_judge_are_refused():
    with pytest.raises(ValueError, match="no tests"):
        TestSuite("stdin", None, (), ())
    with pytest.raises(ValueError, match="strings"):
        TestSuite("stdin", None, (1,), ("2",))
    with pytest.raises(ValueError, match="fn_name"):
        TestSuite("call", None, ([1],), (2,))
    with pytest.raises(ValueError, match="list of arguments"):
        TestSuite("call", "f", (1,), (2,))
    with pytest.raises(ValueError, match="time_limit_s"):
        TestSuite("call", "f", ([1],), (2,), time_limit_s=0)


def _problem(style: str, suite: TestSuite, starter_code: str = "") -> Problem:
    return Problem("p", "Add two numbers.", starter_code, suite, (), "unknown", style)


def test_apps_prompts_byte_for_byte():
    stdin = TestSuite("stdin", None, ("1\n",), ("1\n",))
    assert prompt_of(_problem("apps", stdin)).text == (
        "\nQUESTION:\nAdd two numbers.\n\n\nUse Standard Input format\n\nANSWER:\n"
    )
    call = TestSuite("call", "add", ([1, 2],), (3,))
    prompt = prompt_of(_problem("apps", call, "def add(a, b):\n\t"))
    assert prompt.text == "\nQUESTION:\nAdd two numbers.\ndef add(a, b):\n\t\n\nUse Call-Based format\n\nANSWER:\n"
    assert prompt.question == "Add two numbers."  # the only part that may be cut


def test_the_format_line_follows_the_tests_and_not_the_starter_code():
    stdin = TestSuite("stdin", None, ("1\n",), ("1\n",))
    assert "Use Standard Input format" in prompt_of(_problem("apps", stdin, "import sys")).text
    call = TestSuite("call", "add", ([1, 2],), (3,))
    assert "Use Call-Based format" in prompt_of(_problem("apps", call)).text


def test_mbpp_prompts_byte_for_byte():
    suite = TestSuite("assert", None, (), (), tuple(f"assert f({n}) == {n}" for n in range(5)))
    assert prompt_of(_problem("mbpp", suite)).text == (
        "Add two numbers. Your code should satisfy these tests:\n\nassert f(0) == 0\nassert f(1) == 1\nassert f(2) == 2\n\n"
    )


def test_starter_prompts_are_the_statement_and_a_line_end():
    assert prompt_of(_problem("starter", TestSuite("call", "f", ([1],), (1,)))).text == "Add two numbers.\n"
