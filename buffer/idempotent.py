"""Messages that must count once however often they arrive: the sender numbers them, a script answers a known number as
before.
"""

from __future__ import annotations

import threading
import uuid
from typing import Any

from rltf.buffer.lua import Argument, Scripts


class IdempotentSender:
    """The messages of one sender.

    One is under way at a time, since a script remembers only the last number of each sender.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._sender = uuid.uuid4().hex
        self._number = 0
        self._one_at_a_time = threading.Lock()

    def send(self, script: str, *arguments: Argument) -> Any:
        """The answer of `script`, whose first arguments are the sender and the number of the message.

        Raises what `Scripts.run` does.
        """
        with self._one_at_a_time:
            self._number += 1
            return self._scripts.run(script, self._sender, self._number, *arguments)
