"""Connecting to Redis: one place for retry, time limits, TLS and the sentences that a person reads when it does not
work.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import socket as socketlib
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from rltf.config import UserError

READ_BYTES = 1 << 20
"""Bytes asked of the socket at once: a step's groups are megabytes."""
OPTIONS = (
    "db", "username", "password", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password",
    "ssl_cert_reqs",
    "ssl_check_hostname",
)  # fmt: skip
"""What may follow `?` in an address; redis-py gives them their meaning. Files are read by every process, so on every
node."""
MIN_SERVER_VERSION = (6, 2)
"""XAUTOCLAIM and streams inside scripts need this version; every Valkey has them."""


def redacted(url: str) -> str:
    """`url` without its password, before the host or among the options (unknown ones may be meant as one), fit for a
    message or a log.
    """
    url = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"([?&](?!db=|ssl_(?!password))\w+=)[^&]*", r"\1***", url)


def server_of(url: str) -> tuple[str, int, int] | None:
    """Host, port and number of the database at `url`, with or without its password; None where there is no address in
    it.
    """
    try:
        parts = parse_url(url)
    except ValueError:
        return None
    return str(parts.get("host", "")), int(parts.get("port", 6379)), int(parts.get("db", 0))


ServerError = redis.RedisError
"""What a server that answers refuses: it is full, or read-only, or no longer the one it was."""


class ServerLost(Exception):
    """Redis could not be reached for longer than `redis.outage_s`; the message says where, how long, and what the last
    try met.
    """


class DataLost(LookupError):
    """Redis answers, and what the run keeps there is lost, or another attempt's by now; the message says where and
    what.
    """


LOST = "RUNLOST"
"""First word of the error with which a script refuses to touch what is not this attempt's (scripts/common.lua)."""


class _Patience(Retry):
    """Tries again for `outage_s` seconds, with pauses that grow to a second.

    A retry inside another one (redis-py connects again within a command that it repeats) is left to the outer one, so
    that bounds do not multiply. Each connection has a copy of its own, and is used by one thread at a time.
    """

    def __init__(self, url: str, outage_s: float) -> None:
        super().__init__(ExponentialBackoff(cap=1.0, base=0.05), -1)
        self._where = redacted(url)
        self._outage_s = outage_s
        self._trying = False

    def call_with_retry(self, do: Any, fail: Any, is_retryable: Any = None, with_failure_count: bool = False) -> Any:
        if self._trying:
            return do()
        began, failures = time.monotonic(), 0
        self._trying = True
        try:
            while True:
                try:
                    return do()
                except self._supported_errors as error:
                    if is_retryable is not None and not is_retryable(error):
                        raise
                    failures += 1
                    if with_failure_count:
                        fail(error, failures)
                    else:
                        fail(error)
                    if time.monotonic() - began > self._outage_s:
                        raise ServerLost(
                            f"Redis at {self._where} has not answered for {self._outage_s:g} s: {_reason(error)}"
                        ) from error
                    time.sleep(self._backoff.compute(failures))
        finally:
            self._trying = False


def connect(url: str, timeout_s: float, outage_s: float = 60.0, patient: bool = False, socket: str = "") -> redis.Redis:
    """A client of the server at `url` that rides over outages.

    `socket` is the Unix socket of the same server, used where it exists: on the machine of the server, by whoever may
    open it. It moves large records about twice as fast as TCP does; elsewhere `url` counts.

    One answer is waited for `timeout_s` seconds at most. A command whose connection breaks, or whose answer does not
    come, is sent again for `outage_s` seconds, so a server that is restarted meanwhile is not noticed; then ServerLost
    is raised. A command may so reach the server twice: everything the flow sends has the same effect when it does.

    Raises:
        UserError: the address is malformed, nothing answers there, the password is wrong, or the server cannot hold a
            run.
        ServerLost: instead of the UserError for a server that does not answer, after `outage_s` seconds, if `patient`.
    """
    _check_address(url)
    patience = _Patience(url, outage_s)
    try:
        near = socket if socket and _reachable(socket) else ""
        _check(url, timeout_s, patience if patient else Retry(NoBackoff(), 0), near)
        return _client(url, timeout_s, patience, near)
    except (redis.RedisError, OSError, ValueError) as error:
        raise UserError(f"Redis at {redacted(url)} cannot be used: {_reason(error)}; {_advice(error)}") from None


def _check_address(url: str) -> None:
    """Raises UserError when `url` is malformed; redis-py would take another database, or fail with a sentence for its
    developers.
    """
    wrong = (
        f"redis.url {redacted(url)!r} is no Redis address: write redis://[[user]:password@]host:port/db, or rediss:// "
        "for TLS"
    )
    try:
        parts = urlsplit(url)
        # Reading the port raises when it is no number; its message would show what may be part of a password.
        if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.port == 0:
            raise UserError(wrong)
    except ValueError:
        raise UserError(wrong) from None
    options = parse_qs(parts.query, keep_blank_values=True)
    database = options.get("db", [parts.path.strip("/")])[-1]
    if database and not (database.isascii() and database.isdigit()):
        raise UserError(f"redis.url {redacted(url)!r} names the database {database!r}: databases have numbers, from 0")
    for name in options:
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(OPTIONS)}"
            raise UserError(f"redis.url {redacted(url)!r} has an unknown option {name}: {hint}")
        if name.startswith("ssl_") and parts.scheme != "rediss":
            raise UserError(f"redis.url {redacted(url)!r} has the option {name} but no TLS: write rediss://")
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if name in options and not Path(options[name][-1]).is_file():
            raise UserError(
                f"redis.url {redacted(url)!r} names a file for {name} that this machine does not have: "
                f"{options[name][-1]}"
            )


def _reachable(path: str) -> bool:
    """Whether a server listens at the Unix socket: another machine that shares the folder has the file, but no server
    behind it.
    """
    with contextlib.closing(socketlib.socket(socketlib.AF_UNIX)) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def _client(url: str, timeout_s: float, retry: Retry, near: str = "") -> redis.Redis:
    given: dict[str, Any] = {
        "protocol": 2,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_read_size": READ_BYTES,
        "retry": retry,
    }
    if near:
        # The same user, password and database as over TCP.
        parts = parse_url(url)
        who = {name: parts[name] for name in ("username", "password", "db") if name in parts}
        pool = redis.ConnectionPool(connection_class=redis.UnixDomainSocketConnection, path=near, **who, **given)
        client = redis.Redis.from_pool(pool)
    else:
        client = redis.Redis.from_url(url, socket_keepalive=True, **given)
    return client


def _check(url: str, timeout_s: float, retry: Retry, near: str) -> None:
    """One quick conversation; without retries a wrong address is reported at once."""
    probe = _client(url, timeout_s, retry, near)
    try:
        facts: dict[str, Any] = {
            name: value for part in ("server", "memory", "replication") for name, value in probe.info(part).items()
        }
    finally:
        probe.close()
    version = str(facts.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < MIN_SERVER_VERSION:
        raise ValueError(f"it is version {version}, the flow needs {'.'.join(map(str, MIN_SERVER_VERSION))} or later")
    if int(facts.get("maxmemory", 0)) and facts.get("maxmemory_policy", "noeviction") != "noeviction":
        raise ValueError(
            f"it deletes keys when memory is short (maxmemory-policy {facts['maxmemory_policy']}), which would lose "
            "samples"
        )
    if facts.get("role") == "slave":
        raise ValueError(
            f"it is a replica of {facts.get('master_host')}:{facts.get('master_port')}, which alone may be written to"
        )


def durability_warnings(client: redis.Redis, url: str) -> list[str]:
    """A sentence for each way in which the server that answers at `url` may lose a run's data."""
    server: Any = client
    facts: dict[str, Any] = server.info("persistence") | server.info("memory")
    found = []
    if not int(facts.get("aof_enabled", 0)):
        try:
            saves = server.config_get("save").get("save")
        except redis.ResponseError:  # which many hosted servers refuse
            saves = None
        how = (
            "keeps nothing on disk (appendonly no, no save)"
            if saves == ""
            else "writes to disk now and then alone (appendonly no)"
        )
        found.append(
            f"Redis at {redacted(url)} {how}: a restart of it ends the run, which cannot go on then; set appendonly yes"
        )
    if (policy := facts.get("maxmemory_policy", "noeviction")) != "noeviction":
        found.append(
            f"Redis at {redacted(url)} deletes keys once a maxmemory is set and reached ({policy}): set "
            "maxmemory-policy noeviction"
        )
    return found


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error.__context__ or error
    text = str(error) or str(cause) or type(error).__name__
    return " ".join(text.split()).rstrip(".")


def _advice(error: Exception) -> str:
    if isinstance(error, redis.AuthenticationError):
        return "give user and password in redis.url"
    if isinstance(error, ValueError):
        return "use another server (a primary, policy noeviction), or leave redis.url empty to have one started"
    return "start it or correct redis.url, or leave redis.url empty to have one started"
