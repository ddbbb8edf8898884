"""What every part of the configuration is derived from, and the error for bad input."""

from __future__ import annotations

import os
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, field_validator, model_validator


class UserError(Exception):
    """Bad input from the person who started the run: one sentence that says what is wrong, where, and what to do (exit
    code 2).
    """


def first_line(error: BaseException) -> str:
    """The first line of what an exception says, or its kind where it says nothing: for a message of one sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def from_anywhere(folder: str) -> str:
    """An absolute path, for workers have other working directories; empty where it is empty."""
    return os.path.realpath(os.path.expanduser(folder)) if folder else ""


Folder = Annotated[str, AfterValidator(from_anywhere)]
"""A folder that workers read, whose working directory is another one: an absolute path, or empty."""

LIMIT = 2**31
"""No number of the configuration is this large: beyond it products of two no longer fit into what Redis and the clocks
count with."""


class ConfigSection(BaseModel):
    """Base of every part: frozen, unknown keys refused, the docstring under a field is its description."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _read_none(cls, given: Any) -> Any:
        """`none`, in a file or on the command line, where a field may have no value."""
        if not isinstance(given, dict):
            return given
        optional = {name for name, field in cls.model_fields.items() if type(None) in get_args(field.annotation)}
        return {
            name: None if name in optional and value in ("none", "null", "") else value for name, value in given.items()
        }

    @field_validator("*")
    @classmethod
    def _within_limit(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not -LIMIT < value < LIMIT:
            raise ValueError("Input should be a number between -2147483648 and 2147483648")
        return value
