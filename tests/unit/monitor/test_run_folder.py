import json
from pathlib import Path

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rltf.config import Config, UserError
from rltf.monitor.jsonl_parts import PartWriter, read_parts
from rltf.monitor.new_run import planned
from rltf.monitor.run_folder import LOG_BYTES, RunFolder
from tests.support.monitor_rows import config, count, fill, held_out_row, phase, step_row


def test_a_run_folder_holds_what_was_written(tmp_path: Path) -> None:
    folder = RunFolder.create(config(tmp_path, redis={"url": "redis://user:secret@host:6379/0"}))
    fill(folder)
    assert {path.name for path in folder.path.iterdir()} == {
        ".key", "config.yaml", "metrics.jsonl", "held_out.jsonl", "tensorboard", "samples", "telemetry", "result.json"
    }  # fmt: skip
    resolved = yaml.safe_load((folder.path / "config.yaml").read_text())
    assert (
        resolved["redis"]["url"] == "redis://user:***@host:6379/0"
        and "secret" not in (folder.path / "config.yaml").read_text()
    )
    assert Config(**resolved).run.name == "example"
    assert len((folder.path / "metrics.jsonl").read_text().splitlines()) == 40
    read = RunFolder.open(folder.path)
    assert read.steps()[39] == step_row(40) and read.held_out()[-1]["step"] == 40
    assert json.loads((folder.path / "result.json").read_text())["held_out"]["tasks"] == 256
    assert sum(row["kind"] == "count" for row in read.telemetry()) == 40 * 5


def test_progress_that_cannot_be_read_is_told_in_a_sentence(tmp_path: Path) -> None:
    folder = RunFolder.create(config(tmp_path))
    folder.write_progress({"position": {"steps": 3}})
    assert folder.progress() == {"position": {"steps": 3}}
    (folder.path / "progress.json").write_text("")
    with pytest.raises(UserError, match=r"progress\.json cannot be read .*: delete it"):
        RunFolder.resume(folder.path, config(tmp_path))


def test_tensorboard_reads_the_event_files(tmp_path: Path) -> None:
    folder = RunFolder.create(config(tmp_path))
    folder.add_step(step_row(1) | {"loss": float("nan"), "grad_norm": 0.5, "objective": "grpo"})
    folder.add_step(step_row(2))
    folder.add_held_out(held_out_row(2, 0.5) | {"error_types": {"MadeUp": 1}})
    folder.add_held_out(held_out_row(2, 0.75) | {"set": "mbpp"})
    folder.close()
    assert [row["pass@1"] for name in ("", "mbpp", "none") for row in folder.held_out(name)] == [0.5, 0.75]
    events = EventAccumulator(str(folder.path / "tensorboard"))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert {"train/pass_rate", "train/seconds/train", "train/outcomes/failure", "held_out/pass@1"} <= set(tags)
    assert step_row(1)["error_types"] and not any("error_types" in tag for tag in tags), (
        "programs make up names: a tag for each, for ever"
    )
    assert [(event.step, round(event.value, 4)) for event in events.Scalars("train/pass_rate")] == [
        (1, round(step_row(1)["pass_rate"], 4)),
        (2, round(step_row(2)["pass_rate"], 4)),
    ]
    assert [event.step for event in events.Scalars("train/loss")] == [2]
    assert events.Scalars("held_out/mbpp/pass@1")[0].value == 0.75
    assert events.Scalars("held_out/pass@1")[0].wall_time == pytest.approx(held_out_row(2, 0.5)["time"])


def test_a_name_that_is_taken_gets_a_suffix(tmp_path: Path) -> None:
    assert [RunFolder.create(config(tmp_path)).name for _ in range(3)] == ["example", "example-2", "example-3"]
    assert RunFolder.open(tmp_path / "runs" / "example-3").config()["run"]["name"] == "example-3"
    unnamed = RunFolder.create(Config(run={"folder": str(tmp_path)}), preset="starter")
    assert unnamed.name.startswith("starter-2")


@pytest.mark.parametrize("name", ["../escape", "a/b", ".hidden", "a b"])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="run.name"):
        RunFolder.create(Config(run={"folder": str(tmp_path), "name": name}))


def test_folders_that_do_not_fit_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="run.folder"):
        RunFolder.create(Config(run={"folder": str(tmp_path / "file"), "name": "x"}))
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for folder in ("link", "file", "file/below"):
        with pytest.raises(UserError, match="run.folder .* cannot be made: it is a file"):
            RunFolder.create(Config(run={"folder": str(tmp_path / folder), "name": "x"}))
    with pytest.raises(UserError, match="no run folder"):
        RunFolder.open(tmp_path)


def test_a_preset_may_have_any_file_name_and_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    assert RunFolder.create(Config(run={"folder": str(tmp_path)}), preset="my run (2)").name.startswith("my-run-2-2")
    runs = [RunFolder.create(Config(run={"folder": str(tmp_path / place), "name": "x"})) for place in "ab"]
    assert runs[0].name == runs[1].name and runs[0].key != runs[1].key == RunFolder.open(runs[1].path).key
    next_one = planned(Config(run={"folder": str(tmp_path / "a"), "name": "x"}))
    assert next_one == tmp_path / "a" / "x-2" and not next_one.exists()


def steps_at(folder: RunFolder, moment: float) -> int:
    return folder.settings_at(moment).learner.steps


def test_the_configuration_of_every_attempt_is_found(tmp_path: Path) -> None:
    first, second, refused = (config(tmp_path, learner={"steps": steps}) for steps in (50, 77, 99))
    folder = RunFolder.create(first)
    for attempt, settings in enumerate((first, refused, second, second), start=1):
        if attempt > 1:
            folder = RunFolder.resume(folder.path, settings)
        folder.new_log_folder()
        folder.add_event({"time": 100.0 * attempt, "event": "started", "attempt": attempt})
        if settings is not refused:
            folder.keep_config()
    found = [steps_at(RunFolder.open(folder.path), moment) for moment in (0.0, 150.0, 250.0, 300.0, 450.0)]
    assert found == [50, 50, 99, 77, 77]
    # Where config.yaml alone has what the attempts before ran with.
    for file in folder.path.glob("config_*.yaml"):
        file.unlink()
    folder = RunFolder.resume(folder.path, refused)
    folder.new_log_folder()
    folder.add_event({"time": 500.0, "event": "resumed", "attempt": 5})
    folder.keep_config()
    assert [steps_at(folder, moment) for moment in (150.0, 450.0, 500.0)] == [77, 77, 99]


def test_what_an_attempt_was_given_is_the_runs_once_it_is_kept(tmp_path: Path) -> None:
    first, second = (config(tmp_path, learner={"steps": steps}) for steps in (50, 77))
    third = Config(run={"folder": str(tmp_path / "runs"), "name": "example", "samples_gb": 3.0}, learner={"steps": 99})
    folder = RunFolder.create(first)
    folder.new_log_folder()
    folder.add_event({"time": 100.0, "event": "started", "attempt": 1})
    RunFolder.resume(folder.path, second)  # and then it ends, before the attempt begins
    assert folder.config()["learner"]["steps"] == 50 and folder.attempts() == 1
    again = RunFolder.resume(folder.path, third)
    again.new_log_folder()
    assert again._settings.samples_gb == 3.0, "bounds hold from the attempt's beginning"
    assert RunFolder.open(folder.path).config()["learner"]["steps"] == 50 and steps_at(folder, 150.0) == 50
    again.keep_config()
    assert RunFolder.open(folder.path).config()["learner"]["steps"] == 99 and steps_at(folder, 150.0) == 50
    (again.path / "logs" / "attempt_2").rename(tmp_path / "elsewhere")
    assert again.new_log_folder().name == "attempt_3", "a configuration that is there is not written over"


def test_a_run_is_finished_by_its_newest_attempt(tmp_path: Path) -> None:
    folder = RunFolder.create(config(tmp_path))
    assert not folder.finished
    folder.new_log_folder()
    folder.write_result({"finished": True, "attempts": 1})
    assert folder.finished
    folder.new_log_folder()
    assert not folder.finished
    folder.write_result({"finished": True, "attempts": 2})
    assert folder.finished


def test_attempts_and_resumed_steps(tmp_path: Path) -> None:
    folder = RunFolder.create(config(tmp_path))
    assert [folder.new_log_folder().name, folder.new_log_folder().name] == ["attempt_1", "attempt_2"]
    folder.add_step(step_row(1))
    folder.add_step(step_row(2) | {"loss": 1.0})
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')  # killed while writing
    resumed = RunFolder.open(folder.path)
    assert [row["step"] for row in resumed.steps()] == [1, 2]
    resumed.add_step(step_row(2) | {"loss": 2.0})
    resumed.add_step(step_row(3))
    assert [(row["step"], row["loss"]) for row in resumed.steps()][1] == (2, 2.0)
    assert [row["step"] for row in resumed.steps()] == [1, 2, 3] and resumed.newest_step()["step"] == 3
    resumed.add_step(step_row(2))
    assert [row["step"] for row in resumed.steps()] == [1, 2, 3] and resumed.newest_step()["step"] == 2


def test_phases_of_the_run_become_rows(tmp_path: Path) -> None:
    folder = RunFolder.create(config(tmp_path))
    for name, now in (("warm_start", 10.0), ("warm_start", 11.0), ("training", 12.0), ("done", 20.0)):
        folder.enter_phase(name, now)
    folder.add_telemetry([phase("actor-0", "generate", 0, 1), count("actor-0", "programs", 1, 1)])
    folder.close()
    rows = [(row["name"], row["start"], row["end"]) for row in folder.telemetry() if row["role"] == "run"]
    assert rows[:2] == [("warm_start", 10.0, 12.0), ("training", 12.0, 20.0)]


def test_parts_continue_where_they_ended_and_ignore_halves(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path / "parts", 10**6, lines_per_part=3)
    writer.add(str(i).encode() for i in range(7))
    assert len(list((tmp_path / "parts").iterdir())) == 2
    writer.flush()
    (tmp_path / "parts" / "part-00009.jsonl.tmp").write_bytes(b"half")
    again = PartWriter(tmp_path / "parts", 10**6, lines_per_part=3, max_age_s=0)
    again.add([b"7"])
    again.add([b"8"])
    again.flush()
    assert [int(line) for line in read_parts(tmp_path / "parts", pytest.fail)] == list(range(9))


def test_telemetry_beyond_its_bound_loses_its_oldest_rows(tmp_path: Path) -> None:
    run = config(tmp_path).run.model_copy(update={"telemetry_gb": 2e-6})
    folder = RunFolder.create(Config(run=run))
    sizes = []
    for number in range(30):
        folder.add_telemetry([count("actor-0", f"{number} {index}", 1, 1) for index in range(40)])
        folder.flush()
        sizes.append(sum(path.stat().st_size for path in (folder.path / "telemetry").iterdir()))
        if number == 15:  # another attempt goes on
            assert folder.deleted_telemetry
            folder = RunFolder.open(folder.path)
    assert max(sizes) <= 2000 < sum(sizes)
    names = [row["name"] for row in folder.telemetry()]
    assert (
        len(names) % 40 == 0
        and names == [f"{number} {index}" for number in range(30) for index in range(40)][-len(names) :]
    )


def test_a_log_beyond_its_bound_begins_anew(tmp_path: Path) -> None:
    folder = RunFolder.create(config(tmp_path))
    log = folder.new_log_folder() / "actor-0.log"
    with log.open("ab", buffering=0) as process:
        for text in (b"first\n", b"x" * LOG_BYTES, b"last\n"):
            process.write(text)
            folder.bound_logs()
    assert log.read_bytes() == b"last\n" and log.with_suffix(".log.1").stat().st_size == LOG_BYTES + 6
