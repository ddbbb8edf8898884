"""Connecting to Redis: one place for retry, time limits, TLS and the sentences that a person reads when it does not work."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from config import UserError

OLDEST_SERVER = (6, 2)
"""XAUTOCLAIM and streams inside scripts need this version; every Valkey has them."""


def masked(url: str) -> str:
    """`url` without its password, before the host or among the options, fit for a message or a log."""
    url = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"([?&](?:username|password)=)[^&]*", r"\1***", url)


def connect(url: str, timeout_s: float) -> redis.Redis:
    """A client of the server at `url` that rides over short outages.

    A command whose connection breaks is sent again with growing pauses, for about `timeout_s` seconds when the server refuses
    connections, so a server that is restarted meanwhile is not noticed. One answer is waited for `timeout_s` seconds at most.
    A command may so reach the server twice: everything the flow sends has the same effect when it does.

    Raises:
        UserError: the address is malformed, nothing answers there, the password is wrong, or the server cannot hold a run.
    """
    if not _is_address(url):
        raise UserError(f"redis.url {masked(url)!r} is no Redis address: write redis://[:password@]host:port/db, or rediss:// for TLS")
    # Pauses of 0.05, 0.1, .. 0.8 s (1.6 s together), then 1 s each.
    patient = Retry(ExponentialBackoff(cap=1.0, base=0.05), 5 + int(timeout_s))
    try:
        _check(url, timeout_s)
        return _client(url, timeout_s, patient)
    except (redis.RedisError, OSError, ValueError) as error:
        raise UserError(f"Redis at {masked(url)} cannot be used: {_reason(error)}; {_advice(error)}") from None


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # Reading the port raises when it is no number; its message would show what may be part of a password.
        return parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _client(url: str, timeout_s: float, retry: Retry) -> redis.Redis:
    client: redis.Redis = redis.Redis.from_url(
        url, protocol=2, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, socket_keepalive=True, retry=retry
    )
    return client


def _check(url: str, timeout_s: float) -> None:
    """One quick conversation without retries, so that a wrong address is reported at once."""
    probe = _client(url, timeout_s, Retry(NoBackoff(), 0))
    try:
        facts: dict[str, Any] = dict(probe.info("server")) | dict(probe.info("memory"))
    finally:
        probe.close()
    version = str(facts.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
        raise ValueError(f"it is version {version}, the flow needs {'.'.join(map(str, OLDEST_SERVER))} or later")
    if int(facts.get("maxmemory", 0)) and facts.get("maxmemory_policy", "noeviction") != "noeviction":
        raise ValueError(f"it deletes keys when memory is short (maxmemory-policy {facts['maxmemory_policy']}), which would lose samples")


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error.__context__ or error
    text = str(error) or str(cause) or type(error).__name__
    return " ".join(text.split()).rstrip(".")


def _advice(error: Exception) -> str:
    if isinstance(error, redis.AuthenticationError):
        return "give user and password in redis.url"
    if isinstance(error, ValueError):
        return "use another server (policy noeviction), or leave redis.url empty to have one started"
    return "start it or correct redis.url, or leave redis.url empty to have one started"
