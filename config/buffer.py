"""The work queue and the online buffer, and the Redis server that holds them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rltf.config.base import ConfigSection


class BufferConfig(ConfigSection):
    """The online buffer between executors and learner, and the work queue between actors and executors. Read aloud,

        BufferConfig(capacity=6400, when_full="evict", max_uses=1, max_staleness=2, when_stale="drop", refresh_steps=50)

    holds 6,400 samples to train on, evicts the oldest when full, gives each sample to one step at most, drops what is
    more than two policy versions old, and draws from a snapshot that is taken anew every 50 steps.
    """

    capacity: int = Field(6400, ge=1)
    """Length of the online buffer in samples to train on; the greedy programs of their groups come beside them."""
    when_full: Literal["evict", "wait"] = "wait"
    """evict: the oldest groups make room and are counted; wait: actors pause before there would be no room."""
    max_uses: int = Field(1, ge=1)
    """Learner steps that may draw a sample, at most, over all restarts of the learner together."""
    max_staleness: int | None = Field(2, ge=0)
    """Most policy versions between the one that sampled a program and the learner's own; none: no bound."""
    when_stale: Literal["drop", "wait"] = "wait"
    """drop: samples beyond the bound are set aside and counted; wait: actors pause before they would overproduce."""
    refresh_steps: int = Field(1, ge=1)
    """Learner steps between two snapshots of the buffer; batches are drawn from the newest snapshot."""
    fill_before_start: int = Field(0, ge=0)
    """Samples to train on that must be buffered before the learner's first step."""
    work_capacity: int = Field(2048, ge=1)
    """Length of the work queue in programs; when it is full the actors wait."""
    lease_s: float = Field(60.0, gt=0)
    """Seconds after which a claimed program that its executor neither graded nor refreshed is another's; longer than
    any grading."""
    archive_capacity: int = Field(8192, ge=1)
    """Samples with a known fate kept for the driver to write out, beside an evaluation's; beyond it the oldest are lost
    and counted."""


class RedisConfig(ConfigSection):
    """The Redis server that holds work queue, online buffer and ledger."""

    url: str = ""
    """An existing server, redis://[[user]:password@]host:port/db, rediss:// for TLS; empty: a server of the run's own
    is started."""
    timeout_s: float = Field(10.0, gt=0)
    """Longest wait for an answer of the server."""
    fsync: Literal["everysec", "always"] = "everysec"
    """When the run's own server makes the disk durable: a power loss costs its last seconds, or with always nothing
    (slower)."""
    outage_s: float = Field(60.0, gt=0)
    """Longest time for which a server that does not answer is tried again; then the run ends, and can be resumed."""
