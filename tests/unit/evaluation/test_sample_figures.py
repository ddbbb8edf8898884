"""pass@k of judged samples: over the problems that have enough of them, with an interval."""

from __future__ import annotations

import pytest

from rltf.evaluation.sample_figures import pass_at_ks, sentence


def test_pass_at_k_is_over_the_problems_with_enough_samples() -> None:
    one, ten = pass_at_ks([(10, 5), (10, 0), (10, 10), (2, 1)])
    assert (one.k, one.problems, one.value) == (1, 4, pytest.approx((0.5 + 0 + 1 + 0.5) / 4))
    assert (ten.k, ten.problems, ten.value) == (10, 3, pytest.approx(2 / 3))
    assert 0 <= one.low < one.value < one.high <= 1
    assert sentence(ten) == f"pass@10 0.667, 95% interval {ten.low:.3f} to {ten.high:.3f}, over 3 problems"
    assert pass_at_ks([]) == [] and pass_at_ks([(1, 1)])[0].problems == 1
