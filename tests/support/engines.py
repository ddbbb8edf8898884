"""An engine that writes token by token, as far as the test allows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Self

from rltf.actors.engine import Completion, Request
from rltf.buffer.records import VersionRun
from rltf.config import Config
from rltf.policy.policy import Policy, PolicySpec, build_policy
from rltf.weights.manifest import Bucket, Manifest


class ScriptedEngine:
    """One token of every completion under way for each tick that the test grants; the token tells the version."""

    TOKEN = 100
    """Version 0 writes this token, version 1 the next one."""

    def __init__(self, policy: Policy, lengths: Callable[[int], int] = lambda number: 6) -> None:
        """`lengths`: tokens of each completion, from the number of its request."""
        self.policy = policy
        self.version = -1
        self.ticks = 0
        """Tokens written of the request that is under way for longest, and of those before it."""
        self.aborted: list[str] = []
        self.closed = False
        self._lengths = lengths
        self._submitted = 0
        self._granted = threading.Semaphore(0)
        self._open: dict[str, tuple[Request, int, list[int]]] = {}
        """Request, its length, versions of its tokens."""

    @classmethod
    def from_config(cls, spec: PolicySpec, config: Config, device: str) -> Self:
        return cls(build_policy(spec, weights=False))

    def allow(self, ticks: int) -> None:
        self._granted.release(ticks)

    def submit(self, key: str, request: Request) -> None:
        if key in self._open:
            raise ValueError(f"request {key!r} is under way")
        self._open[key] = request, self._lengths(self._submitted), []
        self._submitted += 1

    def step(self) -> list[tuple[str, list[Completion]]]:
        if not self._open or not self._granted.acquire(timeout=0.01):
            return []
        self.ticks += 1
        for _, _, versions in self._open.values():
            versions.append(self.version)
        for request, _, _ in list(self._open.values()):
            request.on_progress()
        ended = [key for key, (_, length, versions) in self._open.items() if len(versions) == length]
        return [(key, _completions(*self._open.pop(key))) for key in ended]

    def unfinished(self) -> int:
        return len(self._open)

    def abort(self, key: str) -> None:
        if self._open.pop(key, None) is not None:
            self.aborted.append(key)

    def load(self, manifest: Manifest, buckets: Sequence[Bucket]) -> None:
        manifest.verify(buckets)
        self.version = manifest.version

    def close(self) -> None:
        self._open.clear()
        self.closed = True


def _completions(request: Request, length: int, versions: list[int]) -> list[Completion]:
    runs = [
        VersionRun(version, index)
        for index, version in enumerate(versions)
        if index == 0 or version != versions[index - 1]
    ]
    ids = [ScriptedEngine.TOKEN + version for version in versions]
    return [
        Completion(ids, [-1.0] * length, [], "length", request.greedy and number == request.samples, runs)
        for number in range(request.completions)
    ]
