"""Agreement with real data sets, on samples: references pass, and programs that models and students wrote get the
labels they came with.

`python -m benchmarks.real_data` compares all of them; docs/executor.md has what it printed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from benchmarks.real_data import DATA, SETS, compare
from rltf.executor.sandbox_judge import SandboxJudge

pytestmark = [
    pytest.mark.real_problems,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent: real problems are not part of the project"),
]
SLOW = ("mbpp/123", "MBPP/123")
"""Takes seconds, more than these tests allow."""
QUICK = ("rltf_apps, apps_compat", "mbpp_labeled", "debugbench")
"""Sets with programs that run into the limit: a small one saves time."""
SAMPLES = {
    "apps_layout, tokens": 20,
    "mbpp": 60,
    "mbpp_sanitized": 30,
    "leetcode": 30,
    "rltf_apps, apps_compat": 30,
    "mbpp_labeled": 150,
    "refactory": 120,
    "debugbench": 60,
}


@pytest.fixture(scope="module")
def judges() -> Iterator[dict[bool, SandboxJudge]]:
    with SandboxJudge(2, 4.0, 1024) as patient, SandboxJudge(2, 1.0, 1024) as quick:
        yield {False: patient, True: quick}


@pytest.mark.parametrize("name", SAMPLES)
def test_agreement(judges: dict[bool, SandboxJudge], name: str) -> None:
    items, explain = SETS[name]
    every = [item for item in items(DATA) if not item.name.startswith(SLOW)]
    chosen = random.Random(0).sample(every, SAMPLES[name])
    if name == "apps_layout, tokens":
        chosen = [item for item in chosen if item.suite.count < 20]
    row = compare(name, chosen, judges[name in QUICK], explain)
    assert row.unexplained == []
    assert row.agree >= 0.85 * row.programs
    if name == "rltf_apps, apps_compat":
        assert row.agree == row.programs == SAMPLES[name]
    if name == "mbpp_labeled":
        assert row.lines == row.lines_known > 5
