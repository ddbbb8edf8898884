"""What may happen to a run that is in order, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ray.exceptions import RayError

from rltf.buffer.connection import ServerError, ServerLost
from rltf.config import DiskFailure, disk_sentence, first_line
from rltf.driver import RunFailed
from rltf.weights.manifest import WeightsUnavailable


@contextmanager
def raising_run_failed(folder: Path) -> Iterator[None]:
    """What may happen to a run that is in order, as RunFailed: Redis, Ray or the disk, on which `folder` is, let it
    down.
    """
    try:
        yield
    except (ServerLost, WeightsUnavailable, DiskFailure) as error:
        raise RunFailed(str(error)) from error
    except ServerError as error:
        advice = (
            ": make room on its disk, which a run's own server shares with the run's folder"
            if "MISCONF" in str(error)
            else ""
        )
        raise RunFailed(f"Redis refuses to go on: {first_line(error)}{advice}") from error
    except (RayError, ConnectionError) as error:
        raise RunFailed(f"Ray does not go on: {first_line(error)}") from error
    except OSError as error:
        raise RunFailed(disk_sentence(error, folder)) from error


@contextmanager
def collecting_failures(failures: list[Exception]) -> Iterator[None]:
    """Lets what comes next be tried all the same when the disk does not take something."""
    try:
        yield
    except (OSError, DiskFailure) as error:
        failures.append(error)
