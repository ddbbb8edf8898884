"""The loop on real problems: a small fresh model learns a few of them by heart until a sample passes, then trains on
what tests say.

RLTF_REAL_STEPS=50 makes the runs as long as those of `python -m benchmarks.real_problems`, and runs all of its cases.
By default they are short, and of the two in the directory layout of APPS the one with APPS' own problems is run: that
all 1,900 of the other load is tested in tests/integration/problems/test_real_data.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from benchmarks.real_problems import (
    CASES,
    DATA,
    FULL_STEPS,
    QUICK_STEPS,
    Case,
    Facts,
    prepare,
    problems_for,
    settings_of,
)
from rltf.monitor.run_folder import RunFolder
from tests.support.run_parts import Launched

STEPS = int(os.environ.get("RLTF_REAL_STEPS", QUICK_STEPS))
RUN = [case for case in CASES if STEPS > QUICK_STEPS or case.name != "APPS layout"]
pytestmark = [
    pytest.mark.real_problems,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent: real problems are not part of the project"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Launched]]:
    """A run of every case, side by side: each waits for processes of its own to start for much of its time."""
    started = {}
    for case in RUN:
        folder = tmp_path_factory.mktemp("real")
        problems, spec = prepare(case, folder / "problems", problems_for(STEPS))
        assert len(problems) == case.problems and not problems.skipped
        settings = {key.replace(".", "__"): value for key, value in settings_of(case, spec, STEPS).items()}
        started[case.name] = Launched(folder, **settings)
    yield started
    for run in started.values():
        run.process.terminate()  # those that were not waited for
        run.wait()


@pytest.mark.parametrize("case", RUN, ids=lambda case: case.name.replace(" ", "-"))
def test_the_loop_trains_on_real_problems(case: Case, runs: dict[str, Launched]) -> None:
    run = runs[case.name]
    assert run.wait(580) == 0, run.terminal
    assert run.gone(), run.survivors()

    folder = RunFolder.open(run.folder)
    assert [row["step"] for row in folder.steps()] == list(range(1, STEPS + 1))
    facts = Facts.of(folder)
    print(facts)
    assert facts.trained_on > 0
    assert facts.versions > 1, "no new weights reached the actors"
    assert (facts.infrastructure_errors, facts.dead_letters, facts.malformed) == (0, 0, 0)
    kept = list(folder.samples())
    assert any(sample.feedback and sample.feedback.outcome == "pass" for sample in kept), "no program passed"
    if STEPS >= FULL_STEPS:
        assert all(facts.outcomes.values()), facts.outcomes
