"""What an engine promises, of each that there is: the project's own and one that writes token by token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rltf.actors.engine import Completion, Engine, Request
from rltf.actors.engines import make_engine
from rltf.actors.sampling import SamplingParams
from rltf.actors.sampling_engine import SamplingEngine
from rltf.buffer.records import VersionRun
from rltf.config import Config
from rltf.weights.manifest import ChecksumError, ManifestMismatch
from rltf.weights.packing import pack
from tests.support.engines import ScriptedEngine
from tests.support.policies import policy_of, spec_of

PROMPTS = [[5, 6, 7], [8, 9], [10, 11, 12, 13]]


def _scripted() -> ScriptedEngine:
    engine = ScriptedEngine(policy_of("llama", 12))
    engine.allow(10_000)
    return engine


@pytest.fixture(params=[lambda: SamplingEngine(policy_of("llama", 12)), _scripted], ids=["own", "scripted"])
def engine(request: pytest.FixtureRequest) -> Engine:
    make: Callable[[], Engine] = request.param
    return make()


def _finished(engine: Engine) -> dict[str, list[Completion]]:
    found: dict[str, list[Completion]] = {}
    for _ in range(1000):
        ended = dict(engine.step())
        assert not found.keys() & ended.keys()
        found |= ended
        if not engine.unfinished():
            return found
    raise AssertionError("the engine does not come to an end")


def test_requests_come_back_under_their_keys_with_the_version_that_wrote_them(engine: Engine) -> None:
    assert engine.step() == [] and engine.unfinished() == 0
    engine.load(*pack(policy_of("llama", 12, seed=3).model, 7))
    for number, prompt in enumerate(PROMPTS):
        engine.submit(f"r{number}", Request(prompt, 2, greedy=True, seed=number))
    engine.submit("other", Request(PROMPTS[0], 1, sampling=SamplingParams(0.5)))
    assert engine.unfinished() == 4
    found = _finished(engine)
    assert list(map(len, found.values())) == [3, 3, 3, 1] and found.keys() == {"r0", "r1", "r2", "other"}
    assert [[one.greedy for one in group] for group in found.values()][:1] == [[False, False, True]]
    for group in found.values():
        for completion in group:
            assert 1 <= len(completion.token_ids) == len(completion.log_probs) <= 12
            assert completion.versions == [VersionRun(7, 0)]


def test_a_key_under_way_is_refused_and_an_aborted_one_never_comes_back(engine: Engine) -> None:
    engine.submit("a", Request(PROMPTS[0], 1))
    engine.submit("b", Request(PROMPTS[1], 1))
    with pytest.raises(ValueError, match="'a' is under way"):
        engine.submit("a", Request(PROMPTS[0], 1))
    engine.abort("a")
    engine.abort("nobody")
    assert engine.unfinished() == 1 and _finished(engine).keys() == {"b"}
    engine.submit("a", Request(PROMPTS[0], 1))
    engine.close()
    assert engine.unfinished() == 0 and engine.step() == []


def test_a_corrupt_version_changes_nothing(engine: Engine) -> None:
    engine.load(*pack(policy_of("llama", 12, seed=1).model, 1))
    manifest, buckets = pack(policy_of("llama", 12, seed=2).model, 2)
    buckets[0][17] ^= 1
    with pytest.raises(ChecksumError):
        engine.load(manifest, buckets)
    engine.submit("a", Request(PROMPTS[0], 1))
    assert _finished(engine)["a"][0].versions == [VersionRun(1, 0)]


def test_who_asks_is_told_of_layers_and_tokens(engine: Engine) -> None:
    engine.load(*pack(policy_of("llama", 12, seed=3).model, 0))
    told: list[int] = []
    engine.submit("a", Request(PROMPTS[0], 3, seed=1, on_progress=lambda: told.append(engine.unfinished())))
    (completions,) = _finished(engine).values()
    layers = policy_of("llama", 12).model.config.num_hidden_layers if isinstance(engine, SamplingEngine) else 0
    assert told == [1] * (layers + max(len(one.token_ids) for one in completions))


@pytest.mark.parametrize("wrong", [{"prompt_ids": []}, {"samples": 0}, {"max_tokens": 0}])
def test_a_request_for_nothing_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="nothing to sample"):
        Request(**{"prompt_ids": [5], "samples": 1} | wrong)


def test_own_steps_are_batches_of_like_requests_each_with_random_numbers_of_its_own() -> None:
    policy = policy_of("llama", 12)
    engine = make_engine(spec_of("llama", 12), Config(), "cpu")
    engine.load(*pack(policy.model, 0))
    requests = {
        f"r{number}": Request(prompt, 2, True, SamplingParams(0.8, 0.9), 40 + number)
        for number, prompt in enumerate(PROMPTS)
    }
    requests |= {
        "alone": Request(PROMPTS[0], 4, seed=9),
        "last": Request(PROMPTS[0], 2, True, SamplingParams(0.8, 0.9), seed=50),
    }
    for key, request in requests.items():
        engine.submit(key, request)
    ended = engine.step()
    assert [key for key, _ in ended] == ["r0", "r1", "r2", "last"] and engine.unfinished() == 1
    ended += engine.step()
    for key, group in ended:
        engine.submit(key, requests[key])
        [(_, again)] = engine.step()
        assert [one.token_ids for one in again] == [one.token_ids for one in group]
    assert len({str(group[0].token_ids) for _, group in ended}) == len(ended)


def test_samples_asked_for_in_parts_are_those_asked_for_together() -> None:
    engine = make_engine(spec_of("llama", 12), Config(), "cpu")
    engine.load(*pack(policy_of("llama", 12).model, 0))
    written: dict[str, list[list[int]]] = {}
    for key, samples, first in (("all", 7, 0), ("begin", 3, 0), ("end", 4, 3)):
        engine.submit(key, Request(PROMPTS[0], samples, seed=9, first=first))
        [(_, group)] = engine.step()
        written[key] = [one.token_ids for one in group]
    assert written["begin"] + written["end"] == written["all"]
    assert len(set(map(str, written["all"]))) > 1


def _tokens(group: list[Completion]) -> list[tuple[list[int], list[float], str, bool]]:
    return [(one.token_ids, one.log_probs, one.finish_reason, one.greedy) for one in group]


def test_a_version_of_another_shape_is_refused() -> None:
    engine = SamplingEngine(policy_of("llama", 12))
    with pytest.raises(ManifestMismatch):
        engine.load(*pack(policy_of("gpt2", 12).model, 1))
