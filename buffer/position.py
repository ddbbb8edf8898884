"""What a checkpoint keeps of the buffer, and what a learner that starts from one is told."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

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
