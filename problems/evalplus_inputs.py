"""Types that JSON cannot write, in the inputs of MBPP+: which arguments of which problem are tuples, sets or complex.

The files have lists and strings in their place; EvalPlus turns them back by problem number when it reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Convert = Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _list_of_tuples(value: list[Any]) -> list[Any]:
    return [tuple(item) for item in value]


def _tuple_of_tuples(value: list[Any]) -> tuple[Any, ...]:
    return tuple(tuple(item) if isinstance(item, list) else item for item in value)


def _all_tuples(value: Any) -> Any:
    return tuple(map(_all_tuples, value)) if isinstance(value, list) else value


def _list_of_sets(value: list[Any]) -> list[Any]:
    return [set(item) if isinstance(item, list) and item else {} for item in value]


def _dict_of_tuples(value: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(item) for key, item in value.items()}


_CONVERSIONS: tuple[tuple[Convert, Convert, frozenset[int]], ...] = (
    (tuple, tuple, frozenset({2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630})),
    (tuple, tuple, frozenset({726, 740, 744, 809})),
    (_list_of_tuples, _list_of_tuples, frozenset({63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614})),
    (_list_of_tuples, _list_of_tuples, frozenset({780})),
    (_list_of_tuples, _same, frozenset({75, 413, 444, 753})),
    (_same, tuple, frozenset({106, 750})),
    (_list_of_sets, _same, frozenset({115})),
    (float, complex, frozenset({124})),
    (complex, _same, frozenset({252})),
    (tuple, _same, frozenset({250, 307, 405, 446, 617, 720, 763, 808})),
    (_tuple_of_tuples, _tuple_of_tuples, frozenset({259, 278, 401, 445})),
    (_all_tuples, _all_tuples, frozenset({580, 615, 791})),
    (_dict_of_tuples, _same, frozenset({722})),
)
"""What is made of the first argument, what of the others, and of which problems."""


def typed_arguments(number: int, arguments: list[Any]) -> list[Any]:
    """Arguments of one call of problem `Mbpp/NUMBER`. Raises ValueError for a value that is not of its kind."""
    for first, others, numbers in _CONVERSIONS:
        if number in numbers:
            try:
                return [(others if place else first)(argument) for place, argument in enumerate(arguments)]
            except (TypeError, AttributeError) as error:
                raise ValueError(f"an input is not of the kind that this problem has: {error}") from None
    return arguments
