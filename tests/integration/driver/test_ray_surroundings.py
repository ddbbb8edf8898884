"""What Ray finds around it on a machine: addresses that nobody answers at, folders, limits, a network, sessions of
earlier runs.

Without Ray itself, but for the last test, which starts it in surroundings that are hostile in several ways at once.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rltf import launch
from rltf.config import Config, UserError
from rltf.driver import ray_start
from rltf.driver.ray_address import check_reachable, find_cluster_address
from rltf.driver.ray_probe import probe
from rltf.driver.ray_start import MAX_SESSIONS, SessionLock, prepare, raise_open_files, remove_old_sessions
from tests.support.paths import ROOT

NAMESPACE = ("unshare", "--user", "--map-root-user", "--net")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a short name, which Ray takes for its own."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        yield Path(folder)


def _python(code: str, *before: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=120)


def test_the_sentence_names_whoever_gave_the_address(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_cluster_address(Config()).starts_here
    (short / "ray").mkdir()
    left = short / "ray" / "ray_current_cluster"
    left.write_text("127.0.0.1:1\n")  # a cluster that has ended without `ray stop`
    with pytest.raises(
        UserError, match=rf"no Ray cluster answers at 127.0.0.1:1, which {left} names, \(.*refused\): .*delete {left}"
    ) as told:
        check_reachable(find_cluster_address(Config()))
    assert "ray.address" not in str(told.value).replace("--ray.address local", "")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:2")
    with pytest.raises(
        UserError, match=r"answers at 127.0.0.1:2, which RAY_ADDRESS names, .*correct or unset RAY_ADDRESS"
    ):
        check_reachable(find_cluster_address(Config()))
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    with pytest.raises(
        UserError, match=r"^RAY_ADDRESS http://127.0.0.1:8265 is a dashboard's, which takes jobs \(`ray job submit"
    ):
        check_reachable(find_cluster_address(Config()))
    named = Config.model_validate({"ray": {"address": "127.0.0.1:3"}})
    with pytest.raises(UserError, match=r"no Ray cluster answers at 127.0.0.1:3 \(.*correct ray.address"):
        check_reachable(find_cluster_address(named))


def test_what_is_no_ray_is_told_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rltf.driver.ray_probe.TIMEOUT_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert probe(f"127.0.0.1:{silent.getsockname()[1]}") == {
            "error": "what listens there does not speak as Ray does within 2 s"
        }


def test_folders_for_sessions(short: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert prepare(3) == short / "ray"
    long = tmp_path / ("x" * 60)
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    with pytest.raises(
        UserError,
        match=rf"{long}/ray is too long for the names of sockets in it: \d+ bytes of at most 43; set RAY_TMPDIR",
    ):
        prepare(3)
    monkeypatch.delenv("RAY_TMPDIR")  # whoever sets TMPDIR does not mean Ray
    monkeypatch.setenv("TMPDIR", str(long))
    assert len(str(prepare(3))) < 20
    blocked = short / "file"
    blocked.write_text("")
    monkeypatch.setenv("RAY_TMPDIR", str(blocked))
    with pytest.raises(UserError, match=rf"{blocked}/ray cannot be written \(Not a directory\)"):
        prepare(3)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_folder_of_another_user_is_left_alone(short: Path) -> None:
    (short / "ray").mkdir(mode=0o755)
    short.chmod(0o755)
    code = "import os; from pathlib import Path; from rltf.driver.ray_start import _unusable; os.setuid(65534); "
    code += "print(_unusable(Path({!r})))"
    assert _python(code.format(str(short / "ray"))).stdout == "cannot be written (Permission denied)\n"
    code = "import os; from rltf.driver.ray_start import _sessions_folder; os.setuid(65534); print(_sessions_folder())"
    Path("/tmp/ray").mkdir(exist_ok=True)  # root's then, not the other user's
    done = _python(code, RAY_TMPDIR="", TMPDIR=str(short))
    assert done.stdout.strip() in ("/tmp/ray", "/tmp/ray-65534"), done.stderr
    shutil.rmtree("/tmp/ray-65534", ignore_errors=True)


def test_the_limit_of_open_files_is_raised_or_told() -> None:
    code = "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, ({}, {}))\nfrom rltf.driver.ray_start import raise_open_files\n"
    code += "raise_open_files(3)\nprint(r.getrlimit(r.RLIMIT_NOFILE)[0])"
    raised = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 2048)
    assert _python(code.format(256, raised)).stdout == f"{raised}\n"
    done = _python(code.format(100, 100))
    assert (
        "UserError: a process may have 100 files open here, and with 3 workers Ray needs 176: raise the hard limit"
        in done.stderr.splitlines()[-1]
    )
    raise_open_files(3)


def test_a_machine_without_loopback_is_told_at_once(short: Path) -> None:
    if subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no namespaces")
    done = _python("from rltf.driver.ray_start import prepare; prepare(3)", *NAMESPACE)
    assert "UserError: this machine has no loopback interface that works (127.0.0.1: " in done.stderr.splitlines()[-1]


def test_old_sessions_of_ended_runs_are_removed_and_nobody_elses(tmp_path: Path) -> None:
    def session(number: int) -> Path:
        folder = tmp_path / f"session_2026-01-01_00-00-{number:02}_000000_1"
        (folder / "logs").mkdir(parents=True)
        return folder

    others = session(0)
    ended = [session(number) for number in range(1, MAX_SESSIONS + 3)]
    for number, folder in enumerate(ended):
        SessionLock(folder).close()
        os.utime(folder / ray_start._MARK, (number, number))
    alive = session(40)
    running = SessionLock(alive)
    os.utime(alive / ray_start._MARK, (0, 0))
    assert remove_old_sessions(tmp_path) == ended[:2]
    assert sorted(tmp_path.iterdir()) == sorted([others, alive, *ended[2:]])
    running.close()
    assert remove_old_sessions(tmp_path) == [alive] and others.exists()


def test_a_dry_run_starts_no_ray(short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(["--dry-run", "--run.folder", str(tmp_path / "runs")]) == 0
    plan = capsys.readouterr().out
    assert "cluster: started here: 1 node, " in plan and "dashboard: " not in plan
    assert not (short / "ray").exists(), "where Ray would have had its session"


def test_ray_starts_in_hostile_surroundings_and_for_this_machine_alone(short: Path) -> None:
    """No dashboard in time, proxies that do not answer, no home, few open files: it works, and says what is missing."""
    code = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
import psutil, ray
from rltf.config import Config
from rltf.driver.ray_cluster import node_address, ray_cluster
with ray_cluster(Config.model_validate({"ray": {"address": "local"}}), print) as facts:
    assert ray.get(ray.remote(lambda: 7).remote(), timeout=60) == 7 and not facts.dashboard and node_address() == "127.0.0.1"
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = {each.laddr.ip for process in family for each in process.net_connections() if each.status == "LISTEN"}
    print("listening", *sorted(listening))
"""
    proxies = dict.fromkeys(
        ("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"
    )
    with (short / "said").open("w+") as output:  # no pipe: an agent of Ray's may hold it open for a minute
        environment = os.environ | proxies | {"RAY_DASHBOARD_STARTUP_TIMEOUT_S": "0", "HOME": "/proc/nohome"}
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=240,
        )
        output.seek(0)
        said = output.read()
    without = f"Ray's dashboard does not start: the run goes on without it; what Ray's processes wrote is in {short}/ray/session_"
    assert said.startswith(without) and "\nlistening 127.0.0.1 ::ffff:127.0.0.1\n" in said, said
    assert len(list(short.glob(f"ray/session_2*/{ray_start._MARK}"))) >= 2, (
        "that of the failed start too is to be removed one day"
    )
