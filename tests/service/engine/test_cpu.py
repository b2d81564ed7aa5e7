"""How many threads a container's limits leave, in both cgroup versions: files like the kernel's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.engine.cpu import usable_cpus


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def host(tmp_path: Path, memberships: str, files: dict[str, str]) -> tuple[Path, Path]:
    """Lay out what /proc/self/cgroup and /sys/fs/cgroup would hold."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text(memberships)
    cgroups.mkdir()
    for name, content in files.items():
        (cgroups / name).parent.mkdir(parents=True, exist_ok=True)
        (cgroups / name).write_text(content)
    return proc, cgroups


@pytest.mark.parametrize(
    ("quota", "threads"),
    [
        ("200000 100000", 2),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("max 100000", 8),
        ("6400000 100000", 8),
        ("nonsense", 8),
    ],
)
def test_quota_of_version_2(tmp_path: Path, quota: str, threads: int) -> None:
    assert usable_cpus(*host(tmp_path, "0::/\n", {"cpu.max": quota})) == threads


def test_an_ancestors_quota_holds_too(tmp_path: Path) -> None:
    files = {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000", "a/b/c/cpu.max": "500000 100000"}
    assert usable_cpus(*host(tmp_path, "0::/a/b/c\n", files)) == 3


def test_a_path_from_outside_the_container_falls_back_to_the_root(tmp_path: Path) -> None:
    assert usable_cpus(*host(tmp_path, "0::/docker/abc\n", {"cpu.max": "200000 100000"})) == 2


@pytest.mark.parametrize("controllers", ["cpu,cpuacct", "cpu"])
@pytest.mark.parametrize(("quota", "threads"), [("300000", 3), ("-1", 8)])
def test_quota_of_version_1(tmp_path: Path, controllers: str, quota: str, threads: int) -> None:
    files = {
        f"{controllers}/pod/cpu.cfs_quota_us": quota,
        f"{controllers}/pod/cpu.cfs_period_us": "100000",
    }
    memberships = f"5:memory:/pod\n4:{controllers}:/pod\n0::/\n"
    assert usable_cpus(*host(tmp_path, memberships, files)) == threads


def test_without_cgroups_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path / "nothing", tmp_path / "nothing") == 8
