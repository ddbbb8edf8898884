"""Disks that are full, without inodes, read-only, or bounded by ulimit: one sentence with the path, and nothing good is
replaced.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from rltf.config import DiskFailure, disk_sentence, saving
from tests.support.small_disk import on_small_disk

WRITERS = '''
from tests.support.monitor_rows import archived, config, count, held_out_row, sample, step_row
from rltf.config import UserError
from rltf.monitor.report import write_report
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.run_lock import locked

writers = {
    "metrics.jsonl": lambda folder: folder.add_step(step_row(7) | {"sample_ids": [str(n) for n in range(9000)]}),
    "held_out.jsonl": lambda folder: folder.add_held_out(held_out_row(9, 0.5) | {"versions": list(range(9000))}),
    "events.jsonl": lambda folder: folder.add_event({"time": 1.0, "event": "imbalance", "reason": "x" * 9000}),
    "progress.json": lambda folder: folder.write_progress({"position": {"rows": 9}}),
    "result.json": lambda folder: folder.write_result({"warnings": ["y" * 9000]}),
    "config_1.yaml": lambda folder: folder.new_log_folder(),
    "samples": lambda folder: folder.add_samples([archived(sample("p", "pass", id="s9"), "trained", step=9)]),
    "telemetry": lambda folder: (folder.add_telemetry([count("actor-0", "programs", 1, 1)]), folder.flush()),
    "tensorboard": lambda folder: (folder.tensorboard.scalars({str(n): 1.0 for n in range(900)}, 9, 1.0), folder.tensorboard.flush()),
    "report.md": write_report,
}

def contents():
    return {str(path.relative_to(disk)): path.read_bytes() for path in disk.rglob("*") if path.is_file() and path.name != "ballast"}

def begun():
    folder = RunFolder.create(config(disk))
    folder.add_step(step_row(1))
    folder.add_held_out(held_out_row(0, 0.25))
    folder.add_held_out(held_out_row(1, 0.5))
    folder.add_event({"time": 1.0, "event": "started", "attempt": 1})
    folder.write_progress({"position": {"rows": 1}})
    folder.write_result({"warnings": ["x"]})
    folder.add_samples([archived(sample("p", "pass", id="s1"), "trained", step=1)])
    folder.add_telemetry([count("actor-0", "programs", 1, 1)])
    folder.flush()
    write_report(folder)
    return folder

def refused(folder, number, room=()):
    """Every writer but those that have room fails with the path of what it writes, and leaves what was there."""
    from rltf.config import disk_sentence
    for name, write in writers.items():
        if name in room:
            continue
        before = contents()
        try:
            write(folder)
        except OSError as error:
            assert error.errno == number, (name, error)
            told = disk_sentence(error, folder.path)
            assert name.partition("_1")[0] in told and str(folder.path) in told, (name, told)
            print(told)
        else:
            raise AssertionError(name + " was written")
        after = contents()
        for file in before.keys() | after.keys():
            appended = after.get(file, b"").startswith(before.get(file, b"")) and file.endswith(".jsonl")
            assert after.get(file) == before.get(file) or appended or "tfevents" in file, (name, file)

def goes_on(folder):
    """With room again everything is written, and nothing is damaged."""
    for write in writers.values():
        write(folder)
    again = RunFolder.open(folder.path)
    assert [row["step"] for row in again.steps()] == [1, 7] and len(again.held_out()) == 3
    assert [kept.id for kept in again.samples()] == ["s1", "s9"]
    assert len(again.events()) == 2 and again.progress() and again.result() and list(again.telemetry())
    assert again.damage() == [], again.damage()
    assert not list(folder.path.rglob("*.tmp"))
'''


DISKS = """
mount("size=4m")
folder = begun()
fill()
refused(folder, 28)
try:
    folder.close()
except OSError as error:
    assert error.errno == 28
folder.close()  # a second time it has nothing left to fail with
(disk / "ballast").unlink()
goes_on(RunFolder.open(folder.path))

print("-- without inodes")
mount("size=4m,nr_inodes=60")
folder = begun()
made = []
try:
    for number in range(100):
        made.append(disk / f"file-{number}")
        made[-1].touch()
except OSError:
    pass
refused(folder, 28, room=("metrics.jsonl", "held_out.jsonl", "events.jsonl", "tensorboard"))

print("-- read-only")
mount("size=4m")
folder = begun()
folder.close()
remount("ro")
refused(RunFolder.resume(folder.path, config(disk)), 30)
try:
    with locked(folder.path):
        raise AssertionError("there is a lock")
except UserError as error:
    assert "mounted read-only" in str(error) and "/.lock cannot be written" in str(error)
remount("rw")
goes_on(RunFolder.open(folder.path))
"""


def test_every_writer_of_a_run_folder_on_a_disk_that_is_full_without_inodes_or_read_only(tmp_path: Path) -> None:
    full, inodes, read_only = on_small_disk(tmp_path / "disk", WRITERS + DISKS).split("-- ")
    assert full.count("the disk is full (0 MB are left): make room there") == 10
    assert inodes.count("left and no inodes: delete files there") == 6
    assert read_only.count("mounted read-only") == 10


LEARNER = """
from tests.support.learner_engines import engine_of
from tests.support.learner_parts import CRITIC_TOKENS, policy
from rltf.config import DiskFailure
from rltf.learner.checkpoint_writer import CheckpointWriter
from rltf.learner.checkpoints import Score
from rltf.learner.critic import Critic
from rltf.learner.export import load_weights, save_model
from rltf.config import write_atomically

def refused(what):
    try:
        what()
    except DiskFailure as failure:
        print(failure)
        return
    raise AssertionError("it was written")

def names():
    return sorted(str(path.relative_to(disk)) for path in disk.rglob("*") if path.is_file() and path.name != "ballast")

def all_of_it(limited, again):
    with engine_of(toy := policy(d_model=96)) as engine:
        checkpoints = CheckpointWriter(disk / "checkpoints", 3, True)
        checkpoints.save(1, engine.state(), {})
        save_model(engine, toy, disk / "warm_start")
        critic = Critic(policy(), CRITIC_TOKENS)
        before = names()
        limited()
        refused(lambda: checkpoints.save(2, engine.state(), {}))
        refused(lambda: save_model(engine, toy, disk / "warm_start"))
        refused(lambda: save_model(engine, toy, disk / "export"))
        refused(lambda: critic.save(disk / "critic", {}))
        if limited is fill:
            refused(lambda: checkpoints.set_score("step-1", Score(1, 0.5)))
            refused(lambda: write_atomically(disk / "README.md", "x" * 9000))
        assert names() == before, names()
        assert checkpoints.newest().step == 1
        load_weights(policy(d_model=96), disk / "warm_start")
        again()
        checkpoints.save(2, engine.state(), {})
        assert checkpoints.newest().step == 2
"""


LIMITS = """
import resource
def limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
def lift():
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
mount("size=8m")
all_of_it(fill, lambda: (disk / "ballast").unlink())
mount("size=16m")
all_of_it(limit, lift)
"""


def test_what_the_learner_writes_on_a_full_disk_and_under_a_limit_of_file_size(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    told = on_small_disk(disk, LEARNER + LIMITS).splitlines()
    places = ("checkpoints/step_000002", "warm_start", "export", "critic", "checkpoints/scores.json", "README.md")
    for line, place in zip(told[:6], places, strict=True):
        assert line.startswith(f"{disk}/{place}") and "No space left on device: the disk is full (" in line
    limited = "File too large: no file may become so large: raise the limit (ulimit -f)"
    assert len(told) == 10 and all(limited in line for line in told[6:])


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EDQUOT, "quota"), (errno.EIO, "kernel's log"), (errno.EACCES, "may write there")]
)
def test_what_else_a_disk_says(number: int, words: str, tmp_path: Path) -> None:
    """Quotas and broken disks cannot be had here: the error as the kernel gives it."""
    half = tmp_path / "half"
    with pytest.raises(DiskFailure) as failure, saving(half):
        half.write_text("half")
        raise OSError(number, os.strerror(number))
    assert str(failure.value).startswith(f"{half} cannot be written: {os.strerror(number)}: ") and words in str(
        failure.value
    )
    assert not half.exists()
    assert disk_sentence(OSError("it says nothing"), half) == f"{half} cannot be written: it says nothing"


REDIS = """
import time
from rltf.buffer.connection import ServerError
from rltf.buffer.flow import Flow, FlowAddress
from rltf.buffer.server import EmbeddedRedis
from tests.support.buffer_programs import group_of
from rltf.config import BufferConfig
from rltf.driver import RunFailed
from rltf.driver.failures import raising_run_failed

mount("size=16m")
server = EmbeddedRedis.start(disk / "redis")
numbers = {"groups_per_step": 2, "groups_per_version": 2, "group_size": 2, "seed": 0}
flow = Flow(FlowAddress(url=server.url, run="x", buffer=BufferConfig(), **numbers))
flow.work.push(group_of("first"))
fill()

def push(first):
    "Until the server refuses; how many it took."
    number = first
    try:
        with raising_run_failed(disk):
            while number < first + 2000:
                flow.work.push(group_of(f"g{number}"))
                number += 1
    except RunFailed as failure:
        print(failure)
        return number - first
    raise AssertionError("the server took all of them")

push(0)
assert flow.ledger.check() is None
(disk / "ballast").unlink()
deadline = time.monotonic() + 20
while True:
    try:
        flow.work.push(group_of("last"))
        break
    except ServerError:
        assert time.monotonic() < deadline
        time.sleep(0.2)
assert flow.ledger.check() is None
before = flow.ledger.counts()
server.stop()
server = EmbeddedRedis.start(disk / "redis")
again = Flow(FlowAddress(url=server.url, run="x", buffer=BufferConfig(), **numbers))
assert again.ledger.check() is None and again.ledger.counts() == before
server.stop()
"""


def test_redis_on_a_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    told = on_small_disk(tmp_path / "disk", REDIS).splitlines()[-1]
    assert (
        told.startswith("Redis refuses to go on: ")
        and "No space left on device" in told
        and "make room on its disk" in told
    )


WHOLE = """
import json
from tests.support.run_parts import Launched
from rltf.monitor.run_folder import RunFolder
from rltf.monitor.run_lock import locked

mount("size=96m")
folder, terminals = disk / "run", disk.parent
run = Launched(terminals, run__folder=disk, checkpoint__every=1, learner__steps=12, evaluation__every=0)
metrics = folder / "metrics.jsonl"
run.until(lambda: metrics.exists() and metrics.read_bytes().count(b"\\n") > 2)
fill()
told = {"code": run.wait(180), "last": run.terminal.splitlines()[-1], "terminal": run.terminal, "gone": run.gone()}
(disk / "ballast").unlink()
again = Launched(terminals, "--resume", str(folder), run__stall_timeout_s=90)
told |= {"code again": again.wait(240), "terminal again": again.terminal}
found = RunFolder.open(folder)
kept = [sample.id for sample in found.samples()]
used = [name for row in found.steps() for name in row.get("sample_ids", ())]
told |= {"result": found.result(), "damage": found.damage(), "steps": [row["step"] for row in found.steps()],
         "twice": len(kept) - len(set(kept)), "used twice": len(used) - len(set(used)), "kept": len(kept),
         "modes": sorted({oct(path.stat().st_mode & 0o777) for path in folder.rglob("*") if path.is_file() and "redis" not in path.parts})}
print(json.dumps(told))
"""


@pytest.mark.skipif(
    not os.environ.get("RLTF_LONG_TESTS"), reason="two whole runs, a minute or two: RLTF_LONG_TESTS=1 runs it"
)
def test_a_run_whose_disk_is_full_says_so_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    told = json.loads(on_small_disk(tmp_path / "disk", WHOLE, timeout_s=600).splitlines()[-1])
    assert told["code"] == 1 and told["gone"] and "Traceback" not in told["terminal"], told["terminal"]
    assert told["last"].startswith("run failed: ") and "make room" in told["last"], told["terminal"]
    assert str(tmp_path / "disk") in told["last"] or "Redis" in told["last"], told["last"]
    assert told["code again"] == 0, told["terminal again"]
    result = told["result"]
    assert (
        result["finished"]
        and result["imbalance"] is None
        and told["damage"] == []
        and told["steps"] == list(range(1, 13))
    )
    assert told["twice"] == told["used twice"] == 0 and told["kept"] >= result["ledger"]["trained"] > 0
