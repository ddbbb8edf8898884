"""The packages that programs may import: found with what they require, told where they are missing."""

from __future__ import annotations

import sys
from pathlib import Path

from rltf.config import ExecutorConfig
from rltf.executor.packages import DEFAULT, find_packages, locate


def test_packages_are_found_with_their_libraries_and_what_they_require() -> None:
    found = locate(["numpy", "sortedcontainers", "no_such_package", "msgspec.json"])
    assert found["no_such_package"] == []
    assert {Path(path).name for path in found["numpy"]} >= {"numpy", "numpy.libs"}
    assert [Path(path).name for path in found["sortedcontainers"]] == ["sortedcontainers"]
    assert "msgspec" in {Path(path).name for path in found["msgspec.json"]}
    assert "numpy" in {Path(path).name for path in locate(["pandas"])["pandas"]}
    assert all(Path(path).exists() for paths in found.values() for path in paths)


def test_what_is_missing_is_named() -> None:
    packages = find_packages(sys.executable, ("sortedcontainers", "no_such_package"))
    assert (packages.preload, packages.missing) == (("sortedcontainers",), ("no_such_package",))
    assert packages.named_in("from sortedcontainers import SortedList") and not packages.named_in("import math")
    assert find_packages(sys.executable, ()).paths == ()
    assert find_packages("/bin/false", ("numpy",)).missing == ("numpy",)


def test_the_configuration_has_the_same_default() -> None:
    assert ExecutorConfig().packages == DEFAULT
