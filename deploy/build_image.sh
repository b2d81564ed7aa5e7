#!/usr/bin/env bash
# The Dockerfile's image, built where there is no Docker engine and no Docker registry:
#   deploy/build_image.sh OUT     (on a Debian, as root; its packages buildah and debootstrap)
# In OUT then: oci/ what a registry would hold, root/ the files, config.json what a container is started with.
#
# buildah builds it in a chroot. python:3.11-slim is made here with debootstrap: Debian 12, whose Python is 3.11 too (in
# /usr/bin, not in /usr/local/bin as the official image's), without what slim images leave out.
# How this machine reaches package registries, pip's settings and apt's mirror and proxies, is handed on to the build;
# none of it is in the image but the empty folders where it was mounted.
set -euo pipefail
if [ $# != 1 ] || [ "$(id -u)" != 0 ]; then
    echo "usage, as root: $0 OUT" >&2
    exit 2
fi
for command in apt-get buildah debootstrap; do
    command -v $command >/dev/null || { echo "$0: $command is missing: apt-get install $command" >&2; exit 2; }
done
if ! unshare --mount true; then
    echo "$0: this machine lets nobody mount, which buildah must (CAP_SYS_ADMIN): docker build does without" >&2
    exit 2
fi
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
if [ -n "$(ls -A "$out")" ]; then
    echo "$0: expected a new or empty folder, found files in $out" >&2
    exit 2
fi

base=docker.io/library/python:3.11-slim
export BUILDAH_ISOLATION=chroot
buildah() { command buildah --storage-driver vfs --root "$out/storage" --runroot "$out/run" "$@"; }

make_base() {
    local container mirror files=$out/base
    # This machine's own, where it is a Debian.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sort -u | sed -n 1p)
    # apt knows proxies that the environment does not name.
    eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
    export http_proxy https_proxy
    debootstrap --variant=minbase --include=python3,python3-venv bookworm "$files" \
        "${mirror:-http://deb.debian.org/debian}" >"$out/debootstrap.log" ||
        { tail "$out/debootstrap.log" >&2; exit 1; }
    # This machine's names and mirror go too.
    rm -rf "$files"/etc/{apt/sources.list,hostname,resolv.conf} "$files"/usr/share/{doc,info,locale,man} \
        "$files"/var/{cache/apt,lib/apt/lists,log}/*
    # Nor is the official image's library compiled.
    find "$files/usr/lib" "$files/usr/share" -name __pycache__ -type d -prune -exec rm -r {} +
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$files" / >/dev/null
    buildah commit --quiet --format docker "$container" "$base" >/dev/null
    buildah rm "$container" >/dev/null
    rm -rf "$files"
}

# pip's settings, from its files and the environment, as one file, and the folders and certificates that they name.
pip_settings() {
    "${PYTHON:-python3}" - "$out/pip.conf" <<'PYTHON'
import ast, os, pathlib, subprocess, sys

sections = {"global": {}}
listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
for line in listed.stdout.splitlines():
    name, _, value = line.partition("=")
    section, _, key = name.replace(":env:", "global").partition(".")
    sections.setdefault(section, {}).setdefault(key, ast.literal_eval(value))  # the environment is listed first
if "SSL_CERT_FILE" in os.environ:
    sections["global"].setdefault("cert", os.environ["SSL_CERT_FILE"])
with open(sys.argv[1], "w") as file:
    for section, settings in sections.items():
        file.write(f"[{section}]\n")
        for key, value in settings.items():
            file.write(f"{key} = " + value.strip().replace("\n", "\n    ") + "\n")
words = " ".join(value for each in sections.values() for value in each.values()).split()
paths = [pathlib.Path(word.removeprefix("file://")) for word in words]
# An index's files lie beside its folder `simple`.
needed = {path.parent if path.name == "simple" else path for path in paths if path.is_absolute() and path.exists()}
for path in sorted(needed):
    print(f"--volume={path}:{path}:ro")
PYTHON
}

make_base
trap 'rm -f "$out/pip.conf" "$out/volumes"' EXIT
(umask 077 && pip_settings >"$out/volumes") # an index's address may have a password in it
mapfile -t volumes <"$out/volumes"
buildah bud --format docker --pull-never --secret "id=pip,src=$out/pip.conf" "${volumes[@]}" --tag polyseme "$source"

buildah inspect --type image --format '{{.Config}}' polyseme >"$out/config.json"
buildah push --quiet polyseme "oci:$out/oci:polyseme"
container=$(buildah from --pull-never polyseme)
root=$(buildah mount "$container")
ln -s "$root" "$out/root"
