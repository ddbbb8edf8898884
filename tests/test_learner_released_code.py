"""The `released_code` preset on real samples: per-token rewards as the released code of RLTF gives them, worked out here on its own.

5 APPS problems, 83 programs sampled from a model with their published results and baselines. The published data hold neither the lines
of errors nor the share of tests passed; those below are what running the programs shows.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from learner_parts import characters, feedback, group

from buffer.records import Feedback, Sample
from config import PolicyConfig, RltfConfig
from learner.objectives.rltf import Rltf
from policy.encoding import decode_with_offsets, encode_program
from policy.policy import Policy, build_policy, make_spec

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
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
OUTCOMES = {True: "pass", False: "failure", -1: "runtime_error", -2: "compile_error"}
ERRORS = {
    "unboundlocalerror": "UnboundLocalError", "indexerror": "IndexError", "nameerror": "NameError", "valueerror": "ValueError",
    "syntaxerror": "SyntaxError", "typeerror": "TypeError", "timeoutexception": "TimeLimit",
}  # fmt: skip


@pytest.fixture(scope="module")
def codet5() -> Policy:
    shape = {"family": "t5", "d_model": 8, "layers": 1, "heads": 2, "d_ff": 8, "max_program_tokens": 512}
    return build_policy(make_spec(PolicyConfig.model_validate(shape | {"tokenizer": str(DATA / "tokenizers" / "codet5")}), []))


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


def per_token(kind: int, result: Any, ratio: float, base: float, mask: list[int], q: float = 1.0) -> list[float]:
    """r_t of `fine_grained_type` 1 and 0; q_t is the critic's weight, 1 without one."""
    if kind == 1:
        return [q * (reward(result, ratio) - 0.3 * m - base) for m in mask]
    return [q * (reward(result, ratio) - base) - 0.3 * m for m in mask]


# ---- ours


def verdict(problem: str, index: int, published: dict[str, Any], tests: int) -> Feedback:
    result = published["result"]
    passed = tests if result is True else PASSED.get(problem, {}).get(index, 0) if result is False else 0
    error = ERRORS[published["error_type"]] if result in (-1, -2) and not isinstance(result, bool) else None
    return feedback(OUTCOMES[result], error, LINES.get(problem, {}).get(index), passed, tests)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [0, 1])
def test_per_token_rewards_of_the_published_samples(codet5: Policy, problems: Any, kind: int) -> None:
    objective = Rltf(RltfConfig(preset="released_code"), codet5.is_encoder_decoder, 512)
    compared = blamed = 0
    for problem, (samples, base) in problems.items():
        base_feedback = feedback(OUTCOMES[base["result"]], None, None, round(base["pass_ratio"] * 8), 8)  # type: ignore[arg-type]
        members = []
        for index, published in enumerate(samples):
            ids = encode_program(codet5, published["code"])
            text, offsets = decode_with_offsets(codet5, ids)
            program = characters(text, token_ids=ids, offsets=offsets, problem_id=problem)
            members.append(Sample(program=program, feedback=verdict(problem, index, published, TESTS[problem])))
        greedy = Sample(program=characters(base["code"], problem_id=problem, greedy=True), feedback=base_feedback)
        prepared = objective.prepare([group(members, greedy, problem)])
        items = {item.id: item for item in prepared.items}
        for index, (member, published) in enumerate(zip(members, samples, strict=True)):
            program, line = member.program, LINES.get(problem, {}).get(index)
            mask = line_mask(codet5, program.token_ids, program.text, published["result"], published["error_type"], line)
            ratio = PASSED.get(problem, {}).get(index, 0) / TESTS[problem]
            expected = per_token(kind, published["result"], ratio, reward(base["result"], base["pass_ratio"]), mask)
            ours = items[program.id].weights.sum(0) if program.id in items else np.zeros(len(program.token_ids))
            np.testing.assert_allclose(ours, expected, atol=1e-6, err_msg=f"{problem} {index}")
            compared, blamed = compared + 1, blamed + any(mask)
    assert compared == 83 and blamed == 20, "25 errors but for 4 timeouts, and one at compile time that is no syntax error"
