"""Held-out sets with names: what an entry does not say is the section's own, and every mistake has one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rltf import config as configuration
from rltf.config import Config, UserError
from rltf.config.evaluation import EvaluatedConfig
from rltf.config.help import described


def load(**evaluation: str) -> Config:
    return configuration.load(None, {f"evaluation.{name}": value for name, value in evaluation.items()})


def test_an_entry_has_what_it_says_and_else_what_the_section_has() -> None:
    given = {"samples": "4", "k": "[2]", "temperature": "0.6", "final_samples": "6", "tasks": "30", "every": "5"}
    greedy = '{name: greedy, problems: "mbpp:FILE,ids=1-9", temperature: 0, samples: 1, final_samples: none, k: []}'
    evaluation = load(**given, sets=f"[{{name: more, problems: starter, tasks: 7}}, {greedy}]").evaluation
    more, single = evaluation.sets
    fields = {name: getattr(more, name) for name in EvaluatedConfig.model_fields}
    assert fields == {name: getattr(evaluation, name) for name in EvaluatedConfig.model_fields} | {"tasks": 7}
    assert (single.problems, single.sampling, single.ks, single.last_samples) == (
        "mbpp:FILE,ids=1-9",
        "greedily",
        (1,),
        1,
    )
    assert (single.tasks, single.every) == (30, 5)
    assert list(evaluation.by_name) == ["", "more", "greedy"] and evaluation.by_name[""] is evaluation
    assert evaluation.specs == {"more": "starter", "greedy": "mbpp:FILE,ids=1-9"}
    assert evaluation.programs == 30 * 6 + 7 * 6 + 30 and evaluation.usual_programs == 30 * 4 + 7 * 4 + 30


def test_what_a_run_keeps_of_its_sets_is_what_it_was(tmp_path: Path) -> None:
    begun = load(sets="[{name: more, problems: starter, top_p: 0.9}]", samples="2", best_by="more:pass@1")
    assert (begun.evaluation.best_set, begun.evaluation.best_figure) == ("more", "pass@1")
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(begun.model_dump(mode="json")))
    assert configuration.load(file) == begun
    changed = configuration.load(file, {"evaluation.samples": "3"})
    assert changed.evaluation.samples == 3 and changed.evaluation.sets == begun.evaluation.sets
    assert configuration.load(None).evaluation.best_set == ""


def test_the_help_says_how_sets_are_written() -> None:
    assert described("evaluation.sets").values == "[{name: NAME, problems: SPEC, ...}, ...]"
    assert described("evaluation.best_by").values == "[NAME:]pass@K|[NAME:]max@K"


def named(**fields: Any) -> str:
    return yaml.safe_dump([{"name": "mbpp", "problems": "mbpp:FILE"} | fields], default_flow_style=True)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"sets": named(name="")}, "evaluation.sets, entry 1, name: a name has letters, digits, - and _"),
        ({"sets": named(name="a:b")}, "evaluation.sets, entry 1, name: a name has letters, digits, - and _"),
        ({"sets": "[{name: a, problems: b}, {name: a, problems: c}]"}, "evaluation.sets: two sets have the name a"),
        ({"sets": "[{name: a}]"}, "evaluation.sets, entry 1, problems: Field required"),
        ({"sets": "{name: a, problems: b}"}, "evaluation.sets: Input should be a list of entries, as in [{name: mbpp"),
        ({"sets": "mbpp"}, "evaluation.sets: Input should be a list of entries"),
        ({"sets": "[{name: a, problems: mbpp:FILE,ids=1-9}]"}, "a SPEC with commas in it needs quotes"),
        ({"sets": named(sample=2)}, "evaluation.sets, entry 1: unknown field sample; did you mean 'samples'?"),
        ({"sets": named(samples=0)}, "entry 1, samples: Input should be greater than or equal to 1, got 0"),
        ({"sets": named(k=[3])}, "k of mbpp in evaluation.sets asks for pass@3, which needs as many programs per"),
        ({"sets": named(), "samples": "9999"}, "less than the 9999 programs that one problem has in an evaluation"),
        (
            {"sets": named(temperature=0), "samples": "2"},
            "temperature of mbpp in evaluation.sets is 0, which gives one",
        ),
        (
            {"best_by": "other:pass@1"},
            "evaluation.best_by other:pass@1 is of no set in evaluation.sets, which names none",
        ),
        ({"sets": named(), "best_by": "a:pass@1"}, "is of no set in evaluation.sets, which names mbpp"),
        ({"sets": named(), "best_by": "mbpp:max@5"}, "is not estimated: add 5 to k of mbpp in evaluation.sets"),
        (
            {"sets": named(k=[2], final_samples=2), "best_by": "mbpp:pass@2"},
            "in every evaluation: raise samples of mbpp in evaluation.sets from 1",
        ),
        (
            {"sets": named(every=0), "best_by": "mbpp:pass@1", "patience": "2"},
            "evaluation.patience 2 needs evaluations during training, which there are none of: set every of mbpp in",
        ),
    ],
)
def test_a_mistake_in_the_sets_has_one_sentence(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        load(**given)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)
