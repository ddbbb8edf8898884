"""The adapters in the libraries that they are for, where those are installed; each judges in the sandbox here."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rltf.config import ExecutorConfig
from rltf.executor.judge import InfrastructureFailure
from rltf.integrations import scorer as scoring
from rltf.integrations.scorer import Scorer
from rltf.integrations.trl import JudgeReward
from rltf.integrations.verifiers import passed
from rltf.integrations.verl import Unjudged, compute_score
from tests.support.service import ADD, RIGHT, WRONG, StartedService

PROBLEM = json.dumps(ADD)
BLOCK = f"Here it is:\n```python\n{RIGHT}```\n"
UNJUDGED = json.dumps({"inputs": ["1\n"], "outputs": ["1\n"], "checker_code": "def check(a, b, c):\n    return 0\n"})


@pytest.fixture(scope="module", autouse=True)
def scorer() -> Iterator[Scorer]:
    """One for all tests of this file, which the adapters find too."""
    scoring.shared_scorer.cache_clear()
    shared = scoring.shared_scorer()
    yield shared
    shared.close()
    scoring.shared_scorer.cache_clear()


def test_responses_become_numbers_and_what_is_not_judged_none(scorer: Scorer) -> None:
    pairs: list[tuple[Any, Any]] = [
        (PROBLEM, BLOCK),
        (ADD, [{"role": "assistant", "content": BLOCK}]),
        (PROBLEM, WRONG),
        (PROBLEM, "<think>\n" + BLOCK),
        (UNJUDGED, "print(1)"),
        (PROBLEM, RIGHT),
    ]
    assert scorer.scores(pairs) == [1.0, 1.0, 0.0, 0.0, None, 1.0]
    found = scorer.judged(pairs[3:5])
    assert getattr(found[0], "error_type", None) == "NoProgram" and isinstance(found[1], InfrastructureFailure)
    ratio = Scorer(lanes=1, measure="pass_ratio")
    assert ratio.scores([(PROBLEM, WRONG)]) == [0.5]
    ratio.close()
    assert ratio.scores([(PROBLEM, WRONG)]) == [0.5], "it starts again"
    ratio.close()
    with pytest.raises(ValueError, match="it needs inputs and outputs"):
        scorer.judged([("{}", RIGHT)])


def test_they_judge_at_a_service_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with StartedService(tmp_path, "--executor.lanes", "1") as service:
        monkeypatch.setenv("RLTF_JUDGE_TOKEN", service.token)
        monkeypatch.setenv(scoring.URL, service.url)
        elsewhere = Scorer(lanes=2)
        assert elsewhere.scores([(PROBLEM, BLOCK), (PROBLEM, WRONG)]) == [1.0, 0.0]
        elsewhere.close()


def test_trl_trains_with_it(tmp_path: Path) -> None:
    """Three steps of GRPO of a tiny model; rewards are what the judge says."""
    pytest.importorskip("trl")
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    from rltf.config import PolicyConfig
    from rltf.policy.policy import build_policy, make_spec

    shape = PolicyConfig(d_model=32, layers=1, heads=2, d_ff=64)
    tokenizer = build_policy(make_spec(shape, [RIGHT, WRONG, "Write it."])).tokenizer
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
        )
    )
    seen: list[list[float | None]] = []

    class Kept(JudgeReward):
        """Judges known programs in place of the model's, which would all be wrong alike."""

        def __call__(self, completions: Any, **columns: Any) -> list[float | None]:
            assert len(completions) == 4 and columns["problem"] == [PROBLEM] * 4
            seen.append(super().__call__([BLOCK, WRONG, RIGHT, "print(1)"], problem=[PROBLEM] * 3 + [UNJUDGED]))
            return seen[-1]

    data = Dataset.from_list([{"prompt": "Write it.", "problem": PROBLEM}] * 12)
    arguments = GRPOConfig(
        str(tmp_path), max_steps=3, per_device_train_batch_size=4, num_generations=2, max_completion_length=4,
        report_to="none", use_cpu=True, save_strategy="no", logging_steps=1, disable_tqdm=True, bf16=False,
    )  # fmt: skip
    trainer = GRPOTrainer(model, reward_funcs=Kept(), args=arguments, train_dataset=data, processing_class=tokenizer)
    trainer.train()
    assert trainer.state.global_step == 3 and len(seen) >= 3
    assert all(row == [1.0, 0.0, 1.0, None] for row in seen)
    assert any("rewards/judge_reward/mean" in row for row in trainer.state.log_history)


def test_verl_loads_and_calls_it() -> None:
    assert compute_score("mine", BLOCK, PROBLEM)["score"] == 1.0
    with pytest.raises(Unjudged, match="checker_code gave 0"):
        compute_score("mine", "print(1)", UNJUDGED, extra_info={"index": 3})
    pytest.importorskip("verl")
    from verl.utils.import_utils import load_extern_object

    loaded = load_extern_object("pkg://rltf.integrations.verl", "compute_score")
    told = loaded(
        data_source="mine", solution_str=WRONG, ground_truth=PROBLEM, extra_info={}, reward_router_address=None
    )
    assert told["score"] == told["acc"] == 0.0 and told["pass_ratio"] == 0.5 and told["outcome"] == "failure"


def test_verls_client_of_sandboxfusion_works_unchanged(tmp_path: Path) -> None:
    pytest.importorskip("verl")
    from verl.utils.reward_score.sandbox_fusion import compute_score as by_sandbox_fusion

    tests = {"inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7\n"]}
    with StartedService(tmp_path, "--executor.lanes", "2", token="") as service:

        def score(program: str) -> Any:
            return by_sandbox_fusion(
                f"{service.url}/run_code", None, 512, f"```python\n{program}\n```", tests, continuous=True
            )

        right, facts = score("print(sum(map(int, input().split())))")
        assert right == 1.0 and all(one["status"] == "success" for one in facts)
        assert score("print(3)")[0] == 0.5
        broken, facts = score("print(1 / 0)")
        assert broken == 0.0 and facts[0]["status"] == "runtime_error" and "ZeroDivisionError" in facts[0]["stderr"]


def test_verifiers_scores_with_it() -> None:
    assert asyncio.run(passed(completion=[{"role": "assistant", "content": BLOCK}], info={"problem": PROBLEM})) == 1.0
    verifiers = pytest.importorskip("verifiers")
    if hasattr(verifiers, "Rubric"):  # before 0.4
        asked = {"prompt": [], "answer": "", "task": "mine", "info": {"problem": PROBLEM}, "example_id": 0}
        state = verifiers.State(input=verifiers.RolloutInput(**asked))
        state["completion"] = [{"role": "assistant", "content": BLOCK}]
        state["timing"] = {"scoring_ms": 0, "total_ms": 0}
        asyncio.run(verifiers.Rubric(funcs=[passed]).score_rollout(state))
        assert state["reward"] == 1.0
        return
    import verifiers.v1 as vf

    class CodeData(vf.TaskData):
        problem: str

    class CodeTask(vf.Task[CodeData]):
        @vf.reward
        async def passed(self, task: Any, trace: Any) -> float:
            return await passed(task=task, trace=trace)

    task = CodeTask(CodeData(prompt="Write add(a, b).", problem=PROBLEM))

    class Reply:
        """As much of a trace as scoring a reply looks at."""

        last_reply = BLOCK
        metrics: dict[str, float] = {}
        rewards: dict[str, Any] = {}

        def record_reward(self, name: str, value: float, weight: float = 1.0) -> None:
            self.rewards[name] = value * weight

    trace = Reply()
    asyncio.run(task.score(trace))  # type: ignore[arg-type]
    assert trace.rewards == {"passed": 1.0}


def test_nothing_is_imported_for_it() -> None:
    """The adapters import none of the libraries that they are for."""
    import subprocess
    import sys

    code = "import sys, rltf.integrations.trl, rltf.integrations.verl, rltf.integrations.verifiers\n"
    code += "print(*{name.partition('.')[0] for name in sys.modules} & {'torch', 'trl', 'verl', 'verifiers', 'ray', 'redis'})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=dict(os.environ)
    )
    assert done.stdout.strip() == "" and done.returncode == 0, done.stderr
    assert ExecutorConfig().judge == "sandbox"
