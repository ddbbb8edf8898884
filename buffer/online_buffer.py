"""The online buffer between executors and learner: bounded, evicts its oldest, each sample used once, staleness bounded
in versions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import redis

from rltf.buffer.connection import DataLost
from rltf.buffer.groups import read_groups
from rltf.buffer.keys import Keys
from rltf.buffer.lua import Place, Scripts
from rltf.buffer.records import Group, LearnerFate, Program
from rltf.config import UserError


class Consumed(msgspec.Struct, frozen=True):
    """What one finished step used up."""

    step: int
    samples: int
    groups: list[str]
    """Ids of its groups, in the order of the draw."""


class BufferPosition(msgspec.Struct, frozen=True, kw_only=True):
    """Where the learner stood in the data when its checkpoint was taken; a part of that checkpoint.

    Redis remembers what was used by itself. The position holds what Redis may have lost when the machine lost power:
    without it, a sample whose use was among the last two seconds would be drawn, and trained on, again.
    """

    step: int
    """Last finished step; 0 before the first."""
    forgotten: int = 0
    """Step up to which it is not remembered what was used: a Redis that does not know that this one is finished is of
    no use."""
    consumed: list[Consumed] = []
    """Steps finished since the checkpoint before the last one, oldest first."""

    def to_json(self) -> bytes:
        """For a file of the checkpoint."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes) -> BufferPosition:
        """The inverse of `to_json`; raises UserError for anything else."""
        try:
            return msgspec.json.decode(data, type=cls)
        except msgspec.MsgspecError as error:
            raise UserError(
                f"the checkpoint's buffer position cannot be read ({error}): resume from an earlier checkpoint"
            ) from None


@dataclass(frozen=True, slots=True)
class Resumed:
    """What `OnlineBuffer.resume` found and did."""

    returned: int
    """Groups drawn for later steps and not finished: back in the buffer, to be drawn again."""
    torn: int
    """Groups of which a later step finished a part: not whole any more, so the rest of them was evicted."""
    lost_steps: list[int]
    """Steps finished after the checkpoint: their samples stay used, their effect went with the weights."""
    lost_samples: int
    """Samples of `lost_steps`; the ledger's event `rolled_back` counts them over the run."""
    recovered: int
    """Groups that the checkpoint says were used and Redis did not know of; they are taken out, so they are not used
    again."""


POLL_INTERVAL_S = 0.01
"""Pause between two looks into a buffer that has too few groups."""


class BufferRolledBack(RuntimeError):
    """Redis does not know any more that a step was finished: a learner begins again from its checkpoint, which knows
    what was used.
    """


class StepFinished(Exception):
    """A step that was finished is drawn again: a learner that starts from a checkpoint calls `OnlineBuffer.resume`
    first.
    """


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether an actor may write more groups now."""

    granted: bool
    """Whether it may write any."""
    groups: int
    """How many: at most what was asked for."""
    reason: str
    """Why not all, naming who is waited for; empty when all were granted."""
    waits_for: str
    """learner, executor or actor; empty when all were granted."""
    version: int
    """Newest policy version the learner drew with, -1 before its first draw: an actor that holds an older one loads
    weights first."""


class OnlineBuffer(Place):
    """Complete groups of samples, from the last verdict until the learner has finished with them.

    `capacity` bounds the samples to train on that are buffered or drawn and not finished; their groups' greedy programs
    come beside.
    """

    def __init__(self, client: redis.Redis, scripts: Scripts, keys: Keys) -> None:
        super().__init__(client, scripts, keys)
        self.validate: Callable[[Program], None] | None = None
        """Raises Malformed for a program that who draws cannot use; every rank has to have the same."""
        self.read_s = 0.0
        """Seconds that the last draw took to read its groups."""
        self._finished = 0
        """Last step that was finished from here."""

    def admit(self, actor: str, groups: int) -> Admission:
        """Asks whether `actor` may write `groups` groups; what is granted is reserved until pushed, asked again, or
        released.

        With when_stale `drop` always. With `wait` so many that each of them, drawn oldest first, is used at most
        `max_staleness` versions after the newest one now known, and that all of them find room in the buffer. Admit,
        load the newest weights, sample, push: then the bound holds. No bound that is waited for can keep the learner
        from filling its next step.
        """
        granted, version, outstanding, bound, waits_for = self._scripts.run("admit", actor, groups)
        name = waits_for.decode()
        reason = f"{outstanding} of at most {bound} groups are under way; waiting for the {name}" if name else ""
        return Admission(granted > 0, granted, reason, name, int(version))

    def release(self, actor: str) -> None:
        """Drops the reservation of an actor that will not push what it was admitted for; its unpushed visits go to the
        next who asks.
        """
        self._scripts.run("release", actor)

    def draw(self, step: int, groups: int, policy_version: int, block_s: float = 0.0) -> list[Group] | None:
        """The groups of one learner step; None when there are too few after `block_s` seconds.

        Every rank and every retry gets the same groups for a step. Groups of which a token is more than `max_staleness`
        versions older than `policy_version` are set aside before and counted as stale. Before the first draw the buffer
        has to hold `fill_before_start` samples. With `refresh_steps` 1 the oldest groups are drawn (lowest version,
        then arrival); otherwise the next of a seeded permutation of what was buffered when the snapshot was taken.
        Members that were dead-lettered, do not decode or fail `validate` are missing from their group; in the extreme a
        group has no samples, or only its greedy one.

        Raises:
            StepFinished: all samples of this step got their fates before.
            BufferRolledBack: the server lost its last seconds, a step that was finished from here among them.
        """
        deadline = time.monotonic() + block_s
        while True:
            status, *rest = self._scripts.run("draw", step, groups, policy_version, self._finished)
            if status == b"drawn":
                began = time.monotonic()
                drawn = read_groups(
                    self._client, self._scripts, self._keys, [group_id.decode() for group_id in rest], self.validate
                )
                self.read_s = time.monotonic() - began
                return drawn
            if status == b"finished":
                raise StepFinished(
                    f"step {step} is drawn again, steps up to {int(rest[0])} are finished: call resume() with the "
                    "checkpoint's step"
                )
            if status == b"behind":
                raise BufferRolledBack(
                    f"step {self._finished} is finished, but Redis has lost its last seconds: it knows of step "
                    f"{int(rest[0])}"
                )
            if time.monotonic() >= deadline:
                return None
            time.sleep(POLL_INTERVAL_S)

    def finish(self, step: int, fates: Mapping[str, LearnerFate]) -> int:
        """Records what became of samples drawn for `step` (fate by program id); returns for how many it was new.

        Ranks may call it for their parts. When no sample of the step is left, its groups leave the buffer for the
        archive.

        Raises:
            KeyError: a program that this step did not draw; nothing is changed.
        """
        arguments = [part for program_id, fate in fates.items() for part in (program_id, fate)]
        status, answer, *finished = self._scripts.run("finish", step, *arguments)
        if status == b"unknown":
            raise KeyError(f"step {step} did not draw program {answer.decode()!r}")
        self._finished = max(self._finished, int(finished[0]))
        return int(answer)

    def position(self) -> BufferPosition:
        """What the learner's checkpoint keeps: call it after `finish` of the checkpoint's step and before the next
        step's draw.
        """
        step, forgotten, *records = self._scripts.run("position")
        decoded = [msgspec.msgpack.decode(record, type=tuple[int, int, list[str]], strict=False) for record in records]
        return BufferPosition(
            step=int(step), forgotten=int(forgotten), consumed=[Consumed(*record) for record in decoded]
        )

    def confirm_checkpoint(self, position: BufferPosition) -> None:
        """The checkpoint with this position is complete and durable: what was used before the one before it may be
        forgotten.
        """
        self._scripts.run("checkpointed", position.step)

    def resume(self, position: BufferPosition) -> Resumed:
        """To be called once by a learner that goes on from a checkpoint, before its first draw (rank 0; the others
        after it).

        A restarted learner without a checkpoint passes `BufferPosition(step=0)`. Whatever happened since the
        checkpoint, in the learner, to its machine or to Redis, no sample is used more than `max_uses` times over all
        attempts together:

        - steps finished after the checkpoint stay finished, their samples are not given again (`Resumed.lost_steps`);
        - draws of later steps that were not finished are undone, their groups can be drawn again;
        - draws of the checkpoint's step or earlier that were not finished count as trained: the checkpoint holds their
          effect;
        - groups that the position names and Redis still holds (it lost its last seconds with the machine) count as
          trained.

        The next step to draw is `position.step + 1`. Policy versions and snapshots begin anew with that draw.

        Raises DataLost when Redis has lost more than the position makes up for.
        """
        self.require(position)
        uses: list[str | int] = []
        for consumed in position.consumed:
            if consumed.step <= position.step:
                for group in consumed.groups:
                    uses += [consumed.step, group]
        answer = self._messages.send("resume", position.step, *uses)
        self._finished = position.step
        back, torn, lost, recovered, *steps = (int(value) for value in answer)
        return Resumed(back, torn, steps, lost, recovered)

    def require(self, position: BufferPosition) -> None:
        """Raises DataLost when Redis is further behind the checkpoint than its position makes up for."""
        finished = self.finished_step()
        if position.forgotten and finished < position.forgotten:
            raise DataLost(
                f"Redis at {self._scripts.where} has gone back in time: it knows of {finished} finished steps, and "
                "the checkpoint of step "
                f"{position.step} only of what was used after step {position.forgotten}"
            )

    def finished_step(self) -> int:
        """Last step all of whose samples have their fates; 0 before the first."""
        return int(self._client.hget(self._keys.state, "finished_step") or 0)

    def length(self) -> int:
        """Programs buffered, greedy ones too, drawn ones until they are finished."""
        return int(self._client.hget(self._keys.counts, "buffered") or 0)
