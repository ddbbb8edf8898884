"""Keeps an actor's engine at the newest version that can be trusted, or at the one that an evaluation is of."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Literal

from rltf.telemetry.recorder import Recorder
from rltf.weights.manifest import Bucket, ChecksumError, Manifest, WeightsUnavailable
from rltf.weights.protocol import WeightSource

log = logging.getLogger(__name__)

MAX_FAILURES = 5
"""Failed loads in a row after which an actor gives up; each is counted."""
BACKOFF_S = 0.5
"""Seconds after a failed load in which none is tried, doubled with each further one: 7.5 s for the five of them."""

Load = Callable[[Manifest, Sequence[Bucket]], None]
Found = tuple[Manifest, Sequence[Bucket]] | None


class WeightLoader:
    """Loads versions into an engine.

    A version that fails its checksum is counted, tried again, and never generated with; one of an evaluation that fails
    it every time counts as no longer kept.
    """

    def __init__(self, load: Load, source: WeightSource, recorder: Recorder) -> None:
        """`load` takes a version in (`actors.engine.Engine.load`)."""
        self._load = load
        self._source = source
        self._recorder = recorder
        self._failures = 0
        self._try_at = 0.0
        self._corrupt: set[int] = set()
        """Versions of evaluations that are asked for no more."""
        self.version = -1
        """The version in use; -1 before the first."""

    def refresh(self) -> bool:
        """Loads a newer version if there is one; whether it did.

        A failed load leaves the weights as they were, and for a while the next calls do nothing. Raises the last
        failure after MAX_FAILURES in a row.
        """
        return self._take(lambda: self._source.latest(self.version)) == "loaded"

    def use(self, version: int) -> bool:
        """Goes to a version that was published, or to the newest where that one is not kept any more, or its bytes stay
        corrupt; whether it, or a newer one, is in use. Failed loads are as in `refresh`.
        """
        if version == self.version:
            return True
        exact: Found = None

        def find() -> Found:
            nonlocal exact
            exact = None if version in self._corrupt else self._source.exactly(version)
            return exact or self._source.latest(self.version)

        try:
            taken = self._take(find)
        except ChecksumError as error:
            if exact is None:
                raise
            log.warning("%s: its evaluation goes on with the newest version", error)
            self._corrupt.add(version)
            self._failures, taken = 0, "failed"
        # A source that was started again and has nothing yet is waited for, unless a newer one is in use anyway.
        return taken != "failed" and self.version >= version

    def _take(self, find: Callable[[], Found]) -> Literal["loaded", "nothing", "failed"]:
        """Loads what `find` gives."""
        if time.monotonic() < self._try_at:
            return "failed"
        try:
            found = find()
            if found is None:
                return "nothing"
            manifest, buckets = found
            with self._recorder.phase("load_weights"):
                self._load(manifest, buckets)
        except (ChecksumError, WeightsUnavailable) as error:
            self._try_at = time.monotonic() + BACKOFF_S * 2.0**self._failures
            self._failures += 1
            self._recorder.count("corrupt_versions" if isinstance(error, ChecksumError) else "unavailable_versions")
            if self._failures >= MAX_FAILURES:
                raise
            return "failed"
        self._failures = 0
        self.version = manifest.version
        self._source.acknowledge(manifest.version)
        self._recorder.gauge("version", manifest.version)
        return "loaded"
