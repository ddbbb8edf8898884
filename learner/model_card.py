"""The model card of an exported model: what it is, the prompt that it was trained with, how it did, and the
configuration of its run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import yaml

from rltf.config import Config, EvaluatedConfig, write_atomically
from rltf.policy.tokenizers import folder_has_chat_template
from rltf.telemetry.vocabulary import estimate, figures_of

_PATH = re.compile(r"(?<![\w.~/:])(?:~|\.{1,2})?/[^\s,\"]*")
_SPEC_PATH = re.compile(r"(?:^|(?<=,))((?!hf:)\w+:)([^,]*)")
_FOLDERS = (
    ("policy", "model"),
    ("policy", "tokenizer"),
    ("run", "folder"),
    ("warm_start", "reuse"),
    ("rltf", "critic"),
)


def write_card(folder: Path, config: Config, facts: Mapping[str, Any]) -> None:
    """Writes the model card of an exported model, in place of one that is there; `facts` as for `model_card`."""
    shape = folder / "config.json"
    known = {
        "run": config.run.name or folder.resolve().parent.name,
        "encoder_decoder": bool(json.loads(shape.read_text()).get("is_encoder_decoder")) if shape.is_file() else False,
        "chat": config.prompt.format != "raw" and folder_has_chat_template(folder),
    }
    write_atomically(folder / "README.md", model_card(config, known | dict(facts)))


def model_card(config: Config, facts: Mapping[str, Any]) -> str:
    """The model card as Markdown, with the front matter that the Hugging Face hub reads.

    It names files, and no paths of this machine.

    `facts`, as far as they are known: `run` (its name), `encoder_decoder`, `chat` (whether prompts are turns of a
    conversation), `prompt` (of a training problem, as the model reads it), `steps`,
    `samples` (programs trained on), `code_version`, and `held_out` with `tasks` and, for `before` and `after` training,
    `step`, `pass@K` and perhaps its standard error `pass@K_se`; `sets` has the same of further sets by name;
    `during_training`: whether training goes on.
    """
    model, encoder_decoder = config.policy.model, bool(facts.get("encoder_decoder"))
    base = _file_name(model) if model else f"a fresh {config.policy.family} model"
    front: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text2text-generation" if encoder_decoder else "text-generation",
        "tags": ["code", "reinforcement-learning", "unit-tests"],
    }
    if model and base == model:
        front["base_model"] = model
    title = f"{facts.get('run') or config.run.name or config.learner.objective}: {base}"
    return (
        f"---\n{yaml.safe_dump(front)}---\n\n# {title}\n\n"
        "A language model that writes Python programs, trained by reinforcement learning from unit-test feedback "
        f"(RLTF, arXiv 2307.04349): objective `{config.learner.objective}`, {facts.get('steps', 0)} steps.\n\n"
        f"- base: {base}\n- training problems: `{_without_path(config.problems.train)}`\n"
        f"- programs trained on: {facts.get('samples', 0)}\n- code version: {facts.get('code_version', 'unknown')}\n\n"
        f"{_prompt(facts.get('prompt'), encoder_decoder, bool(facts.get('chat')), config)}"
        f"## Evaluation\n\n{_evaluation(config, facts)}\n"
        f"## Configuration\n\n```json\n{json.dumps(_settings(config), indent=1)}\n```\n"
    )


def _prompt(prompt: str | None, encoder_decoder: bool, chat: bool, config: Config) -> str:
    """The format, by an example that can be run as it stands and samples as in training."""
    if prompt is None:
        return ""
    kind = "AutoModelForSeq2SeqLM" if encoder_decoder else "AutoModelForCausalLM"
    special = ", add_special_tokens=False" if chat and not encoder_decoder else ""  # the prompt spells them
    # All of them: what the base's generation_config.json says of sampling would hold for the others.
    names = ("temperature", "top_p", "top_k", "repetition_penalty", *(("min_p",) if config.actors.min_p else ()))
    sampling = ", ".join(f"{name}={getattr(config.actors, name)}" for name in names)
    stops = f", stop_strings={list(config.prompt.stop)!r}, tokenizer=tokenizer" if config.prompt.stop else ""
    written = "written[0]" if encoder_decoder else "written[0, ids.shape[1]:]"
    return (
        "## Prompt\n\nThe model was trained with prompts of exactly this form, here of a training problem (FOLDER is "
        "where this file is). "
        f"What it writes after one {'holds' if chat else 'is'} the program.\n\n```python\n"
        f"from transformers import {kind}, AutoTokenizer\n\n"
        f"prompt = {prompt!r}\n"
        f'tokenizer, model = AutoTokenizer.from_pretrained("FOLDER"), {kind}.from_pretrained("FOLDER")\n'
        f'ids = tokenizer(prompt, return_tensors="pt"{special}).input_ids\n'
        "written = model.generate(ids, attention_mask=ids.new_ones(ids.shape), do_sample=True, "
        f"{sampling}, max_new_tokens={config.policy.max_program_tokens}{stops})\n"
        f"print(tokenizer.decode({written}, skip_special_tokens=True))\n```\n\n"
    )


def _evaluation(config: Config, facts: Mapping[str, Any]) -> str:
    """What was found of the main set, and of each further one under its name."""
    if facts.get("during_training"):
        return "It was written while its run went on, before any evaluation of it on held-out problems.\n"
    held_out: Mapping[str, Any] = facts.get("held_out") or {}
    if "before" not in held_out:
        return "It was not evaluated on held-out problems.\n"
    text = _of_set(config, config.evaluation, held_out, config.problems.held_out)
    for one in config.evaluation.sets:
        if "before" in (found := held_out.get("sets", {}).get(one.name, {})):
            text += f"\n### {one.name}\n\n{_of_set(config, one, found, one.problems)}"
    return text


def _of_set(config: Config, settings: EvaluatedConfig, held_out: Mapping[str, Any], spec: str) -> str:
    """`spec`: of its problems."""
    rows = {when: held_out[when] for when in ("before", "after") if when in held_out}
    figures = figures_of(list(rows.values()))
    scores = "".join(
        f"| {when} | {row['step']} | {' | '.join(estimate(row, figure, digits=4) for figure in figures)} |\n"
        for when, row in rows.items()
    )
    head = f"| | step | {' | '.join(figures)} |\n|---|---{'|---' * len(figures)}|\n"
    about = str(held_out.get("about") or spec)  # in words (`LearnerTask.held_out`), here without this machine's paths
    for name in (config.problems.train, spec):
        about = about.replace(name, _without_path(name)) if name else about
    return (
        f"Share of programs, sampled {settings.sampling}, that pass all tests of {held_out['tasks']} held-out "
        f"problems ({about}); pass@k by the unbiased estimator of arXiv 2107.03374, max@k is "
        "the share of tests that the best of k programs passes, both with their "
        f"standard errors over problems:\n\n{head}{scores}"
    )


def _settings(config: Config) -> dict[str, Any]:
    """The configuration without what belongs to this machine: paths, addresses, passwords."""
    settings: dict[str, Any] = config.model_dump(mode="json")
    settings["redis"]["url"] = settings["ray"]["address"] = ""
    for part, name in _FOLDERS:
        settings[part][name] = _file_name(settings[part][name])
    settings["problems"] = {
        name: _without_path(value) if isinstance(value, str) else value for name, value in settings["problems"].items()
    }
    for one in settings["evaluation"]["sets"]:
        one["problems"] = _without_path(one["problems"])
    cleaned: dict[str, Any] = _cleaned(settings)
    return cleaned


def _cleaned(value: Any) -> Any:
    """Every path in every text cut to its last part."""
    if isinstance(value, dict):
        return {key: _cleaned(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_cleaned(part) for part in value]
    return _PATH.sub(lambda found: PurePath(found[0]).name, value) if isinstance(value, str) else value


def _file_name(name: str) -> str:
    """The last part of a path; a hub name stays."""
    is_path = (
        name.startswith((".", "/", "~"))
        or name.count("/") > 1
        or name.endswith("/")
        or Path(name).expanduser().exists()
    )
    return PurePath(name).name if is_path else name


def _without_path(spec: str) -> str:
    """A problem spec with its file's name alone: `jsonl:problems.jsonl,ids=1-9`."""
    return str(_cleaned(_SPEC_PATH.sub(lambda found: found[1] + PurePath(found[2]).name, spec)))
