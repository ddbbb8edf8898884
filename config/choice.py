"""Fields that take one of a few names, and the dictionaries in which a room keeps what the names stand for.

The configuration, which imports no room, has the names with a sentence each (`OneOf`); a room has a dictionary with the
same names (`chosen` looks them up). A test holds each pair together.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from rltf.config.base import UserError
from rltf.config.user_code import is_user_name, user_class

T = TypeVar("T")
USER_NAME = "MODULE:NAME"
"""How a part of the user's own is written (`config.user_code`)."""


@dataclass(frozen=True, eq=False)
class OneOf:
    """Marks a field of text that takes one of a few names, or `module:name` of the user's own files."""

    names: Mapping[str, str]
    """Each with what it stands for, in a few words; the help of the field lists them."""

    def check(self, name: str) -> str:
        """The name itself. Raises ValueError for one that is not among them."""
        if name not in self.names and not is_user_name(name):
            quoted = [repr(known) for known in self.names]
            words = f"{', '.join(quoted)} or {USER_NAME} of run.code"
            raise ValueError(f"Input should be {words}")
        return name

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))


@dataclass(frozen=True)
class Word:
    """Marks a field whose value the help writes as a word, SPEC say, because a room knows what may stand for it."""

    word: str


def chosen(registry: Mapping[str, T], name: str, where: str) -> T:
    """What a room's dictionary has under a name, or the user's own class of a name `module:name`.

    Raises UserError, which begins with `where`, for another name, and a class without `from_config`.
    """
    if name in registry:
        return registry[name]
    if is_user_name(name):
        found: T = user_class(name, where, ["from_config"])
        return found
    raise UserError(f"{where} {name!r} is unknown; {suggest(name, registry)}")


def suggest(word: str, known: Collection[str]) -> str:
    """The end of a sentence about an unknown word: the right one that was meant, else all there are."""
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, without its full stop."""
    return " ".join(text.split("\n\n")[0].split()).partition(". ")[0].rstrip(".")
