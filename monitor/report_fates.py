"""Sections of report.md and its warnings: what became of the programs, of problems that were left out, and of the run's
parts; what is lost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rltf.buffer.work_queue import DeadLetter
from rltf.monitor.run_record import RunRecord
from rltf.telemetry.recorder import Row
from rltf.telemetry.vocabulary import plural

MAX_DEAD_LETTERS = 20
"""Dead letters of a kind that result.json names, the newest."""
_MAX_LEFT_OUT = 200
_CELL = str.maketrans({"|": "\\|", "\n": " "})


def ledger_section(result: Mapping[str, Any]) -> list[str]:
    """Programs by place and fate, and what happened on the way."""
    ledger: Mapping[str, int] = result.get("ledger") or {}
    if not ledger:
        return []
    lines = ["## What became of every program", ""]
    if imbalance := result.get("imbalance"):
        lines += [f"**The ledger does not balance**: {imbalance}.", ""]
    elif checks := result.get("ledger_checks"):
        lines += [f"Each of them has exactly one place or fate: the ledger balanced in all of {checks:,} checks.", ""]
    lines += ["| place or fate | programs |", "|:---|---:|"]
    lines += [*(f"| {name.replace('_', ' ')} | {count:,} |" for name, count in ledger.items()), ""]
    if events := result.get("buffer_events"):
        words = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in events.items())
        lines += [f"What happened on the way: {words}.", ""]
    return lines


def dead_letters_section(dead_letters: Sequence[Mapping[str, Any]]) -> list[str]:
    """Programs given up, each with its reason."""
    if not dead_letters:
        return []
    return [
        "## Programs given up",
        "",
        "The newest that have no verdict for reasons of the infrastructure; they are no reward.",
        "",
        "| program | fate | reason |",
        "|:---|:---|:---|",
        *(
            f"| {row['id']} | {row['fate'].replace('_', ' ')} | {row['reason'].translate(_CELL)} |"
            for row in dead_letters
        ),
        "",
    ]


def left_out_section(left_out: Sequence[Mapping[str, str]]) -> list[str]:
    """Problems that could not be used, each with its reason."""
    if not left_out:
        return []
    lines = ["## Problems left out", "", "| problems | which | why |", "|:---|:---|:---|"]
    for row in left_out[:_MAX_LEFT_OUT]:
        lines.append(f"| {' | '.join(row[name].translate(_CELL) for name in ('set', 'problem', 'reason'))} |")
    more = len(left_out) - _MAX_LEFT_OUT
    return [*lines, "", *([f"And {more:,} more, which result.json lists.", ""] if more > 0 else [])]


def host_in_words(event: Row) -> str:
    """A sentence of an event `host_left` or `host_joined`."""
    if event["event"] == "host_left":
        return f"the host {event['host']} has left the cluster: {event['reason']}"
    offers = ", ".join(f"{amount:g} {name}" for name, amount in event["offers"].items()) or "nothing"
    return f"the host {event['host']} has joined the cluster and offers {offers}"


def events_section(events: Sequence[Row]) -> list[str]:
    """Attempts after the first and restarts; nothing of a run to which nothing happened."""
    if all(row["event"] == "started" for row in events):
        return []
    lines = ["## Attempts and restarts", "", "| when | what |", "|:---|:---|"]
    for row in events:
        goes_on = f", goes on after step {row['step']}" if row.get("step") is not None else ""
        if row["event"] == "died":
            what = f"{row['part']} died: {row['reason']}"
        elif row["event"] == "restarted":
            what = f"{row['part']} was started again{goes_on}: {row['reason']}"
        elif row["event"] == "scaled":
            what = f"{row['count']} {plural(row['part'], row['count'])} in place of {row['before']}, {row['reason']}"
        elif "host" in row:
            what = host_in_words(row)
        elif "attempt" in row:
            what = f"attempt {row['attempt']} {row['event']}{goes_on}"
        else:
            what = str(row.get("reason", row["event"]))
        lines.append(f"| {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(row['time']))} | {what} |")
    return [*lines, ""]


def programs_section(pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Held-out programs before and after training."""
    lines = (
        ["## Programs before and after", "", "Held-out problems chosen to show what changed, not drawn at random.", ""]
        if pairs
        else []
    )
    for pair in pairs:
        lines += ["> " + line for line in pair["question"].strip().split("\n")] + [""]
        for when in ("before", "after"):
            lines += [
                f"{when.capitalize()}: {pair[when]['verdict']}",
                "",
                "````python",
                pair[when]["text"].rstrip(),
                "````",
                "",
            ]
    return lines


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
