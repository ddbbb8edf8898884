"""Versions from the learner's memory to an actor's: over real sockets and gloo, between real processes where one of
them is killed.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pytest
import torch

from rltf.policy.lora import LoraSettings, attach, named_adapters
from rltf.telemetry.recorder import Recorder, Row
from rltf.weights import direct_source
from rltf.weights.adapters import AdapterLoader
from rltf.weights.buckets import Bucket, Manifest, load_into, named_weights, pack_tensors, unpack, word_sums
from rltf.weights.direct_publisher import DirectPublisher
from rltf.weights.direct_sender import Offer, WeightSender
from rltf.weights.direct_source import DirectSource
from rltf.weights.line import Line, LineLost
from rltf.weights.loader import WeightLoader
from rltf.weights.snapshot import Snapshot
from tests.support.paths import ROOT
from tests.support.policies import policy_of

CPU = torch.device("cpu")
HERE = "127.0.0.1"
BUCKET = 20_000
"""A policy of these tests has several of them."""


class Kept:
    """Versions kept in this process, as the weight store keeps them in its own."""

    def __init__(self) -> None:
        self.versions: list[tuple[Manifest, list[Bucket]]] = []
        self.last_offer: Offer | None = None
        self.asked: list[int] = []
        """Versions that actors took from here."""

    def take(self, weights: Iterable[tuple[str, torch.Tensor]], version: int, dtype: torch.dtype | None) -> None:
        self.versions.append(pack_tensors(weights, version, dtype))

    def restore(self) -> bool:
        return False

    def offer(self, offer: Offer | None) -> None:
        self.last_offer = offer

    def offered(self) -> Offer | None:
        return self.last_offer

    def latest(self, newer_than: int) -> tuple[Manifest, list[Bucket]] | None:
        if not self.versions or self.versions[-1][0].version <= newer_than:
            return None
        self.asked.append(self.versions[-1][0].version)
        return self.versions[-1]

    def acknowledge(self, version: int) -> None:
        pass


class Learner:
    """Publishes weights as the learner does."""

    def __init__(self, store: Kept, timeout_s: float = 20.0) -> None:
        self.store = store
        self.sender = WeightSender(HERE, CPU, timeout_s)
        self.publisher = DirectPublisher(store, self.sender, CPU, 20.0, BUCKET)

    def publish(self, version: int, dtype: torch.dtype | None = None, weights: Any = None) -> None:
        """Weights drawn with the version as seed; the store has them too when this returns."""
        self.publisher.take(weights or list(named_weights(policy_of("llama", 12, seed=version).model)), version, dtype)
        self.publisher.settle()


class Actor:
    """Loads versions as an actor does."""

    def __init__(self, store: Kept, timeout_s: float = 20.0, load: Any = load_into, model: Any = None) -> None:
        self.rows: list[Row] = []
        recorder = Recorder("actor-0", self.rows.extend, period_s=0)
        self.model = model or policy_of("llama", 12, seed=99).model
        self.source = DirectSource("actor-0", store, CPU, timeout_s, recorder)
        self.loader = WeightLoader(partial(load, self.model), self.source, recorder)

    def counted(self, name: str) -> int:
        return int(sum(row["value"] for row in self.rows if row["kind"] == "count" and row["name"] == name))

    def has(self, version: int, dtype: torch.dtype | None = None) -> bool:
        """Whether it has exactly the weights of the version."""
        expected = named_weights(policy_of("llama", 12, seed=version).model)
        cast = ((name, value.to(dtype).float() if dtype else value) for name, value in expected)
        found = dict(named_weights(self.model))
        return self.loader.version == version and all(torch.equal(found[name], value) for name, value in cast)

    def between_buckets(self, act: Callable[[], None]) -> None:
        """Does `act` once, when the first bucket of the next version has come and the others have not."""
        assert self.source._link is not None
        pair = self.source._link._pair
        receive, calls = pair.receive, iter(range(10**6))

        def receive_and_act(data: torch.Tensor) -> None:
            receive(data)
            if next(calls) == 0:
                act()

        pair.receive = receive_and_act  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_source, "_LOOK_S", 0.0)


@pytest.fixture
def store() -> Kept:
    return Kept()


@pytest.fixture
def make_learner(store: Kept) -> Iterator[Callable[..., Learner]]:
    made: list[Learner] = []

    def make(**fields: Any) -> Learner:
        made.append(Learner(store, **fields))
        return made[-1]

    yield make
    for learner in made:
        learner.publisher.__exit__(None, None, None)


def until(reached: Callable[[], object], bound_s: float = 20.0) -> None:
    deadline = time.monotonic() + bound_s
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def warnings(caplog: pytest.LogCaptureFixture, of: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == of and record.levelno >= logging.WARNING]


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_a_version_arrives_exactly_and_the_store_has_the_same(
    store: Kept, make_learner: Callable[..., Learner], dtype: torch.dtype | None
) -> None:
    learner, actor = make_learner(), Actor(store)
    assert not actor.loader.refresh()
    learner.publish(0, dtype)
    assert actor.loader.refresh() and actor.has(0, dtype) and not actor.loader.refresh()
    learner.publish(1, dtype)
    learner.publish(2, dtype)
    assert actor.loader.refresh() and actor.has(2, dtype)
    until(lambda: learner.sender.sent == 2)
    assert store.asked == [] and actor.counted("direct_versions") == 2 and not actor.counted("direct_failures")
    target = policy_of("llama", 12, seed=50)
    load_into(target.model, *store.versions[-1])
    assert all(torch.equal(value, target.model.get_parameter(name)) for name, value in actor.model.named_parameters())
    # A learner that ends in order is no failure; what the store has from then on comes from there.
    learner.publisher.__exit__(None, None, None)
    store.take(list(named_weights(policy_of("llama", 12, seed=3).model)), 3, None)
    assert actor.loader.refresh() and actor.has(3) and not actor.counted("direct_failures")


def test_every_number_format_and_shape_lies_in_a_snapshot_as_it_was() -> None:
    def tensors(factor: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(factor)
        return {
            "scalar": torch.tensor(2.5 * factor), "empty": torch.zeros(0, 3), "half": torch.randn(5, 3).half(),
            "brain": torch.randn(7).bfloat16(), "long": torch.tensor([factor, -(2**40)]), "flags": torch.tensor([True, False, factor > 1]),
            "large": torch.randn(40, 40), "turned": torch.randn(4, 6).T,
        }  # fmt: skip

    for dtype in (None, torch.bfloat16):
        snapshot = Snapshot(CPU, bucket_bytes=256)
        for version in (1, 2):
            given = tensors(version)
            snapshot.write(iter(given.items()), version, dtype)
            with snapshot.reading():
                manifest = snapshot.manifest()
            assert manifest.version == version and manifest.nbytes == snapshot.nbytes and len(snapshot.buckets) > 1
            manifest.verify(snapshot.buckets)
            for name, found in unpack(manifest, snapshot.buckets):
                expected = given[name].to(dtype) if dtype and given[name].is_floating_point() else given[name]
                assert torch.equal(found, expected) and found.dtype == expected.dtype, name
    with pytest.raises(ValueError, match="version 3 has scalar"):
        snapshot.write([("scalar", torch.zeros(2))], 3)


def test_word_sums_see_a_flipped_bit_and_exchanged_words() -> None:
    data = torch.randint(0, 256, (4_200_000 // 8 * 8,), dtype=torch.uint8)
    sums = word_sums(data)
    assert len(sums) == 2
    for place in (0, 4_194_304, data.numel() - 1):
        data[place] ^= 128
        assert word_sums(data) != sums
        data[place] ^= 128
    assert word_sums(data) == sums
    data[:16] = data[:16].roll(8)
    assert word_sums(data) != sums
    assert word_sums(data[:0]) == (0,)


def test_adapters_alone_are_sent_and_merged(store: Kept, make_learner: Callable[..., Learner]) -> None:
    pytest.importorskip("peft")
    settings = LoraSettings(2, 4.0, ())
    trained, plain = policy_of("llama", 12, seed=5).model, policy_of("llama", 12, seed=5).model
    attach(trained, settings, 0)
    with torch.no_grad():
        for name, tensor in named_adapters(trained):
            tensor.normal_(generator=torch.Generator().manual_seed(len(name)))
    learner, actor = make_learner(), Actor(store, load=AdapterLoader(plain, settings), model=plain)
    learner.publish(0, weights=list(named_adapters(trained)))
    assert actor.loader.refresh() and actor.counted("direct_versions") == 1
    ids = torch.tensor([[5, 6, 7]])
    assert torch.allclose(trained(input_ids=ids).logits, plain(input_ids=ids).logits, atol=1e-4)
    assert learner.publisher._snapshots[0].nbytes < 64 * 1024


def test_versions_published_while_one_is_sent_change_nothing_of_it(
    store: Kept, make_learner: Callable[..., Learner]
) -> None:
    learner, actor = make_learner(), Actor(store)
    learner.publish(0)
    assert actor.loader.refresh()
    learner.publish(1)

    def publish_two_more() -> None:
        learner.publish(2)  # into the other snapshot
        learner.publish(3)  # none is free: the store alone has it

    actor.between_buckets(publish_two_more)
    assert actor.loader.refresh() and actor.has(1)
    assert actor.loader.refresh() and actor.has(3) and store.asked == [3]
    learner.publish(4)
    assert actor.loader.refresh() and actor.has(4) and store.asked == [3] and not actor.counted("direct_failures")


def test_a_version_that_comes_corrupt_is_not_loaded_and_comes_from_the_store(
    store: Kept, make_learner: Callable[..., Learner], caplog: pytest.LogCaptureFixture
) -> None:
    learner, actor = make_learner(), Actor(store)
    learner.publish(0)
    assert actor.loader.refresh()
    learner.publish(1)

    def flip() -> None:
        assert actor.source._link is not None
        actor.source._link._buckets[0][7] ^= 1

    actor.between_buckets(flip)
    assert not actor.loader.refresh() and actor.has(0) and actor.counted("corrupt_versions") == 1
    until(actor.loader.refresh)  # after a pause
    assert actor.has(1) and store.asked == [1]
    learner.publish(2)
    assert actor.loader.refresh() and actor.has(2) and store.asked == [1, 2], (
        "the same learner is not tried again at once"
    )
    assert warnings(caplog, "rltf.weights.direct_source") == [
        "weights come from the weight store for now: version 1 came from the learner and could not be loaded"
    ]


def test_who_does_not_answer_is_given_up_within_the_bound_and_holds_nobody_up(
    store: Kept, make_learner: Callable[..., Learner], caplog: pytest.LogCaptureFixture
) -> None:
    learner = make_learner(timeout_s=0.5)
    slow, other = Actor(store), Actor(store)
    learner.publish(0)
    assert slow.loader.refresh() and other.loader.refresh()
    learner.publish(1)
    given_up = threading.Event()
    slow.between_buckets(lambda: given_up.wait(20) and None)
    waiting = threading.Thread(target=slow.loader.refresh, daemon=True)
    waiting.start()
    until(lambda: warnings(caplog, "rltf.weights.direct_sender"))
    (told,) = warnings(caplog, "rltf.weights.direct_sender")
    assert told.startswith(
        "actor-0 gets its weights from the weight store from now on: actor-0 did not take 0.0 MB within 0.5 s"
    )
    assert other.loader.refresh() and other.has(1)
    given_up.set()
    waiting.join(20)
    assert slow.has(1) and slow.counted("direct_failures") == 1
    assert other.counted("direct_versions") == 2


def test_only_who_knows_the_token_is_served(
    store: Kept, make_learner: Callable[..., Learner], caplog: pytest.LogCaptureFixture
) -> None:
    learner = make_learner()
    learner.publish(0)
    assert store.last_offer is not None
    stranger = Line.to((HERE, store.last_offer.port), "the learner", 5)
    stranger.say({"token": "ä", "name": "stranger"}, 5)
    with pytest.raises(LineLost, match="the learner is gone, where to meet was to come"):
        stranger.hear("where to meet", 5)
    until(lambda: warnings(caplog, "rltf.weights.direct_sender"))
    assert "does not know the token" in warnings(caplog, "rltf.weights.direct_sender")[0]


PROCESS = """
import sys
from dataclasses import astuple
from tests.integration.weights.test_direct import *

store = Kept()
if sys.argv[1] == "learner":
    learner = Learner(store)
    learner.publish(5)
    print(*astuple(store.last_offer), flush=True)
    sys.stdin.read()
else:
    store.offer(Offer(sys.argv[2], int(sys.argv[3]), sys.argv[4]))
    actor = Actor(store)
    assert actor.loader.refresh() and actor.has(5)
    print("loaded", flush=True)
    sys.stdin.readline()
    actor.between_buckets(lambda: print("half", flush=True) or sys.stdin.read())
    actor.loader.refresh()
"""


def process(*arguments: object) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROCESS, *map(str, arguments)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )


def line(of: subprocess.Popen[str]) -> str:
    assert of.stdout is not None
    return of.stdout.readline().strip()


def test_either_side_may_be_killed_in_the_middle(
    store: Kept, make_learner: Callable[..., Learner], caplog: pytest.LogCaptureFixture
) -> None:
    here = make_learner()
    here.publish(5)
    assert store.last_offer is not None
    there = process("learner")
    received = process("actor", store.last_offer.address, store.last_offer.port, store.last_offer.token)
    try:
        # The actor: the learner goes on, its snapshots are free, others are served.
        assert line(received) == "loaded"
        here.publish(6)
        assert received.stdin is not None
        received.stdin.write("\n")
        received.stdin.flush()
        assert line(received) == "half"
        received.send_signal(signal.SIGKILL)
        until(lambda: warnings(caplog, "rltf.weights.direct_sender"))
        (told,) = warnings(caplog, "rltf.weights.direct_sender")
        assert (
            told.startswith("actor-0 gets its weights from the weight store from now on: actor-0 ") and "gone" in told
        ), told
        for version in (7, 8, 9):
            here.publish(version)
        other = Actor(store)
        assert other.loader.refresh() and other.has(9) and store.asked == []

        # The learner: the actor has the version from the store, and the next learner's directly.
        address, port, token = line(there).split()
        survived = Kept()
        survived.take(list(named_weights(policy_of("llama", 12, seed=5).model)), 5, None)
        survived.offer(Offer(address, int(port), token))
        actor = Actor(survived)
        connect = direct_source._Link

        def killing(*arguments: Any) -> Any:
            link = connect(*arguments)
            actor.source._link = link
            actor.between_buckets(lambda: there.kill() or there.wait() and None)
            return link

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(direct_source, "_Link", killing)
            assert actor.loader.refresh() and actor.has(5) and survived.asked == [5]
        (told,) = warnings(caplog, "rltf.weights.direct_source")
        assert told.startswith("weights come from the weight store for now: the learner did not send"), told
        assert actor.counted("direct_failures") == 1
        survived.offer(store.last_offer)
        assert actor.loader.refresh() and actor.has(9) and survived.asked == [5]
    finally:
        for one in (there, received):
            one.kill()
            one.communicate()
