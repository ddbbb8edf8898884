import pytest

from rltf.evaluation import Asked, before_and_after, summarise
from tests.support.monitor_rows import sample


def test_summary_counts_tasks_samples_outcomes_and_errors() -> None:
    samples = [
        sample("a", "pass", version=3),
        sample("a", "failure", version=4),
        sample("b", "runtime_error", error="TypeError"),
        sample("b", "runtime_error", error="TypeError"),
        sample("c", "compile_error", error="SyntaxError"),
        sample("c", "pass"),
    ]
    held_out = summarise(samples, ks=(1, 2))
    assert (held_out.tasks, held_out.samples, held_out.missing, held_out.versions) == (3, 6, 0, (0, 3, 4))
    assert held_out.pass_at[1].value == pytest.approx((0.5 + 0 + 0.5) / 3)
    assert held_out.pass_at[2].value == pytest.approx(2 / 3)
    assert held_out.outcomes == {"pass": 2, "failure": 1, "runtime_error": 2, "compile_error": 1}
    assert list(held_out.error_types.items()) == [("TypeError", 2), ("WrongAnswer", 1), ("SyntaxError", 1)]
    row = held_out.as_row(label="step-000020", step=20, seconds=12.5, time=1.0)
    assert row["pass@1"] == pytest.approx(1 / 3) and row["pass@1_se"] == pytest.approx(1 / 6)


def test_max_at_k_is_the_share_of_tests_of_the_best_programs() -> None:
    # Of five tests a failure passes two. b has one verdict of two programs, and nothing was asked for d.
    samples = [sample("a", "pass"), sample("a", "failure"), sample("b", "failure"), sample("c", "runtime_error")]
    held_out = summarise(samples, ["a", "b", "c"], (1, 2), programs=2, not_asked=1)
    assert held_out.max_at[1].value == pytest.approx((0.7 + 0.2 + 0 + 0) / 4)
    assert held_out.max_at[2].value == pytest.approx((1 + 0.4 + 0 + 0) / 4)
    row = held_out.as_row(label="step-000020", step=20, seconds=12.5, time=1.0)
    assert row["max@2"] == pytest.approx(0.35) and row["max@2_se"] == pytest.approx(0.2362907813, rel=1e-9)
    assert summarise([sample("a", "failure")]).max_at[1].value == 0.4


def test_an_evaluation_with_fewer_programs_has_the_figures_that_it_allows() -> None:
    asked, samples = Asked(("a",), (1, 2, 4), 0), [sample("a", "failure"), sample("a", "pass")]
    assert asked.figures(samples, 2) == {"pass@1": 0.5, "pass@2": 1.0, "max@1": pytest.approx(0.7), "max@2": 1.0}


def test_names_of_errors_that_programs_make_up_are_counted_together() -> None:
    names = ["TypeError"] * 3 + ["other"] * 2 + [f"MadeUp{number}" for number in range(30)]
    held_out = summarise([sample("a", "runtime_error", error=name) for name in names])
    found = list(held_out.error_types.items())
    assert (
        len(found) == 20
        and found[:2] == [("TypeError", 3), ("other", 14)]
        and sum(held_out.error_types.values()) == len(names)
    )


def test_a_problem_whose_programs_were_lost_counts_as_not_passed() -> None:
    held_out = summarise([sample("a", "pass")], problem_ids=["a", "b"])
    assert (held_out.tasks, held_out.samples, held_out.missing) == (2, 1, 1)
    assert held_out.pass_at[1].value == 0.5
    with pytest.raises(ValueError, match="no problems"):
        summarise([])


def test_programs_that_were_lost_count_as_not_passed() -> None:
    held_out = summarise(
        [sample("a", "pass"), sample("b", "failure"), sample("b", "pass")], ["a", "b", "c"], (1, 2), programs=2
    )
    assert held_out.pass_at[1].value == pytest.approx((0.5 + 0.5 + 0) / 3) and held_out.pass_at[
        2
    ].value == pytest.approx(2 / 3)
    assert (held_out.lost, held_out.missing) == (3, 1)
    fewer = summarise([sample("a", "pass"), sample("b", "pass")], ["a", "b"], programs=1, not_asked=2)
    assert (fewer.tasks, fewer.not_asked, fewer.lost, fewer.pass_at[1].value, fewer.pass_at[1].problems) == (
        4,
        2,
        0,
        0.5,
        4,
    )
    with pytest.raises(ValueError, match="pass@2 needs at least 2 samples"):
        summarise([sample("a", "pass")], ks=(1, 2))


def test_examples_prefer_programs_that_became_right_and_different_errors() -> None:
    before = [
        sample("a", "runtime_error", error="TypeError"),
        sample("b", "runtime_error", error="TypeError"),
        sample("c", "compile_error", error="SyntaxError"),
        sample("d", "pass"),
        sample("e", "failure"),
    ]
    after = [sample(name, "pass", version=7) for name in "abcd"] + [sample("e", "failure", version=7)]
    chosen = before_and_after(before, after, {name: f"question {name}" for name in "abcde"}, count=3)
    assert [pair.problem_id for pair in chosen] == ["a", "c", "b"]
    assert chosen[0].question == "question a"
    assert [pair.problem_id for pair in before_and_after(before, after, {}, count=5)] == ["a", "c", "b", "d", "e"]
    assert before_and_after(before, [], {}) == []
    assert [pair.problem_id for pair in before_and_after(before[-1:], after[-1:], {}, count=1)] == ["e"]
