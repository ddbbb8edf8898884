"""Configuration files and the command line, read into a `Config`; every mistake answered with one sentence."""

from __future__ import annotations

import copy
import difflib
import errno
import functools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import ValidationError

from rltf.config.base import UserError
from rltf.config.command_line import REMOVED, nearest_key
from rltf.config.help import keys
from rltf.config.root import DETERMINISTIC, Config

PRESETS = (Path(__file__).absolute().parents[1] / "configs").resolve()
RECIPE = "config.yaml"
"""The configuration in a recipe's folder."""


def preset(name: str) -> Path:
    """The configuration file that is meant: a path, a recipe's folder, or a preset's name, with or without its ending,
    from any working directory.

    Raises UserError when there is none.
    """
    path, own = Path(name).expanduser(), PRESETS / f"{name.removesuffix('.yaml')}.yaml"
    if "/" in name and (path / RECIPE).is_file():
        return path / RECIPE
    if path.is_file() or ("/" in name and path.exists()):
        return path
    if name and "/" not in name and own.is_file():
        return own
    there = sorted(preset.stem for preset in PRESETS.glob("*.yaml"))
    near = difflib.get_close_matches(path.stem, there, n=1)
    hint = (
        f"did you mean the preset {near[0]}?" if near else f"the presets are {', '.join(there) or 'not installed here'}"
    )
    raise UserError(f"configuration file {name or repr(name)}: {os.strerror(errno.ENOENT)}; {hint}")


def load(file: Path | None, overrides: Mapping[str, str] | None = None) -> Config:
    """The configuration of a YAML file with dotted overrides on top, e.g. ``{"learner.steps": "50"}``.

    A preset among the overrides (`rltf.preset`, `grpo.variant`) wins over the file's values of the fields that it sets,
    and with `problems.train` among them the file's `problems.held_out` counts only where it is of the same data set.

    Raises:
        UserError: the file is missing or no YAML, a key is unknown (the nearest right one is named), a value does not
            fit.
    """
    tree: dict[str, Any] = {}
    if file is not None:
        try:
            tree = read_yaml(file.read_text(encoding="utf-8")) or {}
        except OSError as error:
            raise UserError(f"configuration file {file}: {error.strerror}; the presets are in {PRESETS}") from None
        except UnicodeDecodeError:
            raise UserError(f"configuration file {file} is no text; the presets are in {PRESETS}") from None
        except yaml.YAMLError as error:
            raise UserError(f"configuration file {file} is not YAML: {' '.join(str(error).split())}") from None
    where = f" in {file}" if file else ""
    if not isinstance(tree, dict) or not all(isinstance(part, dict) for part in tree.values()):
        raise UserError(f"configuration file {file}: expected parts with fields below them, as in configs/starter.yaml")
    known = keys()
    for part, values in tree.items():
        for name in list(values):
            if f"{part}.{name}" in REMOVED:
                del values[name]
            else:
                _refuse_unknown(f"{part}.{name}", known, where)
    for part in tree:  # one without fields has not been looked at yet
        _refuse_unknown_part(str(part), where)
    for key, text in (overrides or {}).items():
        _refuse_unknown(key, known, " on the command line")
        part, name = key.split(".")
        tree.setdefault(part, {})[name] = _value(key, text)
    _clear_for_presets(tree, overrides or {})
    _clear_held_out(tree, overrides or {})
    try:
        config = Config.model_validate(tree)
        _refuse_what_deterministic_sets(config, tree, overrides or {})
        return config
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(step) for step in first["loc"][:2]) + _within(first["loc"][2:], first["input"])
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{key}: {message}, got {first['input']!r}" if key else f"configuration: {message}") from None


def _within(steps: Sequence[int | str], given: Any) -> str:
    """Which field of which entry of a list of mappings is meant, in words; empty for any other value."""
    if not steps or not (steps[1:] or isinstance(given, dict)):
        return ""
    return f", entry {int(steps[0]) + 1}{''.join(f', {field}' for field in steps[1:2])}"


def _clear_for_presets(tree: dict[str, Any], overrides: Mapping[str, str]) -> None:
    """Takes out what a file says of the fields that a preset on the command line sets: only fields given beside it win
    over it.
    """
    for part, values in tree.items():
        section = Config.model_fields[part].annotation
        field, presets = getattr(section, "presets", ("", {}))
        if f"{part}.{field}" in overrides:
            for name in {name for sets in presets.values() for name in sets}:
                if f"{part}.{name}" not in overrides:
                    values.pop(name, None)


def _clear_held_out(tree: dict[str, Any], overrides: Mapping[str, str]) -> None:
    """Takes out the held-out problems that a file names beside training problems of its own, where others are trained
    on now.
    """
    held_out = tree.get("problems", {}).get("held_out")
    if "problems.train" not in overrides or "problems.held_out" in overrides or not isinstance(held_out, str):
        return
    if re.match("[A-Za-z]", held_out) and held_out not in ("auto", "none"):  # no share
        if _data_set(held_out) != _data_set(overrides["problems.train"]):
            del tree["problems"]["held_out"]


def _data_set(spec: str) -> str:
    """Source and path of a SPEC, without its options."""
    return re.split(r",\s*[A-Za-z_]+=", spec.strip())[0]


def _refuse_what_deterministic_sets(config: Config, tree: dict[str, Any], overrides: Mapping[str, str]) -> None:
    """Raises UserError for a value on the command line that `run.deterministic` sets otherwise."""
    for key in overrides:
        part, name = key.split(".")
        if config.run.deterministic and key in (*DETERMINISTIC, "actors.problems_per_batch"):
            section = getattr(config, part)
            if getattr(type(section).model_validate({name: tree[part][name]}), name) != (
                needed := getattr(section, name)
            ):
                raise UserError(
                    f"--{key} {overrides[key]} does not go with run.deterministic, which needs {needed}: leave one "
                    "of them out"
                )


def _value(key: str, text: str) -> Any:
    """What is written on the command line for `key`: text stays as it is, numbers are decimal, lists are YAML."""
    part, name = key.split(".")
    annotation = Config.model_fields[part].annotation.model_fields[name].annotation  # type: ignore[union-attr]
    kinds = {annotation}
    if get_origin(annotation) is Literal:
        kinds = {type(value) for value in get_args(annotation)}
    elif get_origin(annotation) is UnionType:
        kinds = set(get_args(annotation))
    if str in kinds:
        return text
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                return text  # pydantic says what is wrong with it, or Part that it is `none`
    try:
        return read_yaml(text)
    except yaml.YAMLError:
        return text


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, to which what looks like a date or a number and is none is a YAMLError too, with
    its line.
    """

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """The value of a node. Raises ConstructorError for one that has none."""
        try:
            return super().construct_object(node, deep)
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
        ) as error:  # from int(), date() and the like
            problem = f"{node.value!r:.60} has no value ({error}); text of this look needs quotes"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None


def read_yaml(text: str) -> Any:
    """What the text says. Raises YAMLError, whatever is wrong with it."""
    return copy.deepcopy(_parsed(text))


@functools.lru_cache(maxsize=16)
def _parsed(text: str) -> Any:
    """A run's configuration takes PyYAML's safe loader a tenth of a second, and a command reads it several times."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except RecursionError:
        raise yaml.YAMLError("its lists or mappings are nested too deeply") from None
    finally:
        loader.dispose()


def _refuse_unknown_part(part: str, where: str) -> None:
    known = Config.model_fields
    if part in known:
        return
    near = difflib.get_close_matches(part, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the parts are {', '.join(known)}"
    raise UserError(f"unknown part {part}{where}; {hint}")


def _refuse_unknown(key: str, known: Sequence[str], where: str) -> None:
    if key not in known:
        raise UserError(f"unknown key {key}{where}{nearest_key(key, known)}")
