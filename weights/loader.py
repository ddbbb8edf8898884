"""Keeps an actor's policy at the newest version that can be trusted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from rltf.telemetry.recorder import Recorder
from rltf.weights.buckets import Bytes, ChecksumError, Manifest, WeightsUnavailable, load_into
from rltf.weights.protocol import WeightSource

MOST_FAILURES = 5
"""Failed loads in a row after which an actor gives up; each is counted."""
PAUSE_S = 0.5
"""Seconds after a failed load in which none is tried, doubled with each further one: 7.5 s for the five of them."""

Load = Callable[[Any, Manifest, Sequence[Bytes]], None]


class WeightLoader:
    """Loads versions into a model in place.

    A version that fails its checksum is counted, tried again, and never generated with.
    """

    def __init__(self, model: Any, source: WeightSource, recorder: Recorder, load: Load = load_into) -> None:
        """`load` puts a version into the model (`weights.buckets.load_into`, or `weights.adapters.AdapterLoader`)."""
        self._model = model
        self._load = load
        self._source = source
        self._recorder = recorder
        self._failures = 0
        self._try_at = 0.0
        self.version = -1
        """The version in the model; -1 before the first."""

    def refresh(self) -> bool:
        """Loads a newer version if there is one; whether it did.

        A failed load leaves the model as it was, and for a while the next calls do nothing. Raises the last failure
        after MOST_FAILURES in a row.
        """
        if time.monotonic() < self._try_at:
            return False
        try:
            found = self._source.latest(self.version)
            if found is None:
                return False
            manifest, buckets = found
            with self._recorder.phase("load_weights"):
                self._load(self._model, manifest, buckets)
        except (ChecksumError, WeightsUnavailable) as error:
            self._try_at = time.monotonic() + PAUSE_S * 2.0**self._failures
            self._failures += 1
            self._recorder.count("corrupt_versions" if isinstance(error, ChecksumError) else "unavailable_versions")
            if self._failures >= MOST_FAILURES:
                raise
            return False
        self._failures = 0
        self.version = manifest.version
        self._source.acknowledge(manifest.version)
        self._recorder.gauge("version", manifest.version)
        return True
