"""The tests of every problem, stored once by content hash; executors fetch and cache them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import redis

from rltf.buffer.keys import Keys


class ProblemStore:
    """Opaque bytes by problem id. The launcher puts, executors read."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client: Any = client
        self._keys = keys

    def put(self, problem_id: str, suite_json: bytes, content_hash: str) -> None:
        """Stores the tests of one problem; the same tests are stored once, under whatever problems have them."""
        self.put_many([(problem_id, suite_json, content_hash)])

    def put_many(self, problems: Iterable[tuple[str, bytes, str]]) -> None:
        """Stores (problem id, tests, content hash) of many problems, 256 in a round trip."""
        pipe = self._client.pipeline(transaction=False)
        for number, (problem_id, suite_json, content_hash) in enumerate(problems, start=1):
            pipe.hset(self._keys.suites, content_hash, suite_json)
            pipe.hset(self._keys.problems, problem_id, content_hash)
            if number % 256 == 0:
                pipe.execute()
        pipe.execute()

    def suite(self, problem_id: str) -> tuple[str, bytes]:
        """Content hash and tests.

        Raises:
            KeyError: no problem of this id was stored.
        """
        found = self._client.hget(self._keys.problems, problem_id)
        if found is None:
            raise KeyError(f"problem {problem_id!r} is not in the problem store")
        content_hash = bytes(found).decode()
        suite = self._client.hget(self._keys.suites, content_hash)
        if suite is None:
            raise KeyError(f"tests {content_hash} of problem {problem_id!r} are not in the problem store")
        return content_hash, bytes(suite)

    def __len__(self) -> int:
        """Number of problems stored."""
        return int(self._client.hlen(self._keys.problems))
