"""How many CPUs this process may really use: its affinity and its cgroup's quota, not the host's count.

A container with a quota of two CPUs on a 64-core host sees 64 cores. Sixty-four compute threads would then
use up each period's quota at once and wait, throttled, for the next one.
Source: the Linux kernel's cgroup-v2.rst ("cpu.max") and sched-bwc.rst ("cpu.cfs_quota_us").
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath


def usable_cpus(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of threads that can run at once, at least 1.

    A quota of 2.5 CPUs counts as 2: threads meet at the end of every matrix product, so one that is throttled
    holds up all.
    """
    quotas = [int(quota) for quota in _quotas(proc, cgroups)]
    return max(1, min([_affinity(), *quotas]))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(proc: Path, cgroups: Path) -> Iterator[float]:
    """Yield every limit, in CPUs, that holds for this process: its own cgroup's and all its ancestors'."""
    try:
        memberships = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return  # no Linux
    for line in memberships:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            yield from _walk(cgroups, path, _quota_v2)
        elif "cpu" in controllers.split(","):
            yield from _walk(cgroups / "cpu", path, _quota_v1)
            yield from _walk(cgroups / controllers, path, _quota_v1)


def _walk(root: Path, path: str, read: Callable[[Path], float | None]) -> Iterator[float]:
    """Inside a container the path may not exist below the mounted root; the root itself is then the limit."""
    inner = PurePosixPath(path.lstrip("/"))
    for folder in (root / inner, *(root / parent for parent in inner.parents)):
        try:
            quota = read(folder)
        except (OSError, ValueError):
            continue
        if quota is not None:
            yield quota


def _quota_v2(folder: Path) -> float | None:
    quota, period = (folder / "cpu.max").read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def _quota_v1(folder: Path) -> float | None:
    quota = int((folder / "cpu.cfs_quota_us").read_text())
    return None if quota < 0 else quota / int((folder / "cpu.cfs_period_us").read_text())
