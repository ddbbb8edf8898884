"""Runs the scripts under ``scripts/`` on the server: by their SHA, in pipelines, and again after a server restart
forgot them.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import msgspec
import redis
from redis.exceptions import NoScriptError, ResponseError

from rltf.buffer.connection import LOST, DataLost
from rltf.buffer.keys import Keys, lua_prelude

Argument = str | bytes | int | float

STAGED_TTL_MS = 600_000
"""Life of staged bytes that no script takes: far longer than a command is retried."""


@dataclass(frozen=True, slots=True)
class Call:
    """One script with its arguments."""

    name: str
    arguments: Sequence[Argument]
    staged: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    """Hashes by key, written just before the script runs. Large values go this way: as arguments they would be copied
    through Lua."""


@functools.cache
def script_source(name: str) -> tuple[str, str]:
    """Source of the script `name`, with key names and common.lua in front, and its SHA-1."""
    folder = resources.files("rltf.buffer") / "scripts"
    source = "\n".join([lua_prelude(), (folder / "common.lua").read_text(), (folder / f"{name}.lua").read_text()])
    return source, hashlib.sha1(source.encode()).hexdigest()


class Scripts:
    """The scripts of one run and purpose. Each is given the key prefix, the settings, then its own arguments."""

    def __init__(self, client: redis.Redis, base: str, settings: dict[str, Any], where: str = "") -> None:
        """`where`: the server's address, for messages."""
        self._client: Any = client
        self.where = where
        self._base = base
        self._settings = msgspec.msgpack.encode(settings)

    def run(self, name: str, *arguments: Argument) -> Any:
        """The script's answer."""
        return self.run_many([Call(name, arguments)])[0]

    def run_many(self, calls: Sequence[Call]) -> list[Any]:
        """The answers of several scripts sent in one round trip; each is atomic by itself.

        Raises:
            redis.RedisError: the server stayed away longer than the client's retries, or a script failed.
            DataLost: the run's data are not there any more, or are another attempt's.
        """
        if not calls:
            return []
        answers: list[Any] = []
        for _ in range(3):
            pipe = self._client.pipeline(transaction=False)
            for call in calls:
                for key, fields in call.staged.items():
                    pipe.hset(key, mapping=fields)
                    pipe.pexpire(key, STAGED_TTL_MS)
                pipe.evalsha(script_source(call.name)[1], 1, self._base, self._settings, *call.arguments)
            answers = pipe.execute(raise_on_error=False)
            if not any(isinstance(answer, NoScriptError) for answer in answers):
                break
            # A new or restarted server knows no script. Those of this batch that did run may run again: that is every
            # script's promise.
            for name in {call.name for call in calls}:
                self._client.script_load(script_source(name)[0])
        for answer in answers:
            if isinstance(answer, ResponseError) and str(answer).startswith(LOST):
                raise DataLost(self._lost(str(answer).removeprefix(LOST).strip())) from None
            if isinstance(answer, Exception):
                raise answer
        ends = itertools.accumulate(2 * len(call.staged) + 1 for call in calls)
        return [answers[end - 1] for end in ends]

    def _lost(self, holder: str) -> str:
        if holder:
            return f"the run's data in Redis at {self.where} have been taken over by {holder}"
        return (
            f"Redis at {self.where} has lost the run's data: nothing of it is there any more (it was flushed, came "
            "back without its data, "
            "or with another run's)"
        )


class IdempotentSender:
    """The messages of one sender.

    One is under way at a time, since a script remembers only the last number of each sender.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._sender = uuid.uuid4().hex
        self._number = 0
        self._one_at_a_time = threading.Lock()

    def send(self, script: str, *arguments: Argument) -> Any:
        """The answer of `script`, whose first arguments are the sender and the number of the message.

        Raises what `Scripts.run` does.
        """
        with self._one_at_a_time:
            self._number += 1
            return self._scripts.run(script, self._sender, self._number, *arguments)


class Place:
    """A part of what a run keeps in Redis: read directly, changed by scripts, one message at a time where a script must
    not run twice.
    """

    def __init__(self, client: redis.Redis, scripts: Scripts, keys: Keys) -> None:
        self._client: Any = client
        self._scripts = scripts
        self._keys = keys
        self._messages = IdempotentSender(scripts)
