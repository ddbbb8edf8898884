import pytest

from rltf.monitor.state import RunState
from tests.support.monitor_rows import BEGIN, count, phase, step_row, telemetry


def test_rates_are_counts_over_the_last_ten_seconds() -> None:
    state = RunState()
    state.fold(telemetry(steps=20))
    now = BEGIN + 15 + 40
    assert state.rates(now) == pytest.approx({"generated": 96.0, "graded": 96.0, "trained": 96.0}, rel=0.01)
    assert state.total("actor", "programs") == 20 * 2 * 96
    assert state.rates(now + 60) == {"generated": 0.0, "graded": 0.0, "trained": 0.0}


def test_waits_name_who_waits_for_whom() -> None:
    state = RunState()
    state.fold(telemetry(steps=20))
    now = BEGIN + 15 + 40
    waits = {(wait.kind, wait.waits_for): wait.share for wait in state.waits(now)}
    assert waits["executor", "actor"] == pytest.approx(0.6, abs=0.01)
    assert waits["learner", "executor"] == pytest.approx(0.3, abs=0.01)
    assert waits["actor", "learner"] == pytest.approx(0.25, abs=0.01)
    assert (
        state.waits_in_words(now)
        == "executors wait for actors 60%, learner waits for executors 30%, actors wait for learner 25%"
    )


def test_a_wait_that_still_lasts_counts_and_ends() -> None:
    state = RunState()
    state.fold([phase("learner-0", "train", 0, 10)])
    state.fold(
        [
            {
                "kind": "now",
                "role": "learner-0",
                "name": "wait",
                "waits_for": "actor",
                "start": BEGIN + 10,
                "time": BEGIN + 14,
            }
        ]
    )
    longest = state.longest_wait(BEGIN + 15)
    assert longest is not None and longest[0].role == "learner-0" and longest[1] == pytest.approx(5)
    assert state.waits(BEGIN + 15)[0].share == pytest.approx(0.5)
    state.fold([phase("learner-0", "wait", 10, 16, "actor"), phase("learner-0", "train", 16, 17)])
    assert state.longest_wait(BEGIN + 17) is None
    assert state.waits(BEGIN + 20)[0].share == pytest.approx(0.6)
    assert state.waits_in_words(BEGIN + 60) == "nobody waits"


def test_waits_of_a_worker_that_polls_are_one_wait() -> None:
    state = RunState()
    state.fold([phase("executor-0", "wait", second, second + 0.99, "actor") for second in range(8)])
    longest = state.longest_wait(BEGIN + 8)
    assert longest is not None and longest[1] == pytest.approx(8)
    state.fold([phase("executor-0", "grade", 8, 9), phase("executor-0", "wait", 9, 10, "actor")])
    longest = state.longest_wait(BEGIN + 10)
    assert longest is not None and longest[1] == pytest.approx(1)


def test_an_outer_phase_that_ends_after_its_inner_ones_does_not_hide_the_newer() -> None:
    state = RunState()
    state.fold([phase("actor-0", "wait", 5, 6, "executor"), phase("actor-0", "visit", 1, 6.1)])
    assert state.roles["actor-0"].doing == "wait"


def test_policy_lag_comes_from_the_batch_or_the_versions() -> None:
    state = RunState()
    assert state.policy_lag() is None
    state.fold(
        [
            {"kind": "gauge", "role": role, "name": "version", "value": value, "time": BEGIN}
            for role, value in (("learner-0", 7), ("actor-0", 4))
        ]
    )
    assert state.policy_lag() == 3
    state.fold_step(step_row(3))
    assert state.policy_lag() == 0.5


def test_rl_seconds_begin_with_the_first_training_program() -> None:
    state = RunState()
    assert state.rl_seconds(BEGIN) == 0
    state.fold(telemetry(steps=2))
    assert state.rl_seconds(BEGIN + 25.1) == pytest.approx(10)
    state.fold_step(step_row(2))
    assert state.rl_seconds_of_step(0) == 0 and state.rl_seconds_of_step(2) == pytest.approx(3.9)


def test_the_control_has_seconds_and_supervised_steps_keep_the_figures() -> None:
    state = RunState()
    state.fold([phase("learner-0", "train_supervised", 4, 5)])
    assert state.rl_seconds(BEGIN + 6) == pytest.approx(2)
    state.fold_step({"step": 1, "loss": 2.0})
    assert state.step["loss"] == 2.0
    state.fold_step(step_row(2))
    state.fold_step({"step": 3, "loss": 1.5})
    assert state.step["step"] == 3 and state.step["pass_rate"] == step_row(2)["pass_rate"]


def test_numbers_for_ray_are_plain_and_named() -> None:
    state = RunState()
    state.fold([count("actor-0", "programs", 50, 1.0)])
    state.fold_step(step_row(20))
    state.ledger = {"queued": 3}
    numbers = state.numbers(BEGIN + 1)
    assert numbers["step"] == 20 and numbers["ledger_queued"] == 3 and numbers["generated_per_second"] == 50
    assert all(name.replace("_", "").isalnum() for name in numbers)


def test_an_unknown_row_is_an_error() -> None:
    with pytest.raises(ValueError, match="histogram"):
        RunState().fold([{"kind": "histogram", "role": "actor-0", "time": 1.0}])


def test_a_run_in_which_programs_only_fail_gets_nowhere() -> None:
    state = RunState()
    state.fold([count("actor-0", "programs", 64, 1.0), count("executor-0", "infrastructure_failures", 64, 2.0)])
    state.fold([count("actor-0", "corrupt_versions", 1, 3.0), count("learner-0", "samples", 0, 4.0)])
    state.fold_step(step_row(7))  # a step without a sample, its groups' programs having been given up
    assert state.progress() == 0
    seen = []
    for role, name in (("executor-0", "programs"), ("learner-0", "samples"), ("learner-0", "supervised_programs")):
        state.fold([count(role, name, 8, 5.0)])
        seen.append(state.progress())
    state.fold([count("learner-0", "warm_start_programs", 8, 6.0)])
    assert [*seen, state.progress()] == [8, 16, 24, 32]
