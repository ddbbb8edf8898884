"""The interface of a judge: from programs and their tests to verdicts, whatever runs them.

`executor.sandbox_judge` has the one that runs them on this machine, `executor.judges` all that can be chosen by name.
No Ray, no Redis, no torch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rltf.buffer.records import Feedback
from rltf.config import ExecutorConfig
from rltf.problems.problem import TestSuite


@dataclass(frozen=True, slots=True)
class InfrastructureFailure:
    """A program could not be judged. It is no verdict: the program is to be tried elsewhere."""

    reason: str
    of_problem: bool = False
    """The problem's own checker broke, and would do so elsewhere."""


class Judge(Protocol):
    """Judges programs by unit tests. Used by one thread; as a context manager it ends what it started.

    A class that derives from it has to have `from_config`, `grade_each`, `lanes`, `tier` and `layers`.
    """

    hits: int = 0
    """Programs so far whose verdict was known already: none was run for them."""

    @classmethod
    def from_config(cls, config: ExecutorConfig | None = None, lanes: int | None = None, hash_seed: int = 0) -> Judge:
        """The judge that a configuration describes, of the class that `executor.judge` names.

        Args:
            config: what limits programs and how they are isolated; None: the defaults.
            lanes: programs that it judges at the same time, if not as many as the configuration has.
            hash_seed: PYTHONHASHSEED of the programs.

        Raises:
            UserError: no judge has that name.
            LaneFailure: it does not start (`executor.protocol`).

        """
        from rltf.executor.judges import judge_named  # which imports every judge, and so this module

        if cls is not Judge:
            raise NotImplementedError(f"{cls.__name__} has no from_config of its own")
        config = config or ExecutorConfig()
        return judge_named(config.judge).from_config(config, lanes, hash_seed)

    @property
    @abstractmethod
    def lanes(self) -> int:
        """Programs that it judges at the same time."""

    @property
    @abstractmethod
    def tier(self) -> str:
        """How well programs are isolated (docs/sandbox.md): A is the strongest, B weaker, none not at all."""

    @property
    @abstractmethod
    def layers(self) -> Mapping[str, str]:
        """What isolates them: layer -> "on", or "off: reason"."""

    @abstractmethod
    def grade_each(
        self, work: Sequence[tuple[TestSuite, str]]
    ) -> Iterator[tuple[int, Feedback | InfrastructureFailure]]:
        """Verdicts as they come, each with its place in `work`: tests and program text.

        Every place comes once. No program, whatever it does, makes it raise; raises LaneFailure
        (`executor.protocol`) when nothing can be judged any more.
        """

    def grade(
        self, work: Sequence[tuple[TestSuite, str]], advance: Callable[[int], None] = lambda number: None
    ) -> list[Feedback | InfrastructureFailure]:
        """Verdicts in the order of `work`; `advance` is called with the number of those that have come since its last
        call.
        """
        results: list[Feedback | InfrastructureFailure | None] = [None] * len(work)
        for index, result in self.grade_each(work):
            results[index] = result
            advance(1)
        return [result for result in results if result is not None]

    def abort(self) -> None:  # noqa: B027
        """From any thread: what it is at ends at once, without a verdict, and it judges no more.

        `close` comes after.
        """

    def close(self, at_once: bool = False) -> None:
        """Ends what it started, `at_once` in the middle of a program."""

    def __enter__(self) -> Self:
        """Return the judge."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it; nobody wants what it runs if the block was broken off."""
        self.close(at_once=error is not None)
