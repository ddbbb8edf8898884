import itertools
import math

import pytest

from rltf.evaluation.pass_at_k import mean_pass_at_k, pass_at_k


@pytest.mark.parametrize("samples", [1, 2, 5, 8])
def test_pass_at_k_is_the_share_of_subsets_with_a_passing_program(samples: int) -> None:
    for passed, k in itertools.product(range(samples + 1), range(1, samples + 1)):
        programs = [index < passed for index in range(samples)]
        subsets = list(itertools.combinations(programs, k))
        assert pass_at_k(samples, passed, k) == pytest.approx(
            sum(any(subset) for subset in subsets) / len(subsets), abs=1e-12
        )


def test_pass_at_k_of_many_samples_matches_exact_binomials() -> None:
    exact = 1 - math.comb(1000 - 3, 100) / math.comb(1000, 100)
    assert pass_at_k(1000, 3, 100) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(("samples", "passed", "k"), [(4, 1, 5), (4, 5, 1), (4, -1, 1), (4, 1, 0), (0, 0, 1)])
def test_counts_that_cannot_be_are_refused(samples: int, passed: int, k: int) -> None:
    with pytest.raises(ValueError, match="samples"):
        pass_at_k(samples, passed, k)


def test_mean_weighs_problems_alike_and_has_the_standard_error_of_a_mean() -> None:
    estimate = mean_pass_at_k([(1, 1), (1, 0), (10, 5), (2, 0)], 1)
    assert estimate.value == pytest.approx(0.375)
    values = [1.0, 0.0, 0.5, 0.0]
    variance = sum((value - 0.375) ** 2 for value in values) / 3
    assert estimate.standard_error == pytest.approx(math.sqrt(variance / 4))
    assert str(mean_pass_at_k([(4, 1)], 1)) == "0.250 ± 0.000"
    with pytest.raises(ValueError, match="no problems"):
        mean_pass_at_k([], 1)
