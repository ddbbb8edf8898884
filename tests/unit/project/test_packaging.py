"""The project's papers: dependencies and their pins, and what is packaged."""

import ast
import importlib.metadata
import os
import re
import tomllib
from typing import Any

from packaging.requirements import Requirement

import rltf
from tests.support.paths import ROOT


def _pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_room_is_linked_into_the_one_package() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks", "rltf"}
    linked = {link.name for link in (ROOT / "rltf").iterdir() if link.is_symlink()}
    assert linked == rooms | {"configs", "launch.py"}
    assert all(os.readlink(ROOT / "rltf" / name) == f"../{name}" for name in linked), (
        "links that hold wherever the checkout lies"
    )


def test_no_room_is_imported_by_its_bare_name() -> None:
    banned = _pyproject()["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert {link.stem for link in (ROOT / "rltf").iterdir() if link.is_symlink()} - {"configs"} <= set(banned)


def test_public_names_are_looked_up_when_they_are_asked_for() -> None:
    assert [name for name in rltf.__all__ if getattr(rltf, name).__name__ not in (name, "load")] == []
    assert set(rltf.__all__) <= set(dir(rltf)) and not hasattr(rltf, "Nothing")
    ast_names = {
        alias.asname or alias.name
        for node in ast.walk(ast.parse((ROOT / "rltf" / "__init__.py").read_text(), feature_version=(3, 7)))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert ast_names == set(rltf.__all__), "what a type checker sees is what there is"
    told = (ROOT / "docs" / "api.md").read_text()
    assert [name for name in rltf.__all__ if f"`{name}`" not in told and f"`{name}(" not in told] == []


def test_ray_shells_are_the_ones_in_the_contract() -> None:
    contract = next(
        entry
        for entry in _pyproject()["tool"]["importlinter"]["contracts"]
        if entry.get("protected_modules") == ["ray"]
    )
    listed = {importer.removeprefix("rltf.*.") for importer in contract["allowed_importers"]} - {"rltf.driver"}
    assert listed == {path.stem for path in ROOT.glob("*/ray_*.py") if path.parent.name != "driver"}


def test_an_executor_node_needs_no_torch() -> None:
    """Nothing that the executor extra asks for, directly or through other packages, is torch or one of its users."""
    project = _pyproject()["project"]
    pending = [Requirement(text) for text in project["dependencies"] + project["optional-dependencies"]["executor"]]
    needed: set[tuple[str, str]] = set()
    while pending:
        requirement = pending.pop()
        for extra in ("", *requirement.extras):
            if (requirement.name.lower(), extra) in needed:
                continue
            needed.add((requirement.name.lower(), extra))
            for text in importlib.metadata.requires(requirement.name) or ():
                inner = Requirement(text)
                if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                    pending.append(inner)
    names = {name for name, _ in needed}
    assert {"ray", "redis", "msgspec"} <= names
    assert not names & {"torch", "transformers", "deepspeed", "datasets", "accelerate"}


def test_every_dependency_is_pinned_as_tried() -> None:
    project = _pyproject()["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {
        pin.name.lower(): pin for pin in map(Requirement, (line for line in lines if line and not line.startswith("#")))
    }
    wanted = [
        *project["dependencies"],
        *(text for texts in project["optional-dependencies"].values() for text in texts),
    ]
    for requirement in map(Requirement, wanted):
        if requirement.name == project["name"]:
            continue
        pin = pins[requirement.name.lower()]
        version = re.fullmatch(r"==(\S+)", str(pin.specifier))
        assert version and requirement.specifier.contains(version[1]), (
            f"{requirement} and constraints.txt's {pin} do not fit"
        )
