"""Runs the scripts under ``scripts/`` on the server: by their SHA, in pipelines, and again after a server restart forgot them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

import msgspec
import redis
from redis.exceptions import NoScriptError

from buffer.keys import lua_prelude

Argument = str | bytes | int | float
Call = tuple[str, Sequence[Argument]]


@functools.cache
def source_of(name: str) -> tuple[str, str]:
    """Source of the script `name`, with key names and common.lua in front, and its SHA-1."""
    folder = resources.files("buffer") / "scripts"
    source = "\n".join([lua_prelude(), (folder / "common.lua").read_text(), (folder / f"{name}.lua").read_text()])
    return source, hashlib.sha1(source.encode()).hexdigest()


class Scripts:
    """The scripts of one run and purpose. Each is given the key prefix, the settings, then its own arguments."""

    def __init__(self, client: redis.Redis, base: str, settings: dict[str, Any]) -> None:
        self._client: Any = client
        self._base = base
        self._settings = msgspec.msgpack.encode(settings)

    def run(self, name: str, *arguments: Argument) -> Any:
        """The script's answer."""
        return self.run_many([(name, arguments)])[0]

    def run_many(self, calls: Sequence[Call]) -> list[Any]:
        """The answers of several scripts sent in one round trip; each is atomic by itself.

        Raises:
            redis.RedisError: the server stayed away longer than the client's retries, or a script failed.
        """
        if not calls:
            return []
        answers: list[Any] = []
        for _ in range(3):
            pipe = self._client.pipeline(transaction=False)
            for name, arguments in calls:
                pipe.evalsha(source_of(name)[1], 1, self._base, self._settings, *arguments)
            answers = pipe.execute(raise_on_error=False)
            if not any(isinstance(answer, NoScriptError) for answer in answers):
                break
            # A new or restarted server knows no script. Those of this batch that did run may run again: that is every script's promise.
            for name in {name for name, _ in calls}:
                self._client.script_load(source_of(name)[0])
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers
