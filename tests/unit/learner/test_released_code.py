"""The `released_code` preset on real samples: per-token rewards as the released code of RLTF gives them, worked out
here on its own.

5 APPS problems, 83 programs sampled from a model with their published results and baselines. The published data hold
neither the lines of errors nor the share of tests passed; those below are what running the programs shows.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rltf.buffer.records import Feedback, Group, Sample
from rltf.config import Config, PolicyConfig
from rltf.learner.batching import plan
from rltf.learner.critic import OUTCOME_CLASSES, Critic
from rltf.learner.objectives.rltf import Rltf
from rltf.learner.training_step import frozen_models
from rltf.policy.encoding import decode_with_offsets, encode_program
from rltf.policy.policy import Policy, build_policy, make_spec
from tests.support.learner_parts import characters, feedback, group
from tests.support.paths import SHARED

DATA = SHARED / "data"
pytestmark = [
    pytest.mark.real_problems,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent: real problems are not part of the project"),
]

TESTS = {"0001": 1, "0111": 1, "2287": 3, "2404": 1, "4184": 8}
PASSED = {"4184": {2: 6, 3: 6, 4: 4, 6: 6, 7: 4, 8: 6, 9: 4, 10: 6, 13: 6, 17: 6}}
LINES = {
    "0111": {0: 30, 3: 10, 4: 20, 5: 38, 7: 5, 8: 3, 10: 3, 11: 4, 13: 5, 15: 22, 18: 5, 19: 3},
    "2287": {0: 25, 1: 26, 2: 26, 3: 19},
    "4184": {1: 7, 5: 14, 11: 14, 12: 9, 14: 26, 15: 31, 16: 17, 18: 19, 19: 14},
}
OUTCOMES_OF: dict[Any, Any] = {True: "pass", False: "failure", -1: "runtime_error", -2: "compile_error"}
ERRORS = {
    "unboundlocalerror": "UnboundLocalError", "indexerror": "IndexError", "nameerror": "NameError", "valueerror": "ValueError",
    "syntaxerror": "SyntaxError", "typeerror": "TypeError", "timeoutexception": "TimeLimit",
}  # fmt: skip


@pytest.fixture(scope="module")
def codet5() -> Policy:
    shape = {"family": "t5", "d_model": 8, "layers": 1, "heads": 2, "d_ff": 8, "max_program_tokens": 512}
    return build_policy(
        make_spec(PolicyConfig.model_validate(shape | {"tokenizer": str(DATA / "tokenizers" / "codet5")}), [])
    )


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Published samples and baseline of each problem."""
    folder = tmp_path_factory.mktemp("rltf_apps")
    with tarfile.open(DATA / "rltf_apps" / "train5.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    found = {}
    for path in sorted((folder / "rltf_apps/APPS/train").iterdir()):
        samples = json.loads((path / "gen_solutions.json").read_text())
        found[path.name] = (samples, json.loads((path / "baseline_solutions_final.json").read_text())[-1])
    assert sum(len(samples) for samples, _ in found.values()) == 83
    return found


# ---- the released code's way, from its description


def reward(result: Any, ratio: float) -> float:
    if result is True:
        return 1.0
    return {False: -0.3 + 1.3 * ratio, -1: -0.6, -2: -1.0}[result]


def line_mask(policy: Policy, ids: list[int], source: str, result: Any, error: str, line: int | None) -> list[int]:
    """1 at the tokens of the blamed line, found by decoding ever longer beginnings of the program."""
    if result is True or result is False or error == "timeoutexception" or (result == -2 and error != "syntaxerror"):
        return [0] * len(ids)
    assert line is not None
    wanted = source.split("\n")[line - 1].strip()

    def decode(tokens: list[int]) -> str:
        return str(policy.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    start = decode(ids).find(wanted) + 1
    mask = [0] * len(ids)
    for index in range(len(ids)):
        beginning = decode(ids[: index + 1])
        if len(beginning) >= start:
            mask[index] = 1
        if wanted in beginning:
            break
    return mask


def per_token(kind: int, result: Any, ratio: float, base: float, mask: list[int], q: Sequence[float]) -> list[float]:
    """r_t of `fine_grained_type` 1 and 0; q_t is the critic's weight, 1 without one."""
    if kind == 1:
        return [q_t * (reward(result, ratio) - 0.3 * m - base) for m, q_t in zip(mask, q, strict=True)]
    return [q_t * (reward(result, ratio) - base) - 0.3 * m for m, q_t in zip(mask, q, strict=True)]


# ---- ours


def verdict(problem: str, index: int, published: dict[str, Any], tests: int) -> Feedback:
    result = published["result"]
    passed = tests if result is True else PASSED.get(problem, {}).get(index, 0) if result is False else 0
    error = ERRORS[published["error_type"]] if result in (-1, -2) and not isinstance(result, bool) else None
    return feedback(OUTCOMES_OF[result], error, LINES.get(problem, {}).get(index), passed, tests)


@dataclass
class Visit:
    """One problem's programs as ours and as published, with the tokens that the released code blames."""

    problem: str
    group: Group
    published: list[dict[str, Any]]
    masks: list[list[int]]
    base: float
    """The baseline's reward."""


@pytest.fixture(scope="module")
def visits(codet5: Policy, problems: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]]) -> list[Visit]:
    found = []
    for problem, (samples, base) in problems.items():
        base_feedback = feedback(OUTCOMES_OF[base["result"]], None, None, round(base["pass_ratio"] * 8), 8)
        members, masks = [], []
        for index, published in enumerate(samples):
            ids = encode_program(codet5, published["code"])
            text, offsets = decode_with_offsets(codet5, ids)
            program = characters(text, token_ids=ids, log_probs=[-1.0] * len(ids), offsets=offsets, problem_id=problem)
            members.append(Sample(program=program, feedback=verdict(problem, index, published, TESTS[problem])))
            line = LINES.get(problem, {}).get(index)
            masks.append(line_mask(codet5, ids, text, published["result"], published["error_type"], line))
        greedy = Sample(program=characters(base["code"], problem_id=problem, greedy=True), feedback=base_feedback)
        found.append(
            Visit(problem, group(members, greedy, problem), samples, masks, reward(base["result"], base["pass_ratio"]))
        )
    assert sum(len(visit.masks) for visit in found) == 83
    blamed = sum(any(mask) for visit in found for mask in visit.masks)
    assert blamed == 20, "25 errors but for 4 timeouts, and one at compile time that is no syntax error"
    return found


@pytest.mark.parametrize(("kind", "weighs"), [(0, False), (0, True), (1, True)])
def test_per_token_rewards_of_the_published_samples(
    codet5: Policy, visits: list[Visit], kind: int, weighs: bool, tmp_path: Path
) -> None:
    """Without a critic type 0 and 1 are the same; one of random weights shows what it multiplies."""
    critic = Critic(build_policy(codet5.spec, seed=5), 4096)
    critic.save(tmp_path / "critic", {})
    config = Config.model_validate(
        {
            "rltf": {
                "preset": "released_code",
                "fine_grained_type": kind,
                "critic_weighting": weighs,
                "critic": str(tmp_path / "critic"),
            },
            "learner": {"objective": "rltf"},
            "actors": {"greedy": True},
        }  # fmt: skip
    )
    objective = Rltf(config.rltf, codet5.is_encoder_decoder, 512)
    frozen = frozen_models(codet5, config, tmp_path, "cpu")
    assert len(frozen) == int(weighs)
    factors: set[float] = set()
    for visit in visits:
        mine = plan(codet5, objective.prepare([visit.group]).items, 4096)
        for annotate in frozen:
            mine = annotate(mine)
        items = {item.id: item for batch in mine.micro_batches for item in batch.items}
        found: dict[str, np.ndarray] = {}
        if weighs:
            with torch.no_grad():
                logits = critic.logits([*items.values()])
            found = {name: rows.softmax(dim=1).numpy() for name, rows in zip(items, logits, strict=True)}
        for index, (member, published) in enumerate(zip(visit.group.samples, visit.published, strict=True)):
            name, length = member.program.id, len(member.program.token_ids)
            ratio = PASSED.get(visit.problem, {}).get(index, 0) / TESTS[visit.problem]
            q = (
                found[name][:, OUTCOME_CLASSES.index(OUTCOMES_OF[published["result"]])]
                if name in found
                else np.ones(length)
            )
            factors.update(q.tolist())
            expected = per_token(kind, published["result"], ratio, visit.base, visit.masks[index], q)
            ours = items[name].weights.sum(0) if name in items else np.zeros(length)
            np.testing.assert_allclose(ours, expected, atol=1e-6, err_msg=f"{visit.problem} {index}")
    assert len(factors) > 1000 if weighs else factors == {1.0}
