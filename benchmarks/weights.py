"""What a policy version costs on its way from the learner to an actor of the same machine, beside one memcpy of its
bytes.

    python -m benchmarks.weights [--quick] [--repeats N] [--json FILE] [--learner-dtype bfloat16|float32]

T5 shapes of 60 and 220 million parameters (CodeT5 small and base), random weights. An actor process holds the same
model and loads in place every version that the learner, this process, publishes through the weight store; versions are
bfloat16. Each repeat measures, in an order that changes, one memcpy of the version's bytes between two arrays that are
in memory already, and one publish with its load. The learner is blocked from the beginning of the publish until the
store has the version; the whole way ends when the actor has verified the checksum and written every parameter. Medians.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForSeq2SeqLM, T5Config

from rltf.telemetry.recorder import Recorder
from rltf.weights.packing import named_weights
from rltf.weights.ray_publisher import StorePublisher
from rltf.weights.ray_source import StoreSource
from rltf.weights.ray_store import start_store
from rltf.weights.unpacking import load_into

TIMEOUT_S = 60.0
_ROOT = Path(__file__).resolve().parent.parent
_SHAPES = {  # of CodeT5 small and base
    "60M": {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8, "vocab_size": 32100},
    "220M": {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12, "vocab_size": 32100},
}
_QUICK = {"5M": {"d_model": 256, "d_kv": 64, "d_ff": 512, "num_layers": 2, "num_heads": 4, "vocab_size": 8000}}
_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def model_of(shape: dict[str, int], dtype: torch.dtype) -> Any:
    """A T5 with random weights."""
    torch.manual_seed(0)
    model = AutoModelForSeq2SeqLM.from_config(T5Config(**shape, tie_word_embeddings=True)).to(dtype)
    return model.requires_grad_(False)


class Actor:
    """Stands where an actor stands: a model of its own that takes versions over in place."""

    def __init__(self, store: Any, shape: dict[str, int]) -> None:
        torch.set_num_threads(1)
        self._model = model_of(shape, torch.bfloat16)
        self._recorder = Recorder("actor-0", lambda rows: None)
        self._source = StoreSource(store, TIMEOUT_S)

    def load(self, newer_than: int) -> tuple[float, float]:
        """Loads the newest version; the machine's monotonic clock at the end, and a number that tells which weights it
        has.
        """
        from rltf.weights.loader import WeightLoader

        loader = WeightLoader(partial(load_into, self._model), self._source, self._recorder)
        loader.version = newer_than
        if not loader.refresh():
            raise RuntimeError(f"there is no version newer than {newer_than}")
        return time.monotonic(), float(self._model.shared.weight[0, 0])


def measure(store: Any, name: str, shape: dict[str, int], dtype: torch.dtype, repeats: int) -> dict[str, Any]:
    """Medians in seconds of memcpy, blocked and whole way for one shape."""
    model = model_of(shape, dtype)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    actor = ray.remote(Actor).options(num_cpus=0).remote(store, shape)
    publisher = StorePublisher(store, TIMEOUT_S)
    version = max(ray.get(store.versions.remote(), timeout=TIMEOUT_S), default=-1)
    times: dict[str, list[float]] = {"memcpy": [], "blocked": [], "way": []}
    source = np.ones(2 * parameters, np.uint8)
    target = np.ones_like(source)

    def memcpy() -> None:
        began = time.monotonic()
        np.copyto(target, source)
        times["memcpy"].append(time.monotonic() - began)

    def publish() -> None:
        nonlocal version
        model.shared.weight[0, 0] = float(
            version % 100
        )  # exact in bfloat16, so the actor can show that it has this version
        began = time.monotonic()
        publisher.take(list(named_weights(model)), version + 1, torch.bfloat16)
        handed_over = time.monotonic()
        loaded, mark = ray.get(actor.load.remote(version), timeout=TIMEOUT_S)
        if mark != float(version % 100):
            raise RuntimeError(f"the actor has other weights than version {version + 1}")
        times["blocked"].append(handed_over - began)
        times["way"].append(loaded - began)
        version += 1

    for repeat in range(-4, repeats):  # the first ones touch memory for the first time
        for action in (memcpy, publish) if repeat % 2 else (publish, memcpy):
            action()
    ray.kill(actor)
    medians = {key: statistics.median(values[-repeats:]) for key, values in times.items()}
    facts = {
        "shape": name,
        "parameters": parameters,
        "bytes": 2 * parameters,
        "learner_dtype": str(dtype),
    }
    return facts | medians | {"all": times}


def main(arguments: Sequence[str]) -> int:
    """Exit code 0."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.weights", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small shape and few repeats: only to see that it runs")
    parser.add_argument("--repeats", type=int, default=20, metavar="N", help="measured repeats (default: 20)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file as well")
    parser.add_argument(
        "--learner-dtype",
        choices=sorted(_DTYPES),
        default="bfloat16",
        help="number format of the learner's own weights",
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False,
        logging_level=logging.ERROR, runtime_env={"env_vars": {"PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"}},
    )  # fmt: skip
    how = f"learner in {options.learner_dtype}, actor in bfloat16"
    table = Table(title=f"One version, {how}: medians of {options.repeats}")
    for column in ("parameters", "MB", "memcpy", "learner blocked", "publish to loaded"):
        table.add_column(column, justify="right")
    rows: list[dict[str, Any]] = []
    try:
        store = start_store(TIMEOUT_S)
        for name, shape in (_QUICK if options.quick else _SHAPES).items():
            repeats = 3 if options.quick else options.repeats
            row = measure(store, name, shape, _DTYPES[options.learner_dtype], repeats)
            rows.append(row)
            table.add_row(
                f"{row['parameters'] / 1e6:.0f} M",
                f"{row['bytes'] / 1e6:.0f}",
                f"{row['memcpy'] * 1e3:.1f} ms",
                *(f"{row[key] * 1e3:.1f} ms = {row[key] / row['memcpy']:.2f} x" for key in ("blocked", "way")),
            )
    finally:
        ray.shutdown()
    Console(highlight=False, soft_wrap=True).print(table)
    if options.json:
        machine = {
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "torch": torch.__version__,
            "ray": ray.__version__,
        }
        options.json.write_text(json.dumps({"rows": rows, **machine}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
