"""The command `replay RUN --step N`: one learner step taken again from the record, and held against what it was."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from rltf.buffer.records import Group, Sample
from rltf.config import Config, UserError, run_files
from rltf.driver.inputs import Inputs
from rltf.driver.resume import code_of
from rltf.learner.checkpoints import Checkpoints
from rltf.learner.export import keeps_first_weights
from rltf.learner.replay import RecordedStep, Replay, ReplayedStep, depends_on_history
from rltf.learner.step_rows import CORPUS
from rltf.monitor.run_record import RunRecord
from rltf.monitor.sample_columns import RecordedSample
from rltf.problems.files import or_user_error
from rltf.telemetry.console import print_error, progress, warn
from rltf.telemetry.recorder import Row


def replay_step(folder: RunRecord, step: int, console: Console) -> bool:
    """Takes `step` again and prints what came of it; whether all is as it was.

    Programs with their rewards and token weights go to replay/step_N.jsonl, the comparison to replay/step_N.json, both
    in the run's folder. Raises UserError when the run has no such step, its samples are not all in the record, or no
    weights are kept from which its own can be had; the batch is compared then all the same.
    """
    rows = {int(row["step"]): row for row in folder.steps()}
    if step not in rows:
        there = f"steps {min(rows)} to {max(rows)}" if rows else "no step"
        raise UserError("; ".join([f"replay --step {step}: the run in {folder.path} has {there}", *folder.damage()]))
    _require_whole(folder, rows, step)
    config = folder.settings_at(rows[step]["time"])
    checkpoints = Checkpoints.of_run(folder.path)
    saved = checkpoints.newest(step - 1)
    for sentence in checkpoints.passed_over:
        warn(sentence)
    weights = saved is not None or keeps_first_weights(config, folder.path)
    begin = saved.step if saved is not None else 0
    wanted = range(begin + 1, step + 1) if weights or depends_on_history(config) else range(step, step + 1)
    recorded = _recorded(folder, rows, wanted)
    if folder.settings_at(recorded[0].row["time"]) != config:
        warn(f"the configuration was changed between steps {wanted[0]} and {step}: on the way something may differ")
    inputs = Inputs.from_config(config, code_of(config, folder.path))
    where = f"checkpoint step_{begin:06d}" if saved is not None else "the beginning of training"
    way = f", taking the steps from {wanted[0]} on again" if len(wanted) > 1 else ""
    console.print(f"step {step} from {where}{way}", markup=False)
    replay = Replay(config, inputs.spec, inputs.corpus, folder.path, saved, weights)
    try:
        again, sentences = _take(replay, recorded, console)
    finally:
        replay.close()
    _write(folder.path / run_files.REPLAY, recorded[-1], again, replay.terms, sentences, where)
    _show(recorded[-1], again, sentences, replay.exact, console)
    if again.result is None:
        raise UserError(_not_kept(step, config, folder.path))
    return not sentences


def _recorded(folder: RunRecord, rows: Mapping[int, Row], wanted: Iterable[int]) -> list[RecordedStep]:
    """The steps with their groups. Raises UserError when a step's row or one of its programs is not in the record."""
    found: list[Row] = []
    for step in wanted:
        _require_whole(folder, rows, step)
        found.append(rows[step])
    names = {name for row in found for name in row.get("fingerprints", ()) if name != CORPUS}
    members: dict[str, list[RecordedSample]] = {}
    if names:
        for kept in folder.samples():
            if kept.group_id in names:
                members.setdefault(kept.group_id, []).append(kept)
    steps = []
    for row in found:
        drawn = [name for name in row.get("fingerprints", ()) if name != CORPUS]
        groups = [_group(name, members.get(name, [])) for name in drawn]
        there = {sample.program.id for group in groups for sample in group.samples}
        if missing := [name for name in row.get("sample_ids", ()) if name not in there]:
            lost = int(folder.progress().get("lost", {}).get("samples", 0))
            reasons = [(folder.dropped_samples, "run.samples_gb has cost"), (lost, "buffer.archive_capacity has cost")]
            why = "".join(f": {words} {number:,} programs" for number, words in reasons if number)
            why += "".join(f"; {sentence}" for sentence in folder.damage())
            raise UserError(
                f"{len(missing)} of {len(row['sample_ids'])} programs of step {row['step']} are not in the record{why}"
            )
        steps.append(RecordedStep(row, groups))
    return steps


def _require_whole(folder: RunRecord, rows: Mapping[int, Row], step: int) -> None:
    row = rows.get(step, {})
    reinforced = () if row.get("objective") == "supervised" else ("fingerprints", "sample_ids", "rewards")
    needed = ("time", "objective", "version", "learning_rate", "loss", "gradient_norm", *reinforced)
    if any(key not in row for key in needed):
        raise UserError(
            "; ".join(
                [
                    f"the record of step {step}, which the replay needs, is not in {folder.path}/{run_files.METRICS}",
                    *folder.damage(),
                ]
            )
        )


def _group(name: str, members: Sequence[RecordedSample]) -> Group:
    """The group as it was drawn: without the members that had been given up."""
    samples: list[Sample] = []
    greedy: Sample | None = None
    for kept in members:
        sample = kept.sample
        if sample is None or kept.fate in ("dead_letter", "malformed"):
            continue
        if sample.program.greedy and greedy is None:
            greedy = sample
        else:
            samples.append(sample)
    return Group(id=name, problem_id=members[0].problem_id if members else "", samples=samples, greedy=greedy)


def _take(replay: Replay, recorded: Sequence[RecordedStep], console: Console) -> tuple[ReplayedStep, list[str]]:
    """Takes all of them; the last one, and a sentence for each difference."""
    sentences: list[str] = []
    with progress(console, "steps", len(recorded)) as advance:
        for number, step in enumerate(recorded, start=1):
            again = replay.take(step)
            last = number == len(recorded)
            sentences += (
                again.differences
                if last
                else [f"on the way, at step {step.row['step']}, {each}" for each in again.differences]
            )
            advance(1)
    return again, sentences


def _write(
    out: Path, step: RecordedStep, again: ReplayedStep, terms: Sequence[str], sentences: Sequence[str], where: str
) -> None:
    row = step.row
    name = f"step_{row['step']:06d}"
    facts = {key: row[key] for key in ("step", "version", "objective", "learning_rate", "loss", "gradient_norm")}
    result = again.result
    now = {"loss": result.loss, "gradient_norm": result.gradient_norm} if result is not None else None
    with or_user_error(out):
        out.mkdir(exist_ok=True)
        summary = {"recorded": facts, "now": now, "begun_at": where, "differences": list(sentences)}
        (out / f"{name}.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        with (out / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for line in _programs(step, again, terms):
                file.write(json.dumps(line) + "\n")


def _programs(step: RecordedStep, again: ReplayedStep, terms: Sequence[str]) -> Iterable[dict[str, Any]]:
    """A line per program of the step, with the reward and, where it was forwarded, its weights by term."""
    prepared = again.prepared
    if prepared is None:
        return
    items = {item.id: item for item in prepared.items}
    rewards = iter(prepared.rewards)
    for group in step.groups:
        for sample in group.members:
            program, item = sample.program, items.get(sample.program.id)
            yield {
                "id": program.id,
                "group_id": group.id,
                "problem_id": program.problem_id,
                "greedy": program.greedy,
                "outcome": sample.feedback.outcome,
                "fate": prepared.fates.get(program.id),
                "reward": None if sample is group.greedy else next(rewards),
                "weights": {term: weights.tolist() for term, weights in zip(terms, item.weights, strict=True)}
                if item is not None
                else None,
                "text": program.text,
            }


def _show(step: RecordedStep, again: ReplayedStep, sentences: Sequence[str], exact: bool, console: Console) -> None:
    row, prepared = step.row, again.prepared
    if prepared is None:
        console.print("a supervised step: its programs come from the corpus", markup=False)
    else:
        baselines = sum(group.greedy is not None for group in step.groups)
        words = (
            f"{len(step.groups)} groups, {len(prepared.rewards)} programs of which {len(prepared.items)} were forwarded"
        )
        mean = sum(prepared.rewards) / max(1, len(prepared.rewards))
        console.print(
            f"batch: {words}, {baselines} greedy baselines; mean reward {mean:.4f}; policy version {row['version']}",
            markup=False,
        )
    if again.result is not None:
        console.print(f"loss: {row['loss']!r} then, {again.result.loss!r} now", markup=False)
    how = "to the last bit" if exact else "the loss up to rounding, for its sums are taken in another order here"
    if sentences:
        for sentence in sentences:
            print_error(sentence)
        print_error(f"replay failed: step {row['step']} is not what it was")
    elif again.result is not None:
        console.print(
            f"rewards, token weights and loss are those that were trained with, {how}", style="green", markup=False
        )
    else:
        console.print(
            "rewards and token weights are those that were trained with, to the last bit", style="green", markup=False
        )


def _not_kept(step: int, config: Config, folder: Path) -> str:
    kept = Checkpoints.of_run(folder).steps()
    there = f"from step {kept[0] + 1} on they can be had" if kept else "there is no checkpoint"
    why = "" if config.learner.dtype == "float32" else f" (those of the warm start are in {config.learner.dtype} only)"
    return (
        f"the loss of step {step} cannot be recomputed, for no weights from before it are kept{why}: {there}; "
        "checkpoint.keep keeps more"
    )
