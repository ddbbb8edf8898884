"""The loop on real problems: a small fresh model learns a few of them by heart until a sample passes, then trains on
what tests say.

RLTF_REAL_STEPS=50 makes runs as long as those of `python -m benchmarks.real_problems`, one for each of its cases. By
default one short run trains on a problem of APPS and one of MBPP; that all of APPS' layout load is tested in
tests/integration/problems/test_real_data.py.
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
RUN = (
    [(case,) for case in CASES]
    if STEPS > QUICK_STEPS
    else [tuple(case for case in CASES if case.name != "APPS layout")]
)
"""Cases whose problems a run trains on together, with the first one's settings."""
pytestmark = [
    pytest.mark.real_problems,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent: real problems are not part of the project"),
]


def _name(cases: tuple[Case, ...]) -> str:
    return " and ".join(case.name for case in cases).replace(" ", "-")


@pytest.fixture(scope="module")
def runs(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Launched]]:
    """All runs, side by side: each waits for processes of its own to start for much of its time."""
    started = {}
    for cases in RUN:
        folder, specs = tmp_path_factory.mktemp("real"), []
        for case in cases:
            problems, spec = prepare(case, folder / case.source, problems_for(STEPS) // len(cases))
            assert len(problems) == case.problems and not problems.skipped
            specs.append(spec)
        settings = settings_of(cases[0], ",".join(specs), STEPS)
        if len(RUN) == 1:  # there is no room for more
            settings |= {"ray.address": ray_address, "actors.cpus_per_actor": 0.5, "learner.cpus_per_worker": 0.5}
        fields = {key.replace(".", "__"): value for key, value in settings.items()}
        started[_name(cases)] = Launched(folder, **fields)
    yield started
    for run in started.values():
        run.process.terminate()  # those that were not waited for
        run.wait()


@pytest.mark.parametrize("cases", RUN, ids=_name)
def test_the_loop_trains_on_real_problems(cases: tuple[Case, ...], runs: dict[str, Launched]) -> None:
    run = runs[_name(cases)]
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
    judged = {sample.problem_id.startswith("mbpp/") for sample in kept if sample.feedback}
    assert judged == {case.source == "mbpp" for case in cases}, "programs for every set are judged"
    if STEPS >= FULL_STEPS:
        assert all(facts.outcomes.values()), facts.outcomes
