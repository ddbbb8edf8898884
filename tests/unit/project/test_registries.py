"""The dictionaries of what people replace: the names that the configuration takes are those that a room has."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from rltf import config as configuration
from rltf.actors.engines import ENGINES
from rltf.config import Config, UserError, workers
from rltf.config import objectives as named
from rltf.config.help import described
from rltf.config.objectives import AdvantageConfig, ObjectiveConfig, RlooConfig
from rltf.executor import checkers
from rltf.executor.judges import JUDGES
from rltf.learner.objectives import OBJECTIVES
from rltf.learner.rewards import REWARDS
from rltf.problems import TestSuite, load_problems, problem
from rltf.problems.prompts import STYLES, prompt_of
from rltf.problems.sources import SOURCES
from tests.support.paths import ROOT

PAIRS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "learner.objective": (named.OBJECTIVES, OBJECTIVES),
    "grpo.reward": (named.REWARDS, REWARDS),
    "actors.engine": (workers.ENGINES, ENGINES),
    "executor.judge": (workers.JUDGES, JUDGES),
}
"""Field -> the names that it takes, what a room has by them."""


@pytest.mark.parametrize("key", PAIRS)
def test_a_name_that_is_taken_is_one_that_a_room_has(key: str) -> None:
    names, registry = PAIRS[key]
    assert list(names) == list(registry)
    field = described(key)
    assert field.values == "|".join([*registry, "MODULE:NAME"])
    for name, meaning in names.items():
        assert meaning and f"{name}: {meaning}" in field.sentence
    with pytest.raises(UserError, match=f"^{key}: Input should be .*{next(iter(names))}.*, got 'neither'$"):
        configuration.load(None, {key: "neither"})


def test_a_section_says_whether_it_compares_programs_of_one_visit() -> None:
    class Silent(AdvantageConfig):
        """A section that says nothing of it."""

    with pytest.raises(TypeError, match="group_relative"):
        Silent()
    sections = {name: getattr(Config(), name) for name in OBJECTIVES if name in Config.model_fields}
    assert len(sections) == len(OBJECTIVES) - 1
    assert {name for name, section in sections.items() if section.group_relative} == {*sections} - {"rltf"}


def test_an_objective_of_another_name_needs_two_programs_of_a_visit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(Config):
        """A configuration with one more objective."""

        mine: ObjectiveConfig = RlooConfig()

    monkeypatch.setitem(named.OBJECTIVES, "mine", "one that nobody names by string")
    given: dict[str, Any] = {"learner": {"objective": "mine"}, "actors": {"samples_per_problem": 1}}
    with pytest.raises(ValueError, match="mine compares programs of one visit: set actors.samples_per_problem to 2"):
        Other.model_validate(given)
    assert Other.model_validate(given | {"actors": {}}).objective.group_relative


def test_every_source_says_how_it_is_written_and_refuses_what_it_is_not(tmp_path: Path) -> None:
    for name, source in SOURCES.items():
        assert source.name == name and source.about and source.form.startswith(name)
        if not source.hub and source.path:
            with pytest.raises(UserError, match=f"{name} needs a {source.path.lower()}, {source.form}$"):
                load_problems(name)
    with pytest.raises(UserError, match="the source 'aps' is unknown; did you mean 'apps'"):
        load_problems("aps:x")


def test_a_checker_that_data_may_name_is_one_that_the_judge_has() -> None:
    assert list(problem.CHECKERS) == list(checkers.CHECKERS) and all(problem.CHECKERS.values())
    for name in problem.CHECKERS:
        judged = checkers.make_checker(TestSuite("stdin", None, ("",), ("1\n",), checker=name))
        assert judged.matches_output("1\n", "1\n") and not judged.matches_output("1\n", "2\n")
    with pytest.raises(
        ValueError, match="unknown checker 'lenient', known: standard, tokens, codecontests, apps_compat"
    ):
        TestSuite("stdin", None, ("",), ("",), checker="lenient")


@pytest.mark.parametrize("style", [name for name in STYLES if name != "mbpp_three_shot"])  # which is of MBPP alone
def test_all_problems_can_be_shown_in_any_style(style: str) -> None:
    own = load_problems("starter,split=heldout").problems[0]
    shown = load_problems("starter,split=heldout", prompt_style=style).problems[0]
    assert shown.prompt_style == style and own.prompt_style == "starter" and own.question in prompt_of(shown).text
    assert (prompt_of(shown) == prompt_of(own)) == (style in ("starter", "mbpp"))
    with pytest.raises(UserError, match="problems.prompt_style 'aps' is unknown; did you mean 'apps'"):
        load_problems("starter,split=heldout", prompt_style="aps")


def test_the_tables_of_the_texts_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.spec_from_file_location("tables", ROOT / "scripts" / "tables.py")
    assert found is not None and found.loader is not None
    tables = importlib.util.module_from_spec(found)
    found.loader.exec_module(tables)
    texts = {path: path.read_text() for path in tables.TEXTS}
    stale = [str(path) for path, text in texts.items() if tables.rendered(text) != text]
    assert not stale, "run .venv/bin/python scripts/tables.py"
    assert {name for text in texts.values() for _, name, _ in tables.BLOCK.findall(text)} == set(tables.TABLES)
    monkeypatch.setitem(STYLES, "mine", STYLES["apps"])
    data = ROOT / "docs" / "data.md"
    assert "| `mine` | APPS' own (arXiv" in tables.rendered(texts[data])
