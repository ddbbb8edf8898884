"""A pool of executors follows its queue, between a minimum and a maximum, without swinging."""

from rltf.driver.scaling import GROW_EVERY_S, IDLE_S, ExecutorScaling, Seen


def _seen(queued: int, running: int, rate: float = 10.0, waits: float = 0.0) -> Seen:
    return Seen(queued, rate, running, waits)


def test_from_minimum_to_maximum_within_half_a_minute_and_back_within_two() -> None:
    pool, now = ExecutorScaling(2, 16), 0.0
    while pool.wanted < 16:
        pool.update(_seen(5000, pool.wanted, rate=5.0 * pool.wanted), now)
        now += 1.0
    assert now <= 30 + 1
    assert pool.update(_seen(5000, 16), now) == 16, "no more than the maximum"
    emptied = now
    while pool.wanted > 2:
        pool.update(_seen(0, pool.wanted), now)
        now += 1.0
    assert IDLE_S <= now - emptied <= 121
    assert pool.update(_seen(0, 2), now + 500) == 2


def test_no_step_up_before_the_last_one_has_had_its_effect() -> None:
    pool = ExecutorScaling(2, 16)
    assert pool.update(_seen(5000, 2), 0.0) == 4
    assert pool.update(_seen(5000, 4), GROW_EVERY_S / 2) == 4
    assert pool.update(_seen(5000, 3), GROW_EVERY_S * 5) == 4, "one of them has no host yet"
    assert pool.update(_seen(5000, 4), GROW_EVERY_S * 6) == 8


def test_a_queue_that_comes_and_goes_shrinks_nothing() -> None:
    pool = ExecutorScaling(1, 8)
    pool.update(_seen(500, 1), 0.0)
    wanted = {pool.update(_seen(20 * (second % 20 == 0), 2), float(second)) for second in range(1, 600)}
    assert wanted == {2}


def test_a_short_queue_grows_the_pool_only_if_the_learner_waits_for_it() -> None:
    pool = ExecutorScaling(1, 8)
    assert pool.update(_seen(50, 1), 0.0) == 1
    assert pool.update(_seen(50, 1, waits=0.5), 20.0) == 2
    assert pool.update(_seen(0, 2, rate=0.0, waits=0.5), 40.0) == 2, "nothing that more executors could do"


def test_by_hand_it_is_what_was_asked_for() -> None:
    pool = ExecutorScaling(1, 8)
    pool.set(3)
    assert pool.update(_seen(5000, 3), 0.0) == 3 == pool.update(_seen(0, 3), 1000.0)
