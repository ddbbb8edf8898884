"""`launch.py doctor` on this machine, and on one that lacks something."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rltf.config import Config
from rltf.driver.commands.examination import _ray
from rltf.executor import doctor
from rltf.executor.doctor import advice
from tests.support.paths import ROOT


def _run(tmp_path: Path, *arguments: str) -> tuple[int, dict[tuple[str, str], dict[str, Any]], str]:
    out = tmp_path / "doctor.json"
    command = [sys.executable, "launch.py", "doctor", "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=200)
    findings = json.loads(out.read_text()) if out.exists() else []
    return (
        done.returncode,
        {(finding["part"], finding["name"]): finding for finding in findings},
        done.stdout + done.stderr,
    )


def test_a_machine_that_can_run_is_told_so(tmp_path: Path) -> None:
    code, found, printed = _run(tmp_path)
    assert (code, printed.splitlines()[-1]) == (0, "a run can start here")
    assert found["sandbox", "judging"]["state"] == found["Redis", "embedded server"]["state"] == "on"
    assert {part for part, _ in found} == {"system", "sandbox", "Redis", "Ray", "GPU", "room"}
    taken = [name for (part, name), finding in found.items() if part == "sandbox" and "is taken" in finding["text"]]
    assert taken in (["tier A"], ["tier B"])


def test_what_is_missing_is_in_the_last_line_and_the_exit_code(tmp_path: Path) -> None:
    code, found, printed = _run(tmp_path, "--redis.url", "redis://127.0.0.1:1/0", "--executor.python", "/bin/false")
    assert code == 1
    assert found["Redis", "redis.url"]["state"] == found["sandbox", "isolation"]["state"] == "bad"
    assert "127.0.0.1:1" in printed.splitlines()[-1] and printed.splitlines()[-1].startswith(
        "a run cannot start here: "
    )


@pytest.mark.parametrize(
    ("address", "state", "words"),
    [
        ("auto", "on", "auto: a run joins what `ray start` left running here"),
        ("local", "on", "none: a run starts Ray"),
        ("[::1]:NUMBER", "on", "[::1]:NUMBER answers"),
        ("ray://[::1]:NUMBER", "bad", "is one of Ray's client servers"),
        ("127.0.0.1:1", "bad", "no Ray cluster answers at 127.0.0.1:1"),
        ("head", "bad", "SOURCE head is no HOST:PORT"),
        ("http://127.0.0.1:8265", "bad", "SOURCE http://127.0.0.1:8265 is a dashboard's, which takes jobs"),
    ],
)
def test_addresses_of_ray_are_taken_and_refused_as_by_a_run(
    address: str, state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "::1" in address and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with socket.socket(socket.AF_INET6 if "::1" in address else socket.AF_INET) as server:
        server.bind(("::1" if "::1" in address else "127.0.0.1", 0))
        server.listen()
        there = f":{server.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address.replace(":NUMBER", there))
        (found,) = _ray(Config())
        assert found.state == state and words.replace(":NUMBER", there).replace("SOURCE", "RAY_ADDRESS") in found.text
        monkeypatch.delenv("RAY_ADDRESS")
        (found,) = _ray(Config.model_validate({"ray": {"address": address.replace(":NUMBER", there)}}))
        assert found.state == state and words.replace(":NUMBER", there).replace("SOURCE", "ray.address") in found.text


def test_a_wrong_command_line_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "launch.py", "doctor", "--nothing", "1"], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 2 and "nothing" in done.stderr and not done.stdout


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"user/max_user_namespaces": "0"}, "user.max_user_namespaces=10000"),
        (
            {"user/max_user_namespaces": "1000", "kernel/unprivileged_userns_clone": "0"},
            "kernel.unprivileged_userns_clone=1",
        ),
        ({"kernel/apparmor_restrict_unprivileged_userns": "1"}, "kernel.apparmor_restrict_unprivileged_userns=0"),
    ],
)
def test_advice_names_the_setting_that_forbids_namespaces(
    settings: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(value + "\n")
    monkeypatch.setattr(doctor, "SETTINGS", tmp_path)
    assert expected in advice("namespaces: [Errno 1] unshare: Operation not permitted")


def test_advice_on_landlock() -> None:
    assert "lsm=" in advice("Landlock: [Errno 95] landlock_create_ruleset: Operation not supported")
    assert "5.13" in advice("Landlock: off: [Errno 38] landlock_create_ruleset: Function not implemented")
    assert advice("read-only root: off: not in this tier") == ""
