"""Integers of any length in the data: Python reads and writes decimal ones of at most 4,300 digits unless it is told
otherwise.

That bound guards against texts of strangers; a data set is the user's own.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_lock = threading.Lock()


def with_long_integers(
    function: Callable[_Parameters, _Result], *arguments: _Parameters.args, **named: _Parameters.kwargs
) -> _Result:
    """What the function gives; where it stumbles over the bound it is called once more, without one.

    Raises what it raises.
    """
    try:
        return function(*arguments, **named)
    except (ValueError, SyntaxError) as error:
        if not str(error).startswith("Exceeds the limit"):
            raise
    with _lock:  # the bound is the whole process's
        usual = sys.get_int_max_str_digits()
        sys.set_int_max_str_digits(0)
        try:
            return function(*arguments, **named)
        finally:
            sys.set_int_max_str_digits(usual)
