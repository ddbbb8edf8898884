"""What a run is made from, as the driver reads and checks it before anything is started."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from rltf import config as configuration
from rltf.config import Config, UserError
from rltf.driver import resume
from rltf.driver.inputs import Inputs
from rltf.monitor.plan import ClusterInfo, make_plan
from rltf.monitor.run_folder import RunFolder
from rltf.policy.encoding import encode_prompt
from rltf.policy.policy import build_policy

SHAPE = {"policy.d_model": "16", "policy.layers": "1", "policy.heads": "2", "policy.d_ff": "16"}
CLUSTER = ClusterInfo("started here", 1, 2, 0, 1e9, 2)
PROGRAM = "def add(a, b):\n    return a + b\n"


def _file(folder: Path, name: str, ids: range, **first: Any) -> str:
    """SPEC of a file of problems; `first`: fields of its first one."""
    problem = {"question": "Add.", "fn_name": "add", "inputs": [[1, 2]], "outputs": [3], "solutions": [PROGRAM]}
    lines = [json.dumps(problem | {"id": str(number)} | (first if number == ids[0] else {})) for number in ids]
    (folder / name).write_text("\n".join(lines))
    return f"jsonl:{folder / name}"


def _config(**fields: str) -> Config:
    return configuration.load(None, SHAPE | {key.replace("__", "."): value for key, value in fields.items()})


def test_a_problem_is_not_trained_on_and_held_out(tmp_path: Path) -> None:
    train, held_out = _file(tmp_path, "train.jsonl", range(1, 5)), _file(tmp_path, "held_out.jsonl", range(3, 7))
    with pytest.raises(UserError, match="2 problems have the same id .* the first 3: held-out problems must be others"):
        Inputs.from_config(_config(problems__train=train, problems__held_out=held_out))


def test_a_checkpoint_is_bound_to_the_problems_of_both_kinds_and_their_order(tmp_path: Path) -> None:
    def hash_of(train: range, held_out: range) -> str:
        files = _file(tmp_path, "train.jsonl", train), _file(tmp_path, "held_out.jsonl", held_out)
        return Inputs.from_config(_config(problems__train=files[0], problems__held_out=files[1])).hash

    usual = hash_of(range(4), range(10, 14))
    assert usual == hash_of(range(4), range(10, 14))
    others = [hash_of(range(5), range(10, 14)), hash_of(range(4), range(10, 15)), hash_of(range(4), range(13, 9, -1))]
    assert usual not in others and len(set(others)) == 3


def test_supervised_training_does_not_meet_prompts_that_are_left_out(tmp_path: Path) -> None:
    train = _file(tmp_path, "train.jsonl", range(1, 4), starter_code="x = 1\n" * 400)
    inputs = Inputs.from_config(_config(problems__train=train, problems__held_out="", warm_start__steps="2"))
    assert len(inputs.problems) == 2 and [(name, skipped.id) for name, skipped in inputs.left_out] == [(train, "1")]
    assert inputs.corpus is not None
    policy, rng = build_policy(inputs.spec, weights=False), random.Random(0)
    for _ in range(50):
        encode_prompt(policy, inputs.corpus.draw(rng)[0])


def test_fewer_problems_are_a_sample_of_all_and_the_same_in_every_run(tmp_path: Path) -> None:
    train, held_out = (
        _file(tmp_path, "train.jsonl", range(100, 200)),
        _file(tmp_path, "held_out.jsonl", range(1000, 3000)),
    )
    fields = {
        "problems__train": train,
        "problems__held_out": held_out,
        "problems__limit": "50",
        "evaluation__tasks": "40",
    }
    runs = [Inputs.from_config(_config(run__seed=seed, **fields)) for seed in "01"]
    ids = [[problem.id for problem in run.problems] for run in runs]
    held_out_ids = [[int(problem.id) for problem in run.held_out_problems] for run in runs]
    assert ids[0] == ids[1] and held_out_ids[0] == held_out_ids[1] == sorted(held_out_ids[0])
    assert len(ids[0]) == 50 and len(held_out_ids[0]) == 40
    assert sum(number >= 2000 for number in held_out_ids[0]) > 10, "the second half of the data"


@pytest.mark.parametrize(
    ("earlier", "given", "fits"),
    [
        ("", "redis://127.0.0.1:7000/0", False),
        ("redis://:secret@host:7000/1", "redis://:secret@host:7000/1", True),
        ("redis://:secret@host:7000/1", "redis://user:other@host:7000/1", True),
        ("redis://:secret@host:7000/1", "redis://:secret@host:7000/2", False),
        ("redis://:secret@host:7000/1", "redis://:secret@host:7001/1", False),
        ("redis://:secret@host:7000/1", "", False),
    ],
)
def test_a_run_goes_on_at_its_own_redis(tmp_path: Path, earlier: str, given: str, fits: bool) -> None:
    """Rows, samples and visits are numbered there: at another server the run would wait for numbers that it has passed."""
    folder = RunFolder.create(
        Config.model_validate({"run": {"folder": str(tmp_path), "name": "earlier"}, "redis": {"url": earlier}})
    )
    if fits:
        assert resume.load(str(folder.path), {"redis.url": given})[0].redis.url == given
        return
    with pytest.raises(UserError, match="--redis.url names another server than the run's") as caught:
        resume.load(str(folder.path), {"redis.url": given})
    assert "secret" not in str(caught.value)


def test_a_warm_start_that_does_not_fit_is_told_before_anything_starts(tmp_path: Path) -> None:
    fields = {
        "problems__train": _file(tmp_path, "train.jsonl", range(1, 4)),
        "problems__held_out": "",
        "policy__vocab_size": "290",
    }
    policy = build_policy(Inputs.from_config(_config(**fields)).spec)
    policy.model.save_pretrained(tmp_path / "model")
    policy.tokenizer.save_pretrained(tmp_path / "model")
    Inputs.from_config(_config(**fields, warm_start__reuse=str(tmp_path / "model")))
    with pytest.raises(UserError, match="there is no model in this folder"):
        Inputs.from_config(_config(**fields, warm_start__reuse=str(tmp_path)))
    with pytest.raises(UserError, match="does not fit the configured policy: .* is .*, not "):
        Inputs.from_config(_config(**fields, warm_start__reuse=str(tmp_path / "model"), policy__d_ff="32"))
    with pytest.raises(UserError, match="does not fit the configured policy: it has "):
        Inputs.from_config(_config(**fields, warm_start__reuse=str(tmp_path / "model"), policy__layers="2"))
    (tmp_path / "train.jsonl").write_text((tmp_path / "train.jsonl").read_text().replace("add", "sub"))
    with pytest.raises(UserError, match="its tokenizer is not the policy's"):
        Inputs.from_config(_config(**fields, warm_start__reuse=str(tmp_path / "model")))


def test_a_model_folder_is_found_from_any_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"problems__train": _file(tmp_path, "train.jsonl", range(1, 4)), "problems__held_out": ""}
    policy = build_policy(Inputs.from_config(_config(**fields)).spec)
    policy.model.save_pretrained(tmp_path / "model")
    policy.tokenizer.save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    spec = Inputs.from_config(
        _config(**fields, policy__model="model", policy__max_prompt_tokens="64", policy__max_program_tokens="64")
    ).spec
    monkeypatch.chdir("/")
    build_policy(spec)


def test_held_out_problems_whose_prompt_does_not_fit_stay_in_the_count(tmp_path: Path) -> None:
    train = _file(tmp_path, "train.jsonl", range(1, 5))
    held_out = _file(tmp_path, "held_out.jsonl", range(100, 110), starter_code="x = 1\n" * 400)
    inputs = Inputs.from_config(_config(problems__train=train, problems__held_out=held_out))
    (tasks,) = inputs.held_out
    assert (tasks.tasks, tasks.total, len(tasks.asked), [one.id for one in tasks.too_long]) == (
        10,
        10,
        9,
        ["100"],
    )
    assert "1 of 10 held-out problems, which count as not solved; the first, 100: The prompt" in " ".join(
        inputs.warnings
    )
    (fewer,) = Inputs.from_config(
        _config(problems__train=train, problems__held_out=held_out, evaluation__tasks="6")
    ).held_out
    assert fewer.tasks == 6 and str(fewer).startswith(f"6 of 10 from {held_out}")


def test_the_plan_says_what_is_trained_on_and_evaluated(tmp_path: Path) -> None:
    spec = _file(tmp_path, "own.jsonl", range(40), tests=["assert add(1, 2) == 3"], inputs=None, outputs=None)
    text = (tmp_path / "own.jsonl").read_text()
    lines = [
        json.loads(line) | {"question": f"Add {number}.", "url": "x"} for number, line in enumerate(text.splitlines())
    ]
    lines += [{"id": f"bad{number}", "question": ""} for number in range(5)] + [
        lines[1] | {"id": "odd", "question": "Odd.", "timeout": 3}
    ]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = _config(
        problems__train=spec,
        problems__limit="20",
        evaluation__tasks="3",
        evaluation__samples="4",
        evaluation__k="[4]",
        evaluation__best_by="max@4",
        evaluation__patience="3",
    )
    inputs = Inputs.from_config(config)
    cluster = ClusterInfo("started here", 1, 4, 0, 8e9, 2)
    plan = dict(make_plan(config, inputs.facts(config, cluster, tmp_path))[0].rows)
    assert plan["training problems"] == f"20 of 37 from {spec}; 5 skipped"
    assert plan["held-out problems"] == f"3 of 4 from 0.1 of the 41 problems of {spec}, held out of training"
    assert plan["fields not read"] == "url" and plan["prompts"] == "show 3 of a list of tests (problems.shown_tests)"
    assert plan["evaluation"].startswith("pass@1, pass@4, max@1, max@4 of 3 tasks x 4 samples")
    ends = "; the best checkpoint by max@4; training ends once there is no better max@4 for 3 evaluations"
    assert plan["evaluation"].endswith(ends)
    told = "\n".join(inputs.warnings)
    assert f"5 problems of {spec} left out: line 41, bad0: its question is empty; line 42, bad1: " in told
    assert "; and 2 more, which the report lists" in told
    assert "the field timeout of 1 record (line 46) is not read: did you mean time_limit_s?" in told
    assert len(inputs.left_out) == 5 and len(inputs.warnings) == 2


def test_every_set_is_checked_planned_and_fixed(tmp_path: Path) -> None:
    train, first = _file(tmp_path, "train.jsonl", range(1, 5)), _file(tmp_path, "first.jsonl", range(100, 110))
    long = _file(tmp_path, "long.jsonl", range(200, 204), starter_code="x = 1\n" * 400)
    some = [{"name": "some", "problems": first, "temperature": 0}, {"name": "long", "problems": long, "every": 7}]
    fields = {"problems__train": train, "problems__held_out": first, "evaluation__tasks": "6"}
    config = _config(**fields, evaluation__sets=json.dumps(some), evaluation__best_by="long:pass@1")
    inputs = Inputs.from_config(config)
    assert [(one.set, one.tasks, len(one.asked)) for one in inputs.held_out] == [
        ("", 6, 6),
        ("some", 6, 6),
        ("long", 4, 3),
    ]
    assert len(inputs.held_out_problems) == 9, "the same problems under two names are kept once"
    assert "1 of 4 held-out problems of long, which count as not solved; the first, 200" in " ".join(inputs.warnings)
    plan = dict(make_plan(config, inputs.facts(config, CLUSTER, tmp_path))[0].rows)
    assert plan["held-out problems"] == plan["held-out some"] == f"6 of 10 from {first}"
    assert plan["held-out long"].startswith(f"all 4 from {long}; 1 of them, whose prompt does not fit")
    assert plan["evaluation"].endswith("after the last; the best checkpoint by long:pass@1")
    assert plan["evaluation of some"].startswith("pass@1, max@1 of 6 tasks x 1 sample greedily, every 20 steps")
    assert plan["evaluation of long"].startswith("pass@1, max@1 of 4 tasks x 1 sample at temperature 1, every 7 steps")
    without, renamed = (
        Inputs.from_config(_config(**fields, evaluation__sets=json.dumps(sets)))
        for sets in ([], [some[0] | {"name": "other"}, some[1]])
    )
    assert without.hash == Inputs.from_config(_config(**fields)).hash
    assert len({inputs.hash, without.hash, renamed.hash}) == 3
    with pytest.raises(UserError, match="4 problems have the same id in problems.train .* and evaluation.sets own"):
        Inputs.from_config(_config(**fields, evaluation__sets=json.dumps([{"name": "own", "problems": train}])))
    folder = RunFolder.create(
        config.model_copy(update={"run": config.run.model_copy(update={"folder": str(tmp_path)})})
    )
    with pytest.raises(UserError, match="--evaluation.sets cannot be changed when a run goes on"):
        resume.load(str(folder.path), {"evaluation.sets": "[]"})
    assert resume.load(str(folder.path), {"evaluation.samples": "2"})[0].evaluation.sets == config.evaluation.sets


@pytest.mark.parametrize("kind", ["tokenizer", "folder", "settings", "none"])
def test_a_model_made_for_conversations_is_asked_in_one_or_warned_of(tmp_path: Path, kind: str) -> None:
    fields = {"problems__train": _file(tmp_path, "train.jsonl", range(1, 4)), "problems__held_out": ""}
    policy = build_policy(Inputs.from_config(_config(**fields)).spec)
    policy.model.save_pretrained(tmp_path / "model")
    policy.tokenizer.save_pretrained(tmp_path / "plain")
    if kind == "tokenizer":
        policy.tokenizer.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    policy.tokenizer.save_pretrained(tmp_path / "model")
    if kind == "folder":
        (tmp_path / "model" / "chat_template.jinja").write_text("{{ messages[0].content }}")
        fields["policy__tokenizer"] = str(tmp_path / "plain")
    if kind == "settings":
        settings = tmp_path / "model" / "tokenizer_config.json"
        settings.write_text(
            json.dumps(json.loads(settings.read_text()) | {"chat_template": "{{ messages[0].content }}"})
        )
    lengths = {"policy__max_prompt_tokens": "64", "policy__max_program_tokens": "64"}
    found = Inputs.from_config(_config(**fields, **lengths, policy__model=str(tmp_path / "model")))
    assert len(found.warnings) == (kind == "folder")
    assert all("has a chat template" in sentence and "set prompt.format raw" in sentence for sentence in found.warnings)
    asked_in_one = kind in ("tokenizer", "settings")
    assert (found.spec.chat is not None) == asked_in_one
    rows = dict(
        row for section in make_plan(_config(), found.facts(_config(), CLUSTER, tmp_path)) for row in section.rows
    )
    how = "turns in the chat template of the tokenizer" if asked_in_one else "raw text"
    assert rows["asked as"].startswith(f"{how}, style apps; the program is ")
    assert rows["asked as"].endswith("(entry_block)" if asked_in_one else "(whole)")
