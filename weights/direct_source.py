"""An actor's end of the direct way: asks the learner for its newest version, and the weight store whenever that does
not work.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from rltf.telemetry.recorder import Recorder
from rltf.weights.buckets import Bucket, Bytes, Manifest
from rltf.weights.direct_sender import Offer
from rltf.weights.line import Line, LineLost, Message
from rltf.weights.pair import Pair, TransferFailed, store_at

_LOOK_S = 0.5
"""Seconds between two looks whether a learner offers to send its versions."""
_AGAIN_S = 30.0
"""Seconds after a failure before the same learner is tried again; doubled with each further one, up to `_LONGEST_S`."""
_LONGEST_S = 600.0

log = logging.getLogger(__name__)


class Store(Protocol):
    """The weight store (`weights.ray_store.StoreSource`)."""

    def latest(self, newer_than: int) -> tuple[Manifest, list[Bucket]] | None:
        """See `weights.protocol.WeightSource`."""

    def acknowledge(self, version: int) -> None:
        """See `weights.protocol.WeightSource`."""

    def offered(self) -> Offer | None:
        """Where the learner sends its versions from, if it does. Raises WeightsUnavailable."""


class DirectSource:
    """The learner as an actor's source of weights (`weights.protocol.WeightSource`), the weight store behind it.

    What fails on the direct way is told in the log, once for as long as the reason stays the same, and counted
    (`direct_failures`); the version then comes from the store, as does every one until a learner is tried again: at
    once when it is another one, else after a while.
    """

    def __init__(self, name: str, store: Store, device: torch.device, timeout_s: float, recorder: Recorder) -> None:
        """`name`: the actor's. `timeout_s`: longest wait for an answer of the learner, and for one tensor."""
        self._name = name
        self._store = store
        self._device = device
        self._timeout_s = timeout_s
        self._recorder = recorder
        self._link: _Link | None = None
        self._look_at = 0.0
        self._offer: Offer | None = None
        """The one that was tried last."""
        self._failures = 0
        self._try_at = 0.0
        self._told = ""
        self._given: int | None = None
        """Version that came directly and is not acknowledged."""

    def latest(self, newer_than: int) -> tuple[Manifest, Sequence[Bytes]] | None:
        """The newest version beyond `newer_than`, None when there is none; on this actor's device if it came from the
        learner.

        Raises WeightsUnavailable when the store does not answer within its bound.
        """
        if self._given is not None:
            # Only what could not be loaded is asked for again without having been acknowledged.
            self._give_up(f"version {self._given} came from the learner and could not be loaded")
            return self._store.latest(newer_than)
        try:
            found = self._directly(newer_than)
        except (
            LineLost,
            TransferFailed,
            RuntimeError,
        ) as error:  # RuntimeError: torch's own, of whatever happens on a GPU
            self._give_up(str(error))
            found = "store"
        if isinstance(found, str):
            return self._store.latest(newer_than) if found == "store" else None
        self._given = found[0].version
        return found

    def acknowledge(self, version: int) -> None:
        """The actor has loaded `version`."""
        if self._given == version:
            self._given, self._failures, self._told = None, 0, ""
            self._recorder.count("direct_versions")
        else:
            self._store.acknowledge(version)

    def close(self) -> None:
        """Ends the line to the learner."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _directly(self, newer_than: int) -> tuple[Manifest, list[Tensor]] | str:
        """The version, or "store" when it has to come from there, or "none" when there is none.

        Raises LineLost, TransferFailed.
        """
        if self._link is None:
            now = time.monotonic()
            if now < self._look_at:
                return "store"
            self._look_at = now + _LOOK_S
            offer = self._store.offered()
            if offer is None or (offer == self._offer and now < self._try_at):
                return "store"
            if offer != self._offer:
                self._offer, self._failures = offer, 0
            with self._recorder.phase("connect_weights"):
                self._link = _Link(self._name, offer, self._device, self._timeout_s)
        answer = self._link.ask(newer_than)
        if answer["answer"] != "sends":
            return str(answer["answer"])
        with self._recorder.phase("receive_weights"):
            return self._link.receive(answer)

    def _give_up(self, reason: str) -> None:
        """The direct way is left for a while. Raises WeightsUnavailable."""
        self.close()
        self._given = None
        self._look_at = time.monotonic() + _LOOK_S
        if self._store.offered() is None:
            return  # the learner has ended in order
        self._try_at = time.monotonic() + min(_LONGEST_S, _AGAIN_S * 2**self._failures)
        self._failures += 1
        self._recorder.count("direct_failures")
        if reason != self._told:
            self._told = reason
            log.warning("weights come from the weight store for now: %s", reason)


class _Link:
    """Line and pair with one learner."""

    def __init__(self, name: str, offer: Offer, device: torch.device, timeout_s: float) -> None:
        """Raises LineLost, TransferFailed."""
        self._device = device
        self._timeout_s = timeout_s
        self._buckets: list[Tensor] = []
        self._line = Line.to((offer.address, offer.port), "the learner", timeout_s)
        try:
            self._line.say({"token": offer.token, "name": name}, timeout_s)
            port = int(self._line.hear("where to meet", timeout_s)["port"])
            store = store_at(offer.address, port, timeout_s)
            self._pair = Pair(store, 1, device, self._line.near, "the learner", timeout_s, self._line.is_open)
        except BaseException:
            self._line.close()
            raise

    def ask(self, newer_than: int) -> Message:
        """The learner's answer.

        It waits for another actor's transfer as long as this one waits for it, hence twice the bound.
        """
        self._line.say({"newer_than": newer_than}, self._timeout_s)
        return self._line.hear(f"a version newer than {newer_than}", 2 * self._timeout_s)

    def receive(self, answer: Message) -> tuple[Manifest, list[Tensor]]:
        """What the learner sends after `answer`, not verified.

        The buckets are this link's own, and used again for the next version.
        """
        manifest = _manifest(answer["manifest"])
        if [bucket.nbytes for bucket in self._buckets] != list(manifest.bucket_bytes):
            self._buckets = [
                torch.empty(size, dtype=torch.uint8, device=self._device) for size in manifest.bucket_bytes
            ]
        for bucket in self._buckets:
            self._pair.receive(bucket)
        self._line.say({"received": manifest.version}, self._timeout_s)
        return manifest, self._buckets

    def close(self) -> None:
        """Ends both."""
        self._line.close()
        self._pair.close()


def _manifest(values: dict[str, Any]) -> Manifest:
    """From JSON, which knows no tuples."""

    def frozen(value: Any) -> Any:
        return tuple(map(frozen, value)) if isinstance(value, list) else value

    return Manifest(**{name: frozen(value) for name, value in values.items()})
