"""A server of somebody else's: TLS, certificates, user, password and database, as given in redis.url."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from rltf.buffer.connection import connect
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.server import EmbeddedRedis, find_binary
from rltf.config import BufferConfig, UserError
from tests.support.buffer_programs import buffered, group_of, places

if shutil.which("openssl") is None:
    pytest.skip("there is no openssl command to make certificates with", allow_module_level=True)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    command += [
        "-keyout",
        str(key),
        "-out",
        str(cert),
        "-subj",
        "/CN=rltf test",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


@pytest.fixture(scope="module")
def user(redis_server: EmbeddedRedis) -> str:
    """USER:PASSWORD of a user that the server's operator made."""
    client = redis.Redis.from_url(redis_server.url)
    client.acl_setuser("trainer", enabled=True, passwords=["+s3cret"], keys=["*"], channels=["*"], commands=["+@all"])
    client.close()
    return "trainer:s3cret"


@pytest.fixture(scope="module", params=["in front of the server", "in the server"])
def tls_port(
    request: pytest.FixtureRequest,
    redis_server: EmbeddedRedis,
    certificate: tuple[Path, Path],
    user: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[int]:
    """A port where TLS with client certificates is spoken: a proxy's, as operators put before Redis, or the server's
    own.
    """
    if request.param == "in the server":
        yield from _server(certificate, user, tmp_path_factory.mktemp("server"))
    else:
        yield from _proxy(int(redis_server.url.rsplit(":", 1)[1].split("/")[0]), certificate)


def _server(certificate: tuple[Path, Path], user: str, folder: Path) -> Iterator[int]:
    name, password = user.split(":")
    with asyncio.Runner() as runner:
        port = runner.run(_free_port())
    cert, key = certificate
    options = ["--port", "0", "--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key)]
    options += ["--tls-ca-cert-file", str(cert), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    options += ["--user", name, "on", f">{password}", "~*", "&*", "+@all"]
    binaries = dict.fromkeys([shutil.which("redis-server"), shutil.which("valkey-server"), find_binary()])
    for binary in filter(None, binaries):
        process = subprocess.Popen([binary, *options], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        said = ""
        try:
            for line in process.stdout:
                said += line
                if "Ready to accept connections" in line:
                    yield port
                    return
            assert "TLS support" in said or "tls-port" in said, said  # nothing else may keep a server from starting
        finally:
            process.kill()
            process.wait()
    pytest.skip(
        f"no Redis server here is built with TLS, as Debian's redis-server is: {', '.join(filter(None, binaries))}"
    )


async def _free_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    server.close()
    return port


def _proxy(behind: int, certificate: tuple[Path, Path]) -> Iterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate[0]))
    context.load_cert_chain(*certificate)
    context.verify_mode = ssl.CERT_REQUIRED

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near, far = await asyncio.open_connection("127.0.0.1", behind)
        await asyncio.gather(pump(reader, far), pump(near, writer), return_exceptions=True)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(serve, "127.0.0.1", 0, ssl=context), loop).result(10)
    yield int(server.sockets[0].getsockname()[1])
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


def test_a_run_lives_on_a_server_with_tls_user_password_and_database(
    tls_port: int, certificate: tuple[Path, Path], user: str
) -> None:
    cert, key = certificate
    url = f"rediss://{user}@127.0.0.1:{tls_port}/3?ssl_ca_certs={cert}&ssl_certfile={cert}&ssl_keyfile={key}"
    flow = Flow(FlowAddress(url, "tls", BufferConfig(), groups_per_step=1, groups_per_version=1, group_size=2))
    buffered(flow, "a")
    assert flow.work.push(group_of("b"))
    assert places(flow) == {"generated": 4, "queued": 2, "buffered": 2}
    assert flow.client.client_info()["db"] == 3 and flow.client.acl_whoami() == "trainer"
    elsewhere = connect(url.replace("/3?", "/0?"), 5.0)
    assert not [key for key in elsewhere.keys() if b"{tls}" in key]
    elsewhere.close()
    flow.delete_run()
    flow.close()


@pytest.mark.parametrize(
    ("scheme", "options", "words"),
    [
        ("rediss", "", "certificate verify failed"),
        ("rediss", "?ssl_ca_certs={cert}", "cannot be used"),  # its operator wants to see a certificate
        ("redis", "", "cannot be used"),
    ],
)
def test_what_does_not_fit_the_servers_tls_is_one_sentence(
    tls_port: int, certificate: tuple[Path, Path], user: str, scheme: str, options: str, words: str
) -> None:
    with pytest.raises(UserError) as caught:
        connect(f"{scheme}://{user}@127.0.0.1:{tls_port}/0" + options.format(cert=certificate[0]), 5.0)
    text = str(caught.value)
    assert words in text and "s3cret" not in text and "\n" not in text
