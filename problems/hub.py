"""Data sets from the Hugging Face hub, for a bare `apps` or `mbpp`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rltf.config import UserError, first_line
from rltf.problems.spec import Spec


def hub_rows(spec: Spec, *arguments: str | None, **options: Any) -> Iterable[dict[str, Any]]:
    """Rows of `datasets.load_dataset(*arguments, **options)`.

    Raises UserError when the library is not installed or the hub does not answer: then a downloaded copy can be named
    by its path.
    """
    try:
        from datasets import load_dataset  # type: ignore[attr-defined, unused-ignore]  # lazy: an executor node has no such library
    except ImportError:
        raise UserError(
            f"{spec.text} alone loads from the hub and needs the library datasets: pip install datasets"
        ) from None
    try:
        return load_dataset(*arguments, **options)  # type: ignore[no-any-return, unused-ignore]
    except (
        Exception
    ) as error:  # the library raises many kinds of its own and of its HTTP client, all of which mean: no data
        reason = first_line(error)
        raise UserError(
            f"{spec.text}: the hub gave no data ({reason}); name a downloaded copy instead, {spec.source}:PATH"
        ) from error
