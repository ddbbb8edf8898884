"""`dashboards`: what Prometheus and Grafana need for runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rltf.config import UserError, disk_sentence
from rltf.driver.commands.command import Arguments
from rltf.program import DONE

SENTENCE = "Write scraping and alerts for Prometheus, and dashboards for Grafana."


def run(arguments: Sequence[str], console: Console) -> int:
    """Writes the files."""
    parser = Arguments("dashboards", SENTENCE, ())
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files")
    known, _ = parser.read(arguments)
    from rltf.monitor.dashboards import write

    try:
        files = write(known.out)
    except OSError as error:
        raise UserError(disk_sentence(error, known.out)) from None
    for file in files:
        console.print(str(file), markup=False, soft_wrap=True)
    return DONE
