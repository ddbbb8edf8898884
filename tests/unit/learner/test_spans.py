"""From lines to token spans: exact for any tokenizer, at both ends of the program and beyond."""

from __future__ import annotations

import numpy as np
import pytest

from rltf.config import RltfConfig
from rltf.learner.rewards import fine_feedback, fine_weights
from rltf.learner.spans import is_last_line, line_span, resolve_line
from tests.support.learner_parts import characters, feedback, policy, written


def text_of(program, span):  # type: ignore[no-untyped-def]
    ends = [*program.offsets[1:], len(program.text)]
    return program.text[program.offsets[span[0]] : ends[span[1] - 1]]


def test_each_line_of_one_token_per_character() -> None:
    program = characters("ab\nab\n\nab")
    assert [line_span(program, line) for line in (1, 2, 3, 4)] == [(0, 3), (3, 6), (6, 7), (7, 9)]


def test_past_the_end_is_the_last_line_that_is_not_blank() -> None:
    program = characters("a\nbc\n  \n\n")
    assert line_span(program, 5) == line_span(program, 99) == line_span(program, 2) == (2, 5)
    assert line_span(program, 3) == line_span(program, 2)
    assert line_span(characters("\n\n"), 7) is None


def test_no_line_and_empty_program() -> None:
    assert line_span(characters("a\n"), None) is None
    assert line_span(characters("a\n"), 0) is None
    assert line_span(characters(""), 1) is None
    with pytest.raises(ValueError, match="3 offsets for 2 tokens"):
        line_span(characters("ab", offsets=[0, 1, 2]), 1)


def test_tokens_across_lines_belong_to_both() -> None:
    # tokens: "a", "b\n  c", "d\n", end of sequence
    program = characters("ab\n  cd\n", token_ids=[5, 6, 7, 0], offsets=[0, 1, 6, 8])
    assert line_span(program, 1) == (0, 2)
    assert line_span(program, 2) == (1, 3)


def test_pieces_of_one_character_go_together() -> None:
    # "é" begins the second line and is spelt by two tokens, the first without text: it has the second's offset.
    program = characters("x\né = 1\n", token_ids=[5, 6, 7, 8, 0], offsets=[0, 2, 2, 3, 8])
    assert line_span(program, 2) == (1, 4)
    assert line_span(program, 1) == (0, 1)


def test_a_token_that_ends_inside_a_character_has_no_part_in_what_follows_it() -> None:
    # "日" ends the first line; the second token holds its first two bytes, the third its last and all of the second
    # line.
    program = characters("x日\nyz\n", token_ids=[5, 6, 7, 0], offsets=[0, 1, 1, 6])
    assert line_span(program, 1) == (0, 3)
    assert line_span(program, 2) == (2, 3)


def test_a_token_without_text_lies_in_a_span_only_between_two_tokens_of_the_line() -> None:
    program = characters("ab\ncd\n", token_ids=[1, 5, 1, 6, 1, 7, 0], offsets=[6, 0, 6, 3, 6, 4, 6])
    assert line_span(program, 1) == (1, 2)
    assert line_span(program, 2) == (3, 6)
    # "é" begins the second line, whole or in two pieces; before it, between the pieces and behind the line stand tokens
    # without text.
    for offsets, span in (
        ([0, 5, 2, 3, 5], (2, 4)),
        ([0, 5, 2, 2, 5], (2, 4)),
        ([0, 2, 5, 2, 5], (1, 4)),
        ([0, 5, 2, 5, 2, 5], (2, 5)),
    ):
        program = characters("x\né=1", token_ids=[5] * len(offsets), offsets=offsets)
        assert line_span(program, 1) == (0, 1) and line_span(program, 2) == span


def test_alpha_counts_what_lies_in_the_span() -> None:
    program = characters("ab\ncd\n", token_ids=[5, 6, 1, 7, 0], offsets=[0, 3, 6, 4, 6])
    fine = fine_feedback(program, feedback("runtime_error", "KeyError", 2), RltfConfig(), True)
    assert fine is not None and fine.span == (1, 4)
    assert fine_weights(fine, np.ones(5, np.bool_)).tolist() == pytest.approx([0.0, *[-0.3 * 5 / 3] * 3, 0.0])


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_lines_end_where_the_compiler_says(line_end: str) -> None:
    text = line_end.join(["a = '\x0c \u2028 \x1c'", "b = 1", "c = ="])
    with pytest.raises(SyntaxError) as caught:
        compile(text, "<solution>", "exec")
    line = caught.value.lineno
    assert line == 3 and is_last_line(text, line) and resolve_line(text, 4) == 3
    span = line_span(characters(text), line)
    assert span == (len(text) - 5, len(text))


@pytest.mark.parametrize(
    "text", ["try:\n    x = 1\n\n", "try:\n    x = 1\n    ", "def f():\n    try:\n        y = 1\n\n    \n\n"]
)
def test_blank_lines_at_the_end_belong_to_the_line_before_them(text: str) -> None:
    with pytest.raises(SyntaxError) as caught:
        compile(text, "<solution>", "exec")
    line, last = caught.value.lineno, len(text.rstrip().splitlines())
    assert line is not None and line > last and is_last_line(text, line) and resolve_line(text, line) == last
    assert resolve_line(" \n\n", 1) is None and resolve_line(text, 0) is None


def test_a_line_of_blanks_that_python_refuses_is_a_line() -> None:
    for blank in ("\xa0", "\u3000", "\x0b", "\x1f"):
        text = f"x = 1\n{blank}\n \t\f\n"
        with pytest.raises(SyntaxError) as refused:
            compile(text, "<program>", "exec")
        assert refused.value.lineno == 2 == resolve_line(text, 2) == resolve_line(text, 3), repr(blank)


def test_spans_of_a_byte_level_tokenizer() -> None:
    toy = policy(max_program_tokens=128)
    lines = [
        "def f(xs):\n",
        "    naïve = '日本語 🙂'\n",
        "    return sum(xs)\n",
        "    return sum(xs)\n",
        "\n",
        "größe = 1",
    ]
    program = written(toy, "".join(lines), [5, 6])
    assert program.text == "".join(lines) and len(program.token_ids) > len(lines)
    covered = []
    for number, line in enumerate(lines, start=1):
        span = line_span(program, number)
        assert span is not None and line in text_of(program, span)
        assert len(text_of(program, span)) - len(line) <= 8  # no more than the tokens that reach over a line's end
        covered += range(*span)
    assert set(covered) == set(range(len(program.token_ids) - 1))  # all but the end of the sequence, which has no text
    assert line_span(program, 3) != line_span(program, 4)
