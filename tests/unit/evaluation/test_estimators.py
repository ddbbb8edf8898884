import itertools
import math
import random
from fractions import Fraction

import numpy as np
import pytest

from rltf.evaluation.bootstrap import intervals, means, p_values
from rltf.evaluation.comparison import compare, mcnemar
from rltf.evaluation.estimators import max_at_k, n_at_k, pass_curve
from rltf.evaluation.pass_at_k import pass_at_k
from rltf.evaluation.results import results_of
from rltf.evaluation.scores import ProblemScores, SetScores
from rltf.evaluation.tables import markdown


def test_pass_at_k_is_exact_for_ten_thousand_random_counts() -> None:
    rng = random.Random(14)
    for _ in range(10_000):
        samples = rng.choice((1, 2, 5, 20, 200, 1000))
        passed, k = rng.randint(0, samples), rng.randint(1, samples)
        exact = float(1 - Fraction(math.comb(samples - passed, k), math.comb(samples, k)))
        assert pass_at_k(samples, passed, k) == pytest.approx(exact, abs=1e-12)
        assert pass_curve(samples, passed)[k - 1] == pytest.approx(exact, abs=1e-12)


def scores_of(name: str, difficulty: str, *shares: float) -> ProblemScores:
    row = ProblemScores(
        name, difficulty, tests=2, examples=(), asked=len(shares), why_none="" if shares else "too long"
    )
    row.shares.extend(shares)
    row.passed = row.accepted = shares.count(1.0)
    return row


def test_a_problem_without_a_program_is_failed_in_a_group_of_its_own_too() -> None:
    rows = (scores_of("a", "easy", 1.0, 0.5), scores_of("b", "easy", 0.0), scores_of("c", "hard"))
    results = results_of([SetScores("set", rows)], (1, 2, 3), 0, {"model": "m"})
    groups = results["sets"][0]["groups"]
    found = {
        name: {metric: (one["value"], one["problems"]) for metric, one in group["metrics"].items()}
        for name, group in groups.items()
    }
    failed = {"pass@1": (0, 1), "pass@2": (0, 1), "max@1": (0, 1), "max@2": (0, 1)}
    assert found["hard"] == failed and list(found["easy"]) == list(failed) == list(found["all"])
    assert found["easy"]["pass@1"] == (0.25, 2) and found["easy"]["max@2"] == (1, 1)
    assert found["all"]["pass@1"] == (pytest.approx(0.5 / 3), 3) and found["all"]["pass@2"] == (0.5, 2)
    assert "pass@2 is over 2 of 3 problems" in markdown([results]) and "there is no pass@3" in markdown([results])
    only = results_of([SetScores("set", (scores_of("b", "hard", 0.0), rows[0]))], (2,), 0, {})
    assert not only["sets"][0]["groups"]["hard"]["metrics"], "too few programs are no failure"


@pytest.mark.parametrize(("samples", "passed"), [(0, 0), (3, 4), (3, -1)])
def test_a_curve_of_counts_that_cannot_be_is_refused(samples: int, passed: int) -> None:
    with pytest.raises(ValueError, match="not a count"):
        pass_curve(samples, passed)


def test_max_at_k_is_the_mean_over_all_draws_and_pass_at_k_for_verdicts() -> None:
    rng = random.Random(0)
    for samples in (1, 2, 5, 8):
        scores = [rng.choice((0.0, 0.25, 0.5, 1.0)) for _ in range(samples)]
        for k in range(1, samples + 1):
            draws = [max(draw) for draw in itertools.combinations(scores, k)]
            assert max_at_k(scores, k) == pytest.approx(sum(draws) / len(draws), abs=1e-12)
            verdicts = [float(score == 1.0) for score in scores]
            assert max_at_k(verdicts, k) == pytest.approx(pass_at_k(samples, int(sum(verdicts)), k), abs=1e-12)
    with pytest.raises(ValueError, match="max@3 needs"):
        max_at_k([0.5, 1.0], 3)


def test_n_at_k_is_the_mean_over_all_draws_and_all_choices_of_submissions() -> None:
    for samples, accepted, passed in ((6, 4, 2), (6, 6, 2), (5, 1, 1), (5, 3, 0), (5, 0, 0)):
        programs = [(index < accepted, index < passed) for index in range(samples)]
        for k in range(1, samples + 1):
            for n in range(1, k + 1):
                chances = []
                for draw in itertools.combinations(programs, k):
                    fit = [passes for accepts, passes in draw if accepts]
                    choices = list(itertools.combinations(fit, min(n, len(fit))))
                    chances.append(sum(any(choice) for choice in choices) / len(choices))
                expected = sum(chances) / len(chances)
                assert n_at_k(samples, accepted, passed, n, k) == pytest.approx(expected, abs=1e-12)
    assert n_at_k(1000, 1000, 3, 5, 100) == pytest.approx(pass_at_k(1000, 3, 5), abs=1e-12)
    with pytest.raises(ValueError, match="not counts"):
        n_at_k(5, 2, 3, 1, 2)


def test_intervals_are_those_of_a_mean_and_the_same_with_the_same_seed() -> None:
    rng = np.random.default_rng(1)
    values = (rng.random((400, 1)) < 0.3).astype(float)
    low, high = intervals(values, seed=3)[:, 0]
    mean, error = means(values)[0], values.std() / math.sqrt(len(values))
    assert low == pytest.approx(mean - 1.96 * error, abs=0.01) and high == pytest.approx(mean + 1.96 * error, abs=0.01)
    assert np.array_equal(intervals(values, seed=3), intervals(values, seed=3))
    assert not np.array_equal(intervals(values, seed=3), intervals(values, seed=4))


def test_degenerate_intervals_are_points_and_missing_values_are_left_out() -> None:
    assert intervals(np.array([[0.5, 0.0]])).tolist() == [[0.5, 0.0]] * 2
    assert intervals(np.ones((7, 1))).tolist() == [[1.0], [1.0]]
    assert np.isnan(intervals(np.empty((0, 2)))).all()
    values = np.array([[1.0, np.nan], [0.0, 0.25], [np.nan, 0.25]])
    assert means(values).tolist() == [0.5, 0.25]
    assert intervals(values)[:, 1].tolist() == [0.25, 0.25]


def test_p_values_tell_a_difference_from_none() -> None:
    rng = np.random.default_rng(2)
    none, clear = rng.normal(0, 1, 300), rng.normal(0.5, 1, 300)
    p = p_values(np.stack([none - none.mean(), clear, np.zeros(300)], axis=1))
    assert p[0] > 0.9 and p[1] < 0.001 and p[2] == 1.0


def test_mcnemar_is_the_exact_binomial_test() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(3, 3) == 1.0
    assert mcnemar(0, 5) == pytest.approx(2 / 32)
    assert mcnemar(2, 10) == mcnemar(10, 2) == pytest.approx(2 * (1 + 12 + 66) / 4096)


def _result(passed: list[int], samples: int = 4) -> dict:
    row = {"set": "s", "tests": 3, "samples": samples, "failed_without_program": False}
    return {"k": [1, 4, 9], "problems": [row | {"id": f"p{at}", "passed": count} for at, count in enumerate(passed)]}


def test_a_comparison_is_over_the_problems_that_both_have() -> None:
    found = compare(_result([4, 2, 0, 0]), _result([4, 0, 1]))
    assert (found.problems, found.only_in_one, found.both, found.neither) == (3, (1, 0), 1, 0)
    assert (found.solved_by_a, found.solved_by_b, found.mcnemar_p) == (("p1",), ("p2",), 1.0)
    first, second = found.differences
    assert (first.k, first.a, first.b) == (1, pytest.approx(0.5), pytest.approx(5 / 12))
    assert (second.k, second.a, second.b, second.low, second.high) == (4, 2 / 3, 2 / 3, -1, 1)
    assert compare(_result([1], 4), _result([1], 3)).mcnemar_p is None
    with pytest.raises(ValueError, match="no problem in common"):
        compare(_result([1]), {"k": [1], "problems": []})
