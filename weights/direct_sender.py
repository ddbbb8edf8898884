"""The learner's end of the direct way: sends the newest version from its own memory to each actor that asks, while
training goes on.

One line and one pair of processes for each actor. One transfer at a time, so that each has all of the bandwidth; who
comes when another takes long is sent to the weight store.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial

import torch

from rltf.weights.line import Line, LineLost, Message
from rltf.weights.pair import Pair, TransferFailed, meeting_store
from rltf.weights.snapshot import Snapshot

DIRECT_TIMEOUT_S = 60.0
"""Longest wait of a learner or an actor for the other on the direct way: to meet, to answer, for one bucket of
weights."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Offer:
    """Where a learner sends its versions from; plain data, picklable."""

    address: str
    port: int
    token: str
    """Secret that an actor has to know; another one for each life of the learner."""


class WeightSender:
    """Listens for actors. Snapshots are written by the learner's own thread and read by the threads of this class."""

    def __init__(self, address: str, device: torch.device, timeout_s: float) -> None:
        """`address`: of this machine, that actors can reach.

        `timeout_s`: longest wait for an actor, or for another's transfer.
        """
        self._address = address
        self._device = device
        self._timeout_s = timeout_s
        self._listener = socket.create_server(("", 0))
        self.offer = Offer(address, self._listener.getsockname()[1], secrets.token_hex(16))
        self._change = threading.Lock()
        self._newest = -1
        self._snapshot: Snapshot | None = None
        """Of the newest version, or of an older one when the newest is in the weight store alone."""
        self._sending: Snapshot | None = None
        self._turn = threading.Lock()
        self._lines: set[Line] = set()
        self._closed = False
        self.sent = 0
        """Versions that arrived, over all actors."""
        self._start(self._accept, "weights-listen")

    def is_used(self, snapshot: Snapshot) -> bool:
        """Whether it is sent, or would be to who asks: it must not be written then."""
        with self._change:
            return snapshot is self._snapshot or snapshot is self._sending

    def publish(self, snapshot: Snapshot) -> None:
        """From now on its version is the newest; the snapshot is not written again before another one's is."""
        with self._change:
            self._snapshot, self._newest = snapshot, snapshot.version

    def publish_elsewhere(self, version: int) -> None:
        """The newest version is `version`, and only the weight store has it."""
        with self._change:
            self._newest = version

    def close(self) -> None:
        """Ends all lines: actors go to the weight store."""
        with self._change:
            self._closed = True
            lines = list(self._lines)
        with suppress(OSError):  # nobody was connecting
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in lines:
            line.close()

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                if self._closed:
                    return
                raise
            self._start(partial(self._serve, connected), "weights-send")

    def _serve(self, connected: socket.socket) -> None:
        """One actor, from its first message until it or this process goes."""
        try:
            line = Line(connected, "an actor")
        except OSError as error:
            log.info("who connected was gone at once: %s", error)
            connected.close()
            return
        with self._change:
            if self._closed:
                line.close()
                return
            self._lines.add(line)
        pair: Pair | None = None
        try:
            hello = line.hear("its name", self._timeout_s)
            if not hmac.compare_digest(str(hello.get("token")).encode(), self.offer.token.encode()):
                raise LineLost("who connected does not know the token")
            line.peer = str(hello.get("name"))[:100]
            store = meeting_store(self._address, self._timeout_s)
            line.say({"port": store.port}, self._timeout_s)
            pair = Pair(store, 0, self._device, line.near, line.peer, self._timeout_s, line.is_open)
            while (asked := self._next(line)) is not None:
                self._answer(line, pair, asked)
        except (
            LineLost,
            TransferFailed,
            RuntimeError,
            OSError,
        ) as error:  # RuntimeError: torch's own, of whatever happens on a GPU
            if not self._closed:
                log.warning("%s gets its weights from the weight store from now on: %s", line.peer, error)
        finally:
            line.close()
            if pair is not None:
                pair.close()
            with self._change:
                self._lines.discard(line)

    def _next(self, line: Line) -> Message | None:
        """What the actor asks for; none when it has gone, between two questions."""
        try:
            return line.hear("its next question", None)
        except LineLost as error:
            if not self._closed:
                log.info("%s", error)
            return None

    def _answer(self, line: Line, pair: Pair, asked: Message) -> None:
        """Sends the newest version beyond the one that the actor has, if there is one here.

        Raises LineLost, TransferFailed.
        """
        newer_than = int(asked.get("newer_than", -1))
        if self._newest <= newer_than:
            line.say({"answer": "none"}, self._timeout_s)
            return
        if not self._turn.acquire(timeout=self._timeout_s):
            line.say({"answer": "store"}, self._timeout_s)
            return
        try:
            with self._change:
                found = (
                    self._snapshot if self._snapshot is not None and self._snapshot.version == self._newest else None
                )
                self._sending = found
            if found is None:
                line.say({"answer": "store"}, self._timeout_s)
                return
            with found.reading():
                line.say({"answer": "sends", "manifest": asdict(found.manifest())}, self._timeout_s)
                for bucket in found.buckets:
                    pair.send(bucket)
            line.hear("that it has received the version", self._timeout_s)
            self.sent += 1
        finally:
            with self._change:
                self._sending = None
            self._turn.release()

    def _start(self, target: Callable[[], None], name: str) -> None:
        threading.Thread(target=target, name=name, daemon=True).start()
