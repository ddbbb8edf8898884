"""Names of everything a run keeps in Redis.

All keys of a run share one hash tag, so scripts work on a Redis cluster too.
"""

from __future__ import annotations

from rltf.buffer.records import Purpose

RUN_KEYS = {
    "archive": "stream; one entry per group whose fate is known, id = samples archived so far",
    "totals": "hash; how many samples and rows were archived, held and lost, ever",
    "rows": "stream; recorder rows, id = rows so far",
    "steps": "stream; learner step rows, id = rows so far",
    "senders": "hash; sender -> number of its last message and the answer it got (a retry is recognised by it)",
    "control": "hash; phase, whether an evaluation is awaited, stop reason, visits handed out and pushed, newest "
    "policy version that was published, signs of life by role",
    "visits": "hash; group id of a visit that was handed out and is not pushed -> the actor",
    "returned": "sorted set; visits that an actor did not push, to be handed out again before new ones, by number",
    "problems": "hash; problem id -> content hash of its tests",
    "suites": "hash; content hash -> tests",
    "marker": "hash; the attempt that moves things here: its token, number and holder; beats of its driver, numbers "
    "of problems and tests",
    "alive": "string; the holder, while its driver shows life; expires",
}
"""Keys of the run as a whole and what they hold."""

QUEUE_KEYS = {
    "work": "stream; one entry (group, program) per program that has no verdict",
    "claims": "hash; consumer -> its last claim, so that a retry gets the same",
    "counts": "hash; the ledger",
    "events": "hash; what happened that is no fate: given back, reclaimed, evicted as a group",
    "state": "hash; scan position, arrivals, newest policy version, draws of that version, last finished step, last "
    "checkpoint",
    "open": "set; groups with a member that has neither verdict nor dead letter",
    "known": "sorted set; pushed group -> server time; a push of the last hour is recognised by it",
    "dead": "list; the newest dead letters, for people",
    "buffer": "sorted set; groups that can be drawn, by oldest policy version, then arrival",
    "drawn": "sorted set; groups drawn and not finished -> step",
    "draws": "hash; step -> groups drawn for it",
    "consumed": "sorted set; what finished steps used, by step: kept until the checkpoint after the next is complete",
    "snapshot": "list; groups in the order in which they will be drawn",
    "reserved": "hash; actor -> groups it was admitted to write",
    "chunks": "hash; evaluation chunk that is not done -> what to evaluate",
    "offered": "list; evaluation chunks nobody holds",
    "held": "sorted set; evaluation chunks held by an actor -> end of the lease in milliseconds",
    "holders": "hash; evaluation chunk -> the actor that holds it",
    "group": "prefix of one hash per group: the bytes of its programs and feedbacks, once, and its counters",
    "staged": "prefix of one hash per push under way: the programs' bytes, renamed to the group's hash by the push; "
    "expires",
    "label": "prefix of one hash per evaluation (counters) and one list (finished groups) and one set (problems "
    "pushed)",
}
"""Keys that training and evaluation have each of their own, and what they hold."""

PREFIXES = ("group", "staged", "label")
"""Those of QUEUE_KEYS that a name follows."""


def base_of(run: str) -> str:
    """Prefix of all keys of `run`."""
    return f"rltf:{{{run}}}:"


class Keys:
    """Key names of one run and purpose, as attributes named like the entries of RUN_KEYS and QUEUE_KEYS."""

    def __init__(self, run: str, purpose: Purpose) -> None:
        self.base = base_of(run)
        self._own = f"{self.base}{purpose}:"

    def __getattr__(self, name: str) -> str:
        """A key without a name behind it. Raises AttributeError where there is none of the name."""
        if name in RUN_KEYS:
            return self.base + name
        if name in QUEUE_KEYS and name not in PREFIXES:
            return self._own + name
        raise AttributeError(name)

    def group(self, group_id: str) -> str:
        """The hash of one group."""
        return f"{self._own}group:{group_id}"

    def staged(self, nonce: str) -> str:
        """The hash in which one push brings a group's bytes."""
        return f"{self._own}staged:{nonce}"

    def label(self, label: str) -> str:
        """The hash of one evaluation."""
        return f"{self._own}label:{label}"


def lua_prelude() -> str:
    """Lua source that makes the same names from KEYS[1] and the purpose in the settings, for the scripts."""
    run = ", ".join(f"{name} = base .. '{name}'" for name in RUN_KEYS)
    own = ", ".join(f"{name} = own .. '{name}{':' if name in PREFIXES else ''}'" for name in QUEUE_KEYS)
    return (
        "local C = cmsgpack.unpack(ARGV[1])\nlocal base = KEYS[1]\nlocal own = base .. C.purpose .. ':'\nlocal K = "
        f"{{{run}, {own}}}\n"
    )
