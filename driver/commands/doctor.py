"""`doctor`: what of this machine a run can use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rltf import config as configuration
from rltf.driver.commands.command import JUDGE, Arguments
from rltf.driver.stopping import stopping
from rltf.program import DONE, FAILED

SENTENCE = "Try every part that a run needs on this machine, and say what to change."
_READS = (
    *JUDGE[2:],
    "actors.gpus_per_actor",
    "learner.gpus_per_worker",
    "ray.address",
    "redis.timeout_s",
    "redis.url",
    "run.folder",
)


def run(arguments: Sequence[str], console: Console) -> int:
    """FAILED when a run cannot start here."""
    parser = Arguments("doctor", SENTENCE, _READS)
    parser.add_argument(
        "--config", default=None, metavar="FILE", help="YAML file, or the name of a preset, of the run that is planned"
    )
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="write the findings as JSON as well")
    known, overrides = parser.read(arguments)
    file = None if known.config is None else configuration.preset(known.config)
    config = configuration.load(file, overrides)
    from rltf.driver.commands.examination import doctor

    stopping.work()
    return DONE if doctor(config, known.out, console, file) else FAILED
