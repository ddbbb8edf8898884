"""What is held out: named problems, a share of the training problems, or nothing; never problems of another data set
unasked.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rltf import config as configuration
from rltf.config import ProblemsConfig, UserError
from rltf.problems import Problem, ProblemSplit, load_problem_split, load_problems, prompt_of
from tests.support.paths import ROOT


def write(folder: Path, count: int, name: str = "own.jsonl", first: int = 0, statements: int | None = None) -> str:
    """SPEC of a file of problems, which have `statements` different statements."""
    records = [
        {
            "id": f"p{n}",
            "question": f"Add {n % (statements or count)}.",
            "inputs": ["1\n"],
            "outputs": ["3\n"],
            "solutions": ["print(3)"],
        }
        for n in range(first, first + count)
    ]
    (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records))
    return f"jsonl:{folder / name}"


def sets(**fields: str) -> ProblemSplit:
    return load_problem_split(ProblemsConfig.model_validate(fields), 0)


def ids(problems: object) -> set[str]:
    return {problem.id for problem in problems or ()}  # type: ignore[attr-defined]


def test_own_training_problems_alone_are_evaluated_on_a_share_of_their_own(tmp_path: Path) -> None:
    spec = write(tmp_path, 40)
    given = {"problems.train": spec}
    for file in (None, *(ROOT / "configs" / f"{name}.yaml" for name in ("starter", "mbpp-gpt2", "apps-codet5"))):
        chosen = configuration.load(file, given).problems
        assert chosen.held_out == "auto", f"{file} names problems of another data set"
        found = load_problem_split(chosen, 0)
        assert found.held_out is not None and len(found.held_out) == 4 and len(found.train) == 36
        assert ids(found.train) | ids(found.held_out) == ids(load_problems(spec)) and not ids(found.train) & ids(
            found.held_out
        )
        assert found.held_out.name == f"0.1 of the 40 problems of {spec}, held out of training" and found.remarks == ()


def test_a_file_without_held_out_problems_holds_out_a_share_too(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(f'problems: {{train: "{write(tmp_path, 10)}"}}\n')
    assert len(load_problem_split(configuration.load(file).problems, 0).held_out or ()) == 1
    file.write_text(f'problems: {{train: "{write(tmp_path, 10)}", held_out: 0.3}}\n')
    assert len(load_problem_split(configuration.load(file).problems, 0).held_out or ()) == 3
    assert load_problem_split(configuration.load(file, {"problems.held_out": "none"}).problems, 0).held_out is None


@pytest.mark.parametrize(
    ("file", "train", "kept"),
    [
        ("starter", "starter", True),
        ("starter", "starter,split=train", True),
        ("starter", "apps:/data", False),
        ("apps-codet5", "apps,split=train,difficulty=interview", True),
        ("apps-codet5", "apps:/data,split=train", False),
        ("mbpp-gpt2", "mbpp,ids=601-700", True),
        ("mbpp-gpt2", "mbpp:/data/a,b.jsonl,ids=601-974", False),
    ],
)
def test_the_held_out_problems_of_a_file_go_with_its_data_set(file: str, train: str, kept: bool) -> None:
    preset = configuration.load(ROOT / "configs" / f"{file}.yaml").problems
    changed = configuration.load(ROOT / "configs" / f"{file}.yaml", {"problems.train": train}).problems
    assert changed.held_out == (preset.held_out if kept else "auto")
    both = {"problems.train": train, "problems.held_out": "starter,split=heldout"}
    assert configuration.load(ROOT / "configs" / f"{file}.yaml", both).problems.held_out == "starter,split=heldout"


def test_a_file_that_asks_for_no_evaluation_or_a_share_keeps_it(tmp_path: Path) -> None:
    for held_out in ('""', "none", "0.25", "auto", "null"):
        (tmp_path / "run.yaml").write_text(f"problems: {{train: starter, held_out: {held_out}}}\n")
        loaded = configuration.load(tmp_path / "run.yaml", {"problems.train": "jsonl:x"}).problems
        assert loaded.held_out == held_out.strip('"').replace("null", "none")


def test_starter_has_a_held_out_set_of_its_own() -> None:
    found = sets(train="starter")
    assert found.held_out is not None and found.held_out.name == "starter,split=heldout"
    other = sets(train="starter,split=heldout").held_out
    assert other is not None and other.name.startswith("0.1 of the")


def test_the_share_is_the_same_in_every_run_and_stays_where_problems_are_added(tmp_path: Path) -> None:
    spec = write(tmp_path, 200)
    chosen = ids(sets(train=spec, held_out="0.2").held_out)
    assert len(chosen) == 40 and chosen == ids(
        load_problem_split(ProblemsConfig(train=spec, held_out="0.2"), 7).held_out
    )
    lines = (tmp_path / "own.jsonl").read_text().splitlines()
    (tmp_path / "own.jsonl").write_text("\n".join(reversed(lines)))
    assert chosen == ids(sets(train=spec, held_out="0.2").held_out)
    write(tmp_path, 210)
    assert len(chosen & ids(sets(train=spec, held_out="0.2").held_out)) >= 35


def test_problems_with_one_statement_are_on_one_side(tmp_path: Path) -> None:
    found = sets(train=write(tmp_path, 60, statements=20), held_out="0.25")
    assert found.held_out is not None and len(found.held_out) == 15
    assert not {problem.question for problem in found.train} & {problem.question for problem in found.held_out}


@pytest.mark.parametrize(
    ("count", "statements", "reason"), [(1, 1, "less than one"), (9, 9, "less than one"), (20, 1, "in common")]
)
def test_too_few_problems_for_a_share_are_all_trained_on_and_it_is_said(
    tmp_path: Path, count: int, statements: int, reason: str
) -> None:
    found = sets(train=write(tmp_path, count, statements=statements))
    assert len(found.train) == count and found.held_out is None
    assert (
        found.remarks[0].startswith("nothing is evaluated: problems.held_out is 0.1 of the")
        and reason in found.remarks[0]
    )


def test_what_the_two_sets_have_in_common_is_told(tmp_path: Path) -> None:
    train, held_out = write(tmp_path, 10), write(tmp_path, 10, "test.jsonl", first=100, statements=20)
    assert sets(train=train, held_out=held_out).remarks == (
        "10 of the 10 held-out problems have the statement of a training problem, the first p100 that of p0: held-out figures are too high",
    )
    with pytest.raises(UserError, match="10 problems have the same id in problems.train"):
        sets(train=train, held_out=train)
    (remark,) = sets(train="starter,split=heldout", held_out=train).remarks
    assert (
        remark
        == f"training is on starter,split=heldout and held-out figures are about {train}, problems of another kind"
    )
    assert (
        sets(train=train, held_out="starter,split=heldout")
        .remarks[0]
        .startswith(f"training is on {train} and held-out figures are")
    )


def test_further_sets_are_others_than_the_training_problems_and_may_share_problems(tmp_path: Path) -> None:
    train, first = write(tmp_path, 10), write(tmp_path, 10, "first.jsonl", first=100)
    config = ProblemsConfig.model_validate({"train": train, "held_out": first})
    same = write(tmp_path, 5, "same.jsonl", first=100, statements=10)
    found = load_problem_split(config, 0, {"same": same, "starter": "starter,split=heldout"})
    assert list(found.evaluated) == ["", "same", "starter"] and [len(part) for part in found.parts[:3]] == [10, 10, 5]
    assert ids(found.further["same"]) < ids(found.held_out)
    told = [remark for remark in found.remarks if "held-out problems of same" in remark]
    assert len(told) == 1 and told[0].startswith(
        "5 of the 5 held-out problems of same have the statement of a training"
    )
    others = write(tmp_path, 5, "others.jsonl", first=100, statements=7)
    third = write(tmp_path, 5, "third.jsonl", first=300)
    for further, sentence in (
        ({"train": train}, "10 problems have the same id in problems.train .* and evaluation.sets train"),
        ({"one": "0.2"}, "evaluation.sets one '0.2' is no SPEC, which begins with one of"),
        (
            {"one": f"{first},weight=2,{third},weight=1"},
            "evaluation.sets one .*every problem is evaluated alike, leave out weight",
        ),
        ({"others": others}, "is a problem of .* and another one of .*others.jsonl: .* need ids of their own"),
    ):
        with pytest.raises(UserError, match=sentence):
            load_problem_split(config, 0, further)
    for none in ("", "none"):
        with pytest.raises(UserError, match="are evaluated beside problems.held_out, which is .* name the first set"):
            load_problem_split(config.model_copy(update={"held_out": none}), 0, {"same": same})


@pytest.mark.parametrize("share", ["0", "1", "1.5", "-0.1", "nan", "50"])
def test_what_is_no_share_is_refused(tmp_path: Path, share: str) -> None:
    with pytest.raises(UserError, match="is no share of the training problems"):
        sets(train=write(tmp_path, 10), held_out=share)


@pytest.mark.parametrize("wanted", ["Auto", "20%", "0,2", "startr", "None"])
def test_what_is_no_word_of_held_out_is_answered_with_all_that_may_be_given(tmp_path: Path, wanted: str) -> None:
    with pytest.raises(
        UserError, match=f"^problems.held_out '{wanted}' is none of: auto, none, a share .* such as 0.2, or a SPEC"
    ):
        sets(train=write(tmp_path, 10), held_out=wanted)


def test_shown_tests_are_a_setting(tmp_path: Path) -> None:
    record = {
        "id": "a",
        "question": "Add.",
        "starter_code": "def f(x):",
        "tests": [f"assert f({n}) == {n}" for n in range(5)],
    }
    plain = {key: value for key, value in record.items() if key != "starter_code"} | {"id": "b"}
    (tmp_path / "own.jsonl").write_text(json.dumps(record) + "\n" + json.dumps(plain) + "\n")

    def prompts(**fields: object) -> list[str]:
        config = ProblemsConfig.model_validate({"train": f"jsonl:{tmp_path / 'own.jsonl'}", "held_out": "0.5"} | fields)
        found = load_problem_split(config, 0)
        problems: list[Problem] = [*found.train, *(found.held_out or ())]
        return [prompt_of(problem).text for problem in sorted(problems, key=lambda problem: problem.id)]

    three = "".join(f"assert f({n}) == {n}\n" for n in range(3))
    assert prompts()[1] == f"Add. Your code should satisfy these tests:\n\n{three}\n"
    assert prompts()[0] == f"Add.\n\ndef f(x):\nYour code should satisfy these tests:\n\n{three}\n", (
        "starter code is shown"
    )
    assert prompts(shown_tests=1)[1] == "Add. Your code should satisfy these tests:\n\nassert f(0) == 0\n\n"
    assert prompts(shown_tests=9)[1].count("assert") == 5
    assert prompts(shown_tests=0) == ["Add.\n\ndef f(x):\n\n", "Add.\n"]
