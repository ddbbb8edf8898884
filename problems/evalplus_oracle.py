"""How EvalPlus compares what a program returns with what the reference returns, as source of a test suite's setup.

Equal, or both of one type and close: relative 1e-7, absolute the record's atol, or 1e-6 where floats are expected and
it is 0. A few problems have a rule of their own, which the files do not say.
"""

from __future__ import annotations

import ast

from rltf.problems.python_source import renamed

_RULES = {
    "are_equivalent": "True",  # Mbpp/164: any answer
    "sum_div": "actual == expected or actual == 0",  # Mbpp/295
    "surface_Area": "actual == expected or abs(actual - _surface_area(*arguments)) <= _ATOL",  # Mbpp/581
    "digit_distance_nums": "actual == expected or actual == _digit_distance(*arguments)",  # Mbpp/558
    **dict.fromkeys(
        (
            "similar_elements",
            "find_char_long",
            "common_in_nested_lists",
            "extract_singly",
            "larg_nnum",
            "intersection_array",
            "find_dissimilar",
            "Diff",
        ),
        "set(actual) == set(expected)",
    ),
    **dict.fromkeys(
        ("check_str", "text_match_three", "text_starta_endb"),  # their references return match objects
        "(expected is not None) == (actual if isinstance(actual, bool) else actual is not None)",
    ),
}
"""Of MBPP+, by entry point: when an answer is right."""
_HUMANEVAL_RULES = {
    "find_zero": "abs(sum(factor * actual**power for power, factor in enumerate(arguments[0]))) <= _ATOL"
}
_HELPERS = {
    "_surface_area": """
def _surface_area(base, height):
    slant = ((base / 2) ** 2 + height**2) ** 0.5
    return round(base**2 + 2 * base * slant)
""",
    "_digit_distance": """
def _digit_distance(first, second):
    size = max(len(str(first)), len(str(second)))
    return sum(abs(int(a) - int(b)) for a, b in zip(str(first).zfill(size), str(second).zfill(size)))
""",
}
_GENERAL = "actual == expected or type(actual) is type(expected) and _close(actual, expected, _tolerance(expected))"
_CLOSE = """
def _tolerance(expected):
    values = expected if isinstance(expected, (list, tuple)) else [expected]
    return _ATOL or (1e-6 if values and all(isinstance(value, float) for value in values) else 0)


def _close(actual, expected, atol):
    if not atol:
        return False
    if isinstance(expected, (list, tuple)):
        return len(actual) == len(expected) and all(_close(*pair, atol) for pair in zip(actual, expected))
    return actual == expected or abs(actual - expected) <= atol + 1e-7 * abs(expected)
"""
_JUDGE = """
def _agrees(actual, expected, arguments):
    try:
        return {rule}
    except (TypeError, ValueError, AttributeError, OverflowError):
        return False  # an answer of another kind


def _judge(function, arguments):
    expected = _reference(*_deepcopy(arguments))
    actual = function(*arguments)
    assert _agrees(actual, expected, arguments), f"{{actual!r}} instead of {{expected!r}}"
"""


def oracle(entry_point: str, reference: ast.Module, atol: float, *, of_mbpp: bool) -> str:
    """Source that defines `_judge(function, arguments)`, which holds a function to the reference for one call."""
    rule = (_RULES if of_mbpp else _HUMANEVAL_RULES).get(entry_point, "")
    helpers = [source for name, source in _HELPERS.items() if name in rule] if rule else [_CLOSE]
    parts = [
        "from copy import deepcopy as _deepcopy\n",
        renamed(reference, entry_point, "_reference"),
        f"\n_ATOL = {atol!r}",
        *helpers,
        _JUDGE.format(rule=rule or _GENERAL),
    ]
    return "\n".join(parts)
