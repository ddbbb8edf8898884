"""Asks a Ray cluster whether it answers and whether this machine is one of its nodes.

In a process of its own, this file, because Ray's client waits for minutes and writes to the terminal meanwhile.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

TIMEOUT_S = 60.0
"""Longest wait for the process, whose imports take some seconds."""
_ANSWER_TIMEOUT_S = 20


def probe(address: str) -> dict[str, Any]:
    """What the cluster at HOST:PORT says: {"nodes": those that are up, "here": those of them on this machine} or
    {"error": why not}.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", __file__, address], capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return {"error": f"what listens there does not speak as Ray does within {TIMEOUT_S:g} s"}
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"error": (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]}
    return answer


def _ask(address: str) -> dict[str, Any]:
    from ray._private.services import find_node_ids
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    try:
        nodes = GcsClient(address=address).get_all_node_info(timeout=_ANSWER_TIMEOUT_S)
    except Exception as error:  # whatever it is, Ray says it in the words that the caller looks at
        return {"error": f"{type(error).__name__}: {error}"}
    alive = {node_id.hex() for node_id, node in nodes.items() if node.state == node.ALIVE}
    return {"nodes": len(alive), "here": len(alive & find_node_ids())}


if __name__ == "__main__":
    print(json.dumps(_ask(sys.argv[1])))
