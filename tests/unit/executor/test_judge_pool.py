"""A pool of judges: work that is cancelled before, while and after it is done; judges that break."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from rltf.executor.judge import Judge
from rltf.executor.judge_pool import JudgePool
from tests.support.judges import InProcessJudge


def until(reached: Callable[[], bool]) -> None:
    """Waits for it; fails after a minute."""
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Stoppable(InProcessJudge):
    """One that an abort reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = threading.Event()

    def abort(self) -> None:
        self.aborted.set()


@pytest.fixture
def made() -> list[Stoppable]:
    return []


@pytest.fixture
def pool(made: list[Stoppable]) -> Iterator[JudgePool]:
    def make() -> Judge:
        made.append(Stoppable())
        return made[-1]

    pool = JudgePool(make, 2)
    yield pool
    pool.close()
    assert all(len(judge.closed) == 1 for judge in made), "each is closed, once"


def wait(judge: Judge) -> str:
    assert isinstance(judge, Stoppable)
    return "aborted" if judge.aborted.wait(60) else "nobody came"


def test_work_is_done_by_as_many_judges_as_are_needed(pool: JudgePool, made: list[Stoppable]) -> None:
    assert len(made) == 1, "the others come when they are needed"
    together = threading.Barrier(2)
    tasks = [pool.submit(lambda _: together.wait(60) >= 0) for _ in range(2)]
    assert all(task.future.result(60) for task in tasks) and len(made) == 2
    assert [pool.submit(lambda judge: judge.tier).future.result(60) for _ in range(5)] == ["none"] * 5
    assert len(made) == 2


def test_what_is_cancelled_ends_and_its_judge_is_made_anew(pool: JudgePool, made: list[Stoppable]) -> None:
    running = [pool.submit(wait) for _ in range(2)]
    waiting = pool.submit(wait)
    until(lambda: all(task._judge is not None for task in running))
    waiting.cancel()
    assert waiting.future.cancelled() and not any(judge.aborted.is_set() for judge in made)
    running[0].cancel()
    assert running[0].future.result(60) == "aborted"
    assert sum(judge.aborted.is_set() for judge in made) == 1 and not running[1].future.done()
    running[1].cancel()
    assert running[1].future.result(60) == "aborted"
    done = pool.submit(lambda judge: judge.tier)
    assert done.future.result(60) == "none"
    done.cancel()
    assert pool.submit(lambda judge: judge in made[2:]).future.result(60), "none of those that were given up"
    assert not any(judge.aborted.is_set() for judge in made[2:]), "a cancel that comes late reaches nobody"


def test_a_judge_that_breaks_is_not_used_again(pool: JudgePool, made: list[Stoppable]) -> None:
    task = pool.submit(lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        task.future.result(60)
    assert pool.submit(lambda judge: judge is not made[0]).future.result(60)


def test_the_end_breaks_off_what_runs(made: list[Stoppable]) -> None:
    def make() -> Judge:
        made.append(Stoppable())
        return made[-1]

    pool = JudgePool(make, 1)
    running, waiting = pool.submit(wait), pool.submit(wait)
    until(lambda: running._judge is not None)
    pool.close()
    assert running.future.result(0) == "aborted" and waiting.future.cancelled()
    with pytest.raises(RuntimeError):
        pool.submit(wait)
    assert [judge.closed for judge in made] == [[True]]


def test_one_that_cannot_be_made_fails_its_work_alone(made: list[Stoppable]) -> None:
    def make() -> Judge:
        made.append(Stoppable())
        if len(made) == 2:
            raise OSError("none left")
        return made[-1]

    pool = JudgePool(make, 1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda _: 1 // 0).future.result(60)
    with pytest.raises(OSError, match="none left"):
        pool.submit(wait).future.result(60)
    assert pool.submit(lambda judge: judge is made[2]).future.result(60)
    pool.close()
