"""What of a run is not there to be shown, or was given up, in the words of its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rltf.buffer.work_queue import DeadLetter
from rltf.monitor.run_record import RunRecord

MAX_DEAD_LETTERS = 20
"""Dead letters of a kind that result.json names, the newest."""


def data_loss_warnings(folder: RunRecord, lost: Mapping[str, int], dead_letters: Sequence[DeadLetter]) -> list[str]:
    """Sentences for its warnings. `lost`: see monitor.watcher.Watcher; `dead_letters`: the newest first."""
    found = [f"{number} {kind} were dropped before the driver read them" for kind, number in lost.items() if number]
    if dropped := folder.dropped_samples:
        found.append(f"{dropped:,} of the oldest programs are no longer in samples/, which run.samples_gb bounds")
    if folder.deleted_telemetry:
        found.append(
            "the oldest rows are no longer in telemetry/, which run.telemetry_gb bounds: timeline and shares begin "
            "later"
        )
    if dead_letters:
        found.append(f"programs were given up; the newest, {dead_letters[0].program_id}: {dead_letters[0].reason}")
    return found


def dead_letter_rows(dead_letters: Sequence[DeadLetter]) -> list[dict[str, str]]:
    """`dead_letters` of result.json."""
    return [{"id": letter.program_id, "fate": letter.fate, "reason": letter.reason} for letter in dead_letters]
