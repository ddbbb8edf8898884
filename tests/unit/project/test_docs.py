"""What the texts name exists: files, presets, make targets, commands and their options, configuration keys, code."""

import re
from functools import cache
from pathlib import Path

import pytest

from rltf.config import Config
from rltf.driver.commands import COMMANDS
from tests.support.paths import ROOT

TEXTS = sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))
ROOMS = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks", "rltf"}
CODE = {*ROOMS, "benchmarks", "configs", "docs", "scripts", "tests"}
"""Folders whose files are named from the root."""


def _text(name: str) -> str:
    return re.sub(r"<!--.*?-->", "", (ROOT / name).read_text(), flags=re.DOTALL)


def _typed(name: str) -> list[str]:
    """What a text shows as code: indented lines, a line that ends in a backslash joined to the next; spans."""
    text = _text(name).replace("\\\n", " ")
    return re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE) + re.findall(r"`([^`\n]+)`", text)


@cache
def _source(path: Path) -> str:
    return path.read_text()


@pytest.mark.parametrize("name", TEXTS)
def test_links_and_presets(name: str) -> None:
    links = {target for target in re.findall(r"\]\(([^)#\s]+)", _text(name)) if not target.startswith("http")}
    wrong = [target for target in links if not (ROOT / name).parent.joinpath(target).exists()]
    presets = {preset.stem for preset in ROOT.glob("configs/*.yaml")}
    presets |= {f"recipes/{recipe.parent.name}" for recipe in ROOT.glob("recipes/*/config.yaml")}
    wrong += [
        word
        for code in _typed(name)
        for word in re.findall(r"--config (?:configs/)?((?:recipes/)?[\w-]+)", code)
        if word not in presets
    ]
    assert not wrong


@pytest.mark.parametrize("name", TEXTS)
def test_make_targets(name: str) -> None:
    known = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for code in _typed(name) for target in re.findall(r"(?:^|\s)make (\w+)", code)}
    assert named <= known


@pytest.mark.parametrize("name", TEXTS)
def test_commands_and_their_options(name: str) -> None:
    called = [code.split("launch.py", 1)[1].split("  ")[0] for code in _typed(name) if "launch.py " in code]
    words = {word for rest in called for word in rest.split()[:1] if re.fullmatch(r"[a-z][a-z-]*", word)}
    assert words <= set(COMMANDS)
    sources = "".join(_source(path) for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    options = {option for rest in called for option in re.findall(r"--[a-z][a-z-]*(?=\s|$)", rest)}
    assert not {option for option in options if f'"{option}"' not in sources} - {"--help", "--help-all"}


@pytest.mark.parametrize("name", TEXTS)
def test_configuration_keys(name: str) -> None:
    keys = [
        match
        for code in _typed(name)
        for match in re.findall(r"(?<![\w./])(?:--)?([a-z_]+)\.([a-z_0-9]+)(?![\w./(*])", code)
    ]
    keys = [(part, field) for part, field in keys if part in Config.model_fields and field not in ("py", "yaml")]
    wrong = [f"{part}.{field}" for part, field in keys if not _is_known(part, field)]
    assert not wrong


def _is_known(part: str, field: str) -> bool:
    section = type(getattr(Config(), part))
    return field in section.model_fields or hasattr(section, field) or (ROOT / part / f"{field}.py").exists()


@pytest.mark.parametrize("name", TEXTS)
def test_files_and_names_of_the_code(name: str) -> None:
    wrong = []
    for code in _typed(name):
        for path in re.findall(r"^([a-z_]+/[\w./-]*\w)$", code):
            if path.split("/")[0] in CODE and "NAME" not in path and not (ROOT / path).exists():
                wrong.append(path)
        for room, module, names in re.findall(r"^(?:rltf\.)?([a-z_]+)\.([a-z_0-9.]+?)\.((?:[A-Z]\w*)(?:\.\w+)*)", code):
            file = ROOT / room / f"{module.replace('.', '/')}.py"
            if room in CODE and not (file.exists() and all(word in _source(file) for word in names.split("."))):
                wrong.append(code)
        for module in re.findall(r"python -m ([\w.]+)", code):
            file = module.removeprefix("rltf.").replace(".", "/")
            if (
                file.split("/")[0] in CODE
                and "NAME" not in file
                and not any((ROOT / file).with_suffix(end).exists() for end in (".py", ""))
            ):
                wrong.append(module)
    assert not wrong


def test_the_texts_are_found_and_read() -> None:
    """Each test above has something to look at, and finds what is wrong."""
    assert {"README.md", "docs/index.md", "docs/learner.md"} <= set(TEXTS)
    assert any("make " in code for code in _typed("README.md"))
    assert "starter-rltf" in " ".join(_typed("docs/running.md"))
    assert _is_known("learner", "steps") and not _is_known("learner", "stepps")
