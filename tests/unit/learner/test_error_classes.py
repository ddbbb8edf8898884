"""Unfinished code and triple-quoted strings against what this interpreter's compiler says of real texts (Table 2)."""

from __future__ import annotations

import sys
import textwrap
import warnings

import msgspec
import pytest

from rltf.config import RltfConfig
from rltf.learner.error_classes import error_class
from rltf.learner.spans import is_last_line
from tests.support.learner_parts import characters, feedback

PAPER = RltfConfig()
WHOLE = [
    textwrap.dedent(text).lstrip("\n")
    for text in (
        """
        import heapq
        def f(xs, n=3):
            table = {
                'a': [1, 2, (3,
                             4)],
                'b': xs[n:
                        -1],
            }
            try:
                return [x if x > 0 else
                        -x for x in sorted(
                            xs, key=lambda y: -y)]
            except (IndexError,
                    KeyError) as error:
                raise ValueError('no: %s' % (
                    error,)) from None
        """,
        """
        @cache
        def g(a,
              b=2, *,
              c=f'{1 + 1}'):  # it's "quoted"
            total = a + \\
                b if a else \\
                c
            text = 'one \\
        two' + r'\\d' + b"x".decode()
            while total != 0 and (
                    total := total - 1):
                print(total,
                      end=' ')
            return (
                not text
                is None)
        """,
        """
        s = '''a "b" '
        ''' + f\"\"\"{1:
        >3}\"\"\" + rb'''\\'''' + ''''''
        d = {s: 1,
             **{}}
        assert s, (
            'no')
        """.replace("rb'''\\''''", "str(rb'''\\'' ''')"),
    )
]


def refused(text: str) -> SyntaxError | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, "<solution>", "exec", dont_inherit=True)
    except SyntaxError as error:
        return error
    return None


def class_of(text: str, finish_reason: str = "length") -> str | None:
    error = refused(text)
    assert error is not None, text
    verdict = msgspec.structs.replace(feedback("compile_error", type(error).__name__, error.lineno, run=0), message="")
    return error_class(characters(text, finish_reason), verdict, PAPER)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("whole", WHOLE)
def test_wherever_a_program_is_cut_off_its_syntax_error_is_the_whole_programs(whole: str, newline: str) -> None:
    assert refused(whole) is None
    whole = whole.replace("\n", newline)
    seen = set()
    for end in range(1, len(whole)):
        text = whole[:end]
        error = refused(text)
        if error is None:
            continue
        triple = "triple-quoted" in error.msg or (sys.version_info >= (3, 12) and '"""{' in text[-8:])
        expected = "U_ignore" if triple or isinstance(error, IndentationError) else "U_global"
        assert class_of(text) == expected, text
        assert class_of(text, "stop") == ("U_line" if expected == "U_global" else "U_ignore"), text
        seen.add((expected, is_last_line(text, error.lineno or 0)))
    assert ("U_global", False) in seen and ("U_global", True) in seen


WRONG = ["x = = 1\n", "print(x\ny = 1\n", "y = 'ab\n", "f(1 2)\n", "def g(:\n    pass\n", "x = [1, 2\n\nfor a in b:\n"]


@pytest.mark.parametrize("wrong", WRONG)
def test_an_error_before_the_place_of_the_cut_blames_its_line(wrong: str) -> None:
    for end in range(1, len(WHOLE[0])):
        text = wrong + WHOLE[0][:end]
        error = refused(text)
        assert error is not None
        if not is_last_line(text, error.lineno or 0):
            assert class_of(text) == "U_line", text


def test_an_error_found_after_parsing_blames_its_line() -> None:
    assert class_of("return 1\nx = (\n    2)") == class_of("def f(a, a):\n    pass\nx = (1,\n     2)\n") == "U_line"
    assert class_of("return 1\nx = (\n    2") == "U_global", "the parser comes first"


TRIPLE = [
    "x = '''a", 'x = """a\n', "a\rb = '''c\rd", "a\r\nb = '''c\r\nd", "x = '''a\\", 'x = Rb"""\\', "f(1,\n'''\\\n", "x = '\\'' '''",
    "# '\n'''#",
    "x = '\\\n' + '''", "a\x0c = 1\n\x0c'''b", "x = '\x1c\x85\u2028' \n'''", "x = ''''''  '''", 'x = """\'\'\'', "x = '''\"\"\"",
    "x = ''\\\n'''\n",
    "if a:\n\tx = '''\n  b", "x = {[('''", "x = $ + '''a", "f'''{1}'''f'''{2}\n",
]  # fmt: skip
OTHER = [
    "y = 'ab\\", 'y = "ab\\', "y = 'ab\\\n", "y = ''\\", "y = rb'ab\\", "y = f'ab\\", "y = 'ab\\\n'' ", "\ufeffx = '''", "x = ' '''ab\nz",
    "x = '\n'''", "x = \u201c '''ab\nz = 1", "x = 1ab + '''c", "x = (\n'ab\\\n", "# '''\nx = (", "x = 1 + \\", "'''a''' '",
    "x = \x0b'''a''' +", "x = \\ '''a",
    "x = 'a\rb = '''c'''", "x = [\r# '''\r1", "'''\\''''\nx = (",
]  # fmt: skip


@pytest.mark.parametrize("text", TRIPLE)
def test_triple_quoted_strings_without_an_end_are_ignored(text: str) -> None:
    error = refused(text)
    assert error is not None and "triple-quoted" in error.msg
    assert class_of(text) == class_of(text, "stop") == "U_ignore"


@pytest.mark.parametrize("text", OTHER)
def test_other_strings_without_an_end_are_not(text: str) -> None:
    assert class_of(text, "stop") == "U_line"


@pytest.mark.parametrize("text", ['x = f"""a {y', 'x = (f"""a\n {y\n', "x = f\"\"\"{'b'} {f'{z", 'x = f"""{a:{b'])
def test_an_open_field_of_a_triple_quoted_formatted_string_is_ignored_on_every_python(text: str) -> None:
    assert class_of(text) == class_of(text, "stop") == "U_ignore"


@pytest.mark.parametrize("text", ["x = 1\0\n", "(" * 300, "x = " + "-" * 5000 + "1\n", "x = '\ud800"])
def test_a_text_that_cannot_be_parsed_at_all_blames_its_line(text: str) -> None:
    for finish_reason in ("stop", "length"):
        found = error_class(
            characters(text + "\ny = 1", finish_reason), feedback("compile_error", "SyntaxError", 1, run=0), PAPER
        )
        assert found == "U_line"
