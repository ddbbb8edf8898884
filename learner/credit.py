"""Which tokens of a response are trained on (`config.credit`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rltf.buffer.records import Program
from rltf.config import CreditConfig
from rltf.learner.spans import tokens_in


def credited(program: Program, credit: CreditConfig) -> npt.NDArray[np.bool_]:
    """(T,) true at the tokens that are trained on, T being the response's.

    Of a response that is a program as a whole, and of one without a program, all are, but for those that ended it where
    `credit.end_token` is false.
    """
    length = len(program.token_ids)
    chosen = np.ones(length, np.bool_)
    if credit.outside == "none" and program.has_program and program.spans:
        chosen[:] = False
        chosen[tokens_in(program, program.parts)] = True
    chosen[length - program.end_tokens :] = credit.end_token
    return chosen
