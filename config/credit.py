"""Which tokens of a response are trained on."""

from __future__ import annotations

from typing import Literal

from rltf.config.base import ConfigSection


class CreditConfig(ConfigSection):
    """Which tokens of a response are trained on, beside those of its program."""

    outside: Literal["coarse", "none"] = "coarse"
    """Tokens outside of the program, the words around its block: coarse: what weighs the response as a whole weighs
    them too (RLTF's coarse and adaptive terms, other objectives' advantage), the fine-grained term never does; none:
    they are not trained on. A response without a program is trained on as a whole."""
    end_token: bool = True
    """Whether the tokens that ended a response are trained on: an end-of-sequence token, or those of a stop string."""
