"""Bearer tokens of the judge as a service: what one asks for, and what another shows."""

from __future__ import annotations

import os
from pathlib import Path

from rltf.config import UserError


def read_token(variable: str, file: str | Path | None, option: str) -> str:
    """The token in `file`, which `option` named, else in the environment; empty where neither has one.

    Raises UserError for a file that cannot be read or is empty, and for what no HTTP header can carry as it is.
    """
    if not file:
        token, named = os.environ.get(variable, "").strip(), f"the environment's {variable}"
    else:
        named = f"{option} {file}"
        try:
            token = Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{named} cannot be read: {error}") from None
        if not token:
            raise UserError(f"{named} is empty")
    if not (token.isascii() and token.isprintable()):
        raise UserError(f"{named}: a token is one line of printable ASCII characters, for it travels in an HTTP header")
    return token
