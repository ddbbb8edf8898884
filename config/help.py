"""What can be written for each field of the configuration, from its declaration: values allowed, default, sentence."""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from rltf.config.choice import USER_NAME, OneOf, Word, first_sentence
from rltf.config.root import Config

_BOUNDS: dict[type, tuple[str, str]] = {
    Ge: ("at least", "ge"),
    Gt: ("above", "gt"),
    Le: ("at most", "le"),
    Lt: ("below", "lt"),
}
_NAMES: dict[Any, str] = {bool: "true|false", int: "INTEGER", float: "NUMBER", str: "TEXT"}


@dataclass(frozen=True, slots=True)
class Described:
    """One field, for a person who wants to set it."""

    key: str
    """part.field."""
    sentence: str
    values: str
    """What may stand for it: `true|false`, `INTEGER`, `a|b|c`."""
    bounds: str
    """Of a number, in words; empty where there are none."""
    default: str


def sections() -> dict[str, str]:
    """The parts of the configuration with what each is."""
    return {part: first_sentence(field.annotation.__doc__ or "") for part, field in Config.model_fields.items()}


def described(key: str) -> Described:
    """The field of a dotted key. Raises KeyError where there is none."""
    part, _, name = key.partition(".")
    field: FieldInfo = Config.model_fields[part].annotation.model_fields[name]  # type: ignore[union-attr]
    sentence = " ".join((field.description or "").split())
    words = [mark.word for mark in field.metadata if isinstance(mark, Word)]
    values = words[0] if words else _values(field.annotation)
    for mark in field.metadata:
        if isinstance(mark, OneOf):
            values = "|".join([*mark.names, USER_NAME])
            sentence += " " + "; ".join(f"{name}: {meaning}" for name, meaning in mark.names.items())
            sentence += f"; {USER_NAME}: your own, of run.code."
    return Described(
        key,
        sentence,
        values,
        _bounds(field) or _bounds_of_each(field.annotation),
        written(field.default),
    )


def keys(part: str = "") -> list[str]:
    """All dotted keys, or those of one part."""
    chosen = {part: Config.model_fields[part]} if part else Config.model_fields
    return [f"{part}.{name}" for part, field in chosen.items() for name in field.annotation.model_fields]  # type: ignore[union-attr]


def written(value: Any) -> str:
    """A value as it is written on the command line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    return str(value) if str(value) else '""'


def _values(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _values(arguments[0])
    if origin is Literal:
        return "|".join(map(str, arguments))
    if origin in (UnionType, Union):
        return "|".join("none" if kind is NoneType else _values(kind) for kind in arguments)
    if origin is tuple:
        return "[" + ", ".join("..." if kind is Ellipsis else _values(kind) for kind in arguments) + "]"
    return _NAMES[annotation]


def _bounds(field: FieldInfo) -> str:
    found = [(*_BOUNDS[type(bound)], bound) for bound in field.metadata if type(bound) in _BOUNDS]
    return ", ".join(f"{words} {getattr(bound, name)}" for words, name, bound in found)


def _bounds_of_each(annotation: Any) -> str:
    """Bounds of the members of a list, which are all alike."""
    members = [kind for kind in get_args(annotation) if get_origin(kind) is Annotated]
    words = _bounds(get_args(members[0])[1]) if members else ""
    return f"each {words}" if words else ""
