"""The image that deploy/build_image.sh writes: what is in it, and containers of it without an engine."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRATCH = ("/tmp", "/var/lib/polyseme")
"""What a container may write: a temporary folder and the image's volume, empty and owned as in the image."""

# As `docker run --read-only --cap-drop ALL --security-opt no-new-privileges`, in a mount namespace that ends
# with the process: every step is the same process, so that signals reach the program.
_ENTER = """
root=$1 scratch=$2 user=$3; shift 3
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
for folder in $scratch; do
    mount -t tmpfs -o "$(stat --format mode=%a,uid=%u,gid=%g "$root$folder")" tmpfs "$root$folder"
done
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
exec chroot "$root" \\
    setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs --bounding-set=-all \\
    env --ignore-environment "$@"
"""


@dataclass(frozen=True, slots=True)
class Image:
    """folder: what deploy/build_image.sh wrote."""

    folder: Path

    @property
    def root(self) -> Path:
        return (self.folder / "root").resolve()

    @property
    def config(self) -> dict[str, Any]:
        """What a container is started with, by Docker's names: Cmd, Env, User, Healthcheck ..."""
        document = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        config: dict[str, Any] = document["config"]
        return config

    def layer_bytes(self) -> list[int]:
        """Return the compressed size of each layer, the base image's first."""
        blobs = self.folder / "oci" / "blobs" / "sha256"

        def read(descriptor: Mapping[str, Any]) -> dict[str, Any]:
            path = blobs / descriptor["digest"].removeprefix("sha256:")
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return document

        (image,) = json.loads((self.folder / "oci" / "index.json").read_text(encoding="utf-8"))["manifests"]
        return [layer["size"] for layer in read(image)["layers"]]

    def part_bytes(self) -> dict[str, int]:
        """Return the size of the files of each part, unpacked, largest first; a file with two names once."""
        parts: dict[str, int] = {}
        seen = set()
        for path in self.root.rglob("*"):
            status = path.lstat()
            if path.is_file() and not path.is_symlink() and status.st_ino not in seen:
                seen.add(status.st_ino)
                part = _part(str(path.relative_to(self.root)))
                parts[part] = parts.get(part, 0) + status.st_size
        return dict(sorted(parts.items(), key=lambda part: -part[1]))

    def packages(self) -> dict[str, str]:
        """Return the version of each Python package of the service's environment, by name in lower case."""
        found = (path.name for path in self.root.glob("venv/lib/python3*/site-packages/*.dist-info"))
        pairs = (name.removesuffix(".dist-info").split("-") for name in found)
        return {name.lower().replace("_", "-"): version for name, version in pairs}

    def command(self, *command: str, variables: Mapping[str, str] | None = None) -> list[str]:
        """Return what runs a program in a container of its own, which shares this machine's network."""
        environment = [*self.config["Env"], *(f"{name}={value}" for name, value in (variables or {}).items())]
        enter = ["unshare", "--mount", "sh", "-ec", _ENTER, "container"]
        return [*enter, str(self.root), " ".join(SCRATCH), self.config["User"], *environment, *command]

    def run(
        self, *command: str, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in a container to its end."""
        return subprocess.run(self.command(*command, variables=variables), capture_output=True, text=True)


def _part(path: str) -> str:
    """Return the part of the image that a file belongs to."""
    if package := re.match(r"venv/lib/python3[^/]*/site-packages/(model/pretrained|\w+)", path):
        name = package[1]
        if name == "model/pretrained":
            return "the bundle enko"
        # numpy.libs and numpy-2.4.6.dist-info are numpy's; psycopg's library in C is a package of its own.
        return "polyseme" if name in ("model", "training", "service") else name
    if re.match(r"usr/(local/)?(bin/python3|lib/(python3|libpython3))", path):
        return "Python"
    return "Debian" if not path.startswith("venv/") else "polyseme"
