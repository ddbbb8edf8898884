"""`serve`: judge programs for others, over HTTP."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from rltf import config as configuration
from rltf.config import UserError
from rltf.driver.commands.command import JUDGE, Arguments, lanes, spec
from rltf.driver.stopping import stopping
from rltf.executor.tokens import read_token
from rltf.program import DONE, FAILED

SENTENCE = "Judge programs for others, over HTTP, until it is stopped (docs/service.md)."
TOKEN = "RLTF_SERVE_TOKEN"
"""Environment variable with the token, where no file is named."""
MIB = 1 << 20


def run(arguments: Sequence[str], console: Console) -> int:
    """FAILED when a stop broke something off."""
    parser = Arguments("serve", SENTENCE, (*JUDGE, "run.seed"))
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine alone)")
    parser.add_argument("--port", type=int, default=8080, help="port to listen at (default: 8080; 0: any that is free)")
    token = f"file with the bearer token that clients have to show (default: the environment's {TOKEN})"
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=token)
    parser.add_argument("--problems", metavar="SPEC", help=f"problems that requests may name: {spec()}")
    size = "largest request (default: 16)"
    parser.add_argument("--max-request-mb", type=_number(1, 1024), default=16, metavar="MIB", help=size)
    concurrency = "requests that are answered at the same time (default: 64)"
    parser.add_argument("--concurrency", type=_number(1, 10_000), default=64, metavar="N", help=concurrency)
    queue = "requests that may wait for their turn; more are asked to come back (default: 1024)"
    parser.add_argument("--queue", type=_number(0, 100_000), default=1024, metavar="N", help=queue)
    finish = "when it is stopped, time for what it has begun (default: 30)"
    parser.add_argument("--finish-s", type=_number(0, 150), default=30, metavar="SECONDS", help=finish)
    known, overrides = parser.read(arguments)
    config = configuration.load(None, overrides)
    token = read_token(TOKEN, known.token_file, "--token-file")
    if not token and not _is_loopback(known.host):
        raise UserError(f"--host {known.host} is open to others: set {TOKEN}, or --token-file")
    from rltf.executor.judge import Judge
    from rltf.executor.judge_pool import JudgePool
    from rltf.executor.service.app import Service
    from rltf.executor.service.gate import Bounds
    from rltf.executor.service.server import listen, serve
    from rltf.problems import load_problems

    problems = load_problems(known.problems, seed=config.run.seed).by_id if known.problems else {}
    at = listen(known.host, known.port)
    bounds = Bounds(known.max_request_mb * MIB, known.concurrency, known.queue)
    stopping.work()
    with at:
        pool = JudgePool(lambda: Judge.from_config(config.executor, 1), lanes(config, overrides))
        try:
            service = Service(pool, problems, bounds)
            host, port = at.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            console.print(f"serving at http://{shown}:{port}, {pool.lanes} lanes of tier {pool.tier}", markup=False)
            finished = serve(service.app(token), at, known.finish_s, lambda: stopping.hurried, service.stop)
        finally:
            pool.close()
    console.print("stopped" if finished else "stopped; requests that were not finished were broken off", markup=False)
    return DONE if finished else FAILED


def _number(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise ValueError
        return value

    number.__name__ = f"number from {least:,} to {most:,}"
    return number


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
