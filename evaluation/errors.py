"""The error mix of the paper's Figure 2 (RLTF, arXiv 2307.04349): what became of programs, and how
those that erred did."""

from __future__ import annotations

from collections.abc import Mapping

from rltf.buffer.records import NO_PROGRAM

CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "Syntax": ("SyntaxError", "IndentationError", "TabError"),
    "Index": ("IndexError",),
    "Type": ("TypeError",),
    "Value": ("ValueError",),
    "EOF": ("EOFError",),
    "Timeout": ("TimeLimit",),
    "Name": ("NameError", "UnboundLocalError"),
    "Key": ("KeyError",),
    "Import": ("ImportError", "ModuleNotFoundError"),
    "ZeroDivision": ("ZeroDivisionError",),
    "No program": (NO_PROGRAM,),
}
"""Error types (`Feedback.error_type`) of each of the figure's bars, in its order; responses without a program, which
the paper does not have, are a bar of their own."""
ELSE = "Else"
_CATEGORY_OF = {error: category for category, errors in CATEGORIES.items() for error in errors}


def category(error_type: str) -> str:
    """The bar that an error type counts in, `ELSE` for any other."""
    return _CATEGORY_OF.get(error_type, ELSE)


def three_way(outcomes: Mapping[str, int]) -> dict[str, int]:
    """Programs by the figure's three bars: error (at compilation or at run time), failure, pass."""
    failed, passed = outcomes.get("failure", 0), outcomes.get("pass", 0)
    return {"error": sum(outcomes.values()) - failed - passed, "failure": failed, "pass": passed}
