"""Writing a bundle: what is on the disk afterwards, also after errors and kills."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from model.bundle import Bundle, BundleError, write_bundle
from tests.model.plain_network import random_tensors
from tests.model.small_bundles import NOT_PLAIN_NAMES, architecture, bundle_files, contents, manifest

ROOT = Path(__file__).resolve().parent.parent.parent
SMALL = architecture()
MANIFEST = manifest(SMALL)
FILES = bundle_files(SMALL, random_tensors(SMALL))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An older bundle, in a folder of its own."""
    return write_bundle(tmp_path / "here" / "small", MANIFEST, FILES).folder


def test_files_are_copied_from_their_paths(tmp_path: Path) -> None:
    source = tmp_path / "trained.model"
    source.write_bytes(bytes(range(256)) * 9000)  # more than is copied at a time
    bundle = write_bundle(tmp_path / "small", MANIFEST, FILES | {"tokenizer.model": source})
    assert (bundle.folder / "tokenizer.model").read_bytes() == source.read_bytes()


def test_others_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        bundle = write_bundle(tmp_path / "small", MANIFEST, FILES)
    finally:
        os.umask(before)
    assert stat.S_IMODE(bundle.folder.stat().st_mode) == 0o755
    assert {stat.S_IMODE(path.stat().st_mode) for path in bundle.folder.iterdir()} == {0o644}


def test_an_older_bundle_is_replaced(folder: Path) -> None:
    (folder / "left-over.txt").write_text("of the older bundle", encoding="utf-8")
    written = write_bundle(folder, replace(MANIFEST, name="newer"), FILES)
    assert Bundle.open(folder) == written
    assert written.manifest.name == "newer"
    assert contents(folder).keys() == FILES.keys() | {"manifest.json"}
    assert list(folder.parent.iterdir()) == [folder]


def test_a_bundle_is_written_again_from_its_own_files(folder: Path) -> None:
    before = Bundle.open(folder)
    files: dict[str, bytes | Path] = {name: folder / name for name in FILES}
    assert write_bundle(folder, before.manifest, files) == before


def test_until_the_newer_bundle_has_the_name_the_older_one_has_one_that_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a kill between the two renames would leave them; an error puts the older one back."""
    before = Bundle.open(folder).manifest
    between: list[dict[str, str]] = []
    rename = Path.rename

    def note(source: Path, target: Path) -> Path:
        if source.suffix == ".partial":
            beside = {path.suffix: Bundle.open(path).manifest.name for path in folder.parent.iterdir()}
            between.append(beside)
            raise OSError("no more names")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", note)
    with pytest.raises(OSError, match="no more names"):
        write_bundle(folder, replace(MANIFEST, name="newer"), FILES)
    assert between == [{".replaced": "small", ".partial": "newer"}]
    assert Bundle.open(folder).manifest == before
    assert list(folder.parent.iterdir()) == [folder]


def test_a_broken_bundle_is_replaced(folder: Path) -> None:
    (folder / "lm_heads.onnx").unlink()
    write_bundle(folder, MANIFEST, FILES)
    assert Bundle.open(folder).manifest.name == "small"


def test_an_empty_folder_becomes_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    write_bundle(tmp_path / "small", MANIFEST, FILES)
    assert list(tmp_path.iterdir()) == [tmp_path / "small"]


def test_parents_are_made(tmp_path: Path) -> None:
    assert write_bundle(tmp_path / "a" / "b" / "small", MANIFEST, FILES).folder.is_dir()


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(BundleError, match=r"expected a new or empty folder or a bundle, found other files$"):
        write_bundle(tmp_path / "home", MANIFEST, FILES)
    assert contents(tmp_path / "home") == {"thesis.txt": b"years of work"}


def failing_writes(tmp_path: Path) -> dict[str, tuple[Callable[[Path], object], type[Exception], str]]:
    """Ways to fail: what is called with the folder, what it raises, and its message."""

    def refuse(partial: Bundle) -> None:
        assert Bundle.open(partial.folder) == partial, "the check sees the whole bundle"
        assert partial.manifest.name == "newer"
        raise ArithmeticError("the runtimes differ")

    newer = replace(MANIFEST, name="newer")
    without_heads = {name: content for name, content in FILES.items() if name != "lm_heads.onnx"}
    no_source = FILES | {"tokenizer.model": tmp_path / "nowhere.model"}
    wrong_weights = FILES | {"weights.safetensors": save({"a": np.zeros(3, dtype=np.float32)})}
    not_a_number = replace(newer, training={"perplexity": float("nan")})
    return {
        "check": (
            lambda folder: write_bundle(folder, newer, FILES, refuse),
            ArithmeticError,
            "runtimes differ",
        ),
        "missing file": (
            lambda folder: write_bundle(folder, newer, without_heads),
            BundleError,
            "no lm_heads",
        ),
        "missing source": (lambda folder: write_bundle(folder, newer, no_source), OSError, "nowhere.model"),
        "weights": (lambda folder: write_bundle(folder, newer, wrong_weights), BundleError, "found none"),
        "record": (
            lambda folder: write_bundle(folder, not_a_number, FILES),
            ValueError,
            "not JSON compliant",
        ),
    }


@pytest.mark.parametrize("name", NOT_PLAIN_NAMES)
def test_names_stay_inside_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match=r"expected files: plain names other than manifest\.json, found "):
        write_bundle(tmp_path / "small", MANIFEST, FILES | {name: b""})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", ["check", "missing file", "missing source", "weights", "record"])
@pytest.mark.parametrize("older", [True, False], ids=["older bundle", "no older bundle"])
def test_a_failure_leaves_everything_as_it_was(folder: Path, tmp_path: Path, way: str, older: bool) -> None:
    if not older:
        shutil.rmtree(folder)
    before = contents(folder) if older else None
    write, error, message = failing_writes(tmp_path)[way]
    with pytest.raises(error, match=message):
        write(folder)
    assert (contents(folder) if folder.exists() else None) == before
    assert list(folder.parent.iterdir()) == ([folder] if older else [])


# Writes bundles named 0, 1, 2... to the same place, one after the other. argv: a folder with the files of a
# bundle, the target, the most bytes a file may have (0: no limit).
WRITER = """
import itertools, resource, sys
from dataclasses import replace
from pathlib import Path
from model.bundle import Bundle, write_bundle

source, target, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
manifest = Bundle.open(source).manifest
files = {name: source / name for name in manifest.files} | {"MODEL_CARD.md": bytes(3_000_000)}
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for i in itertools.count():
    write_bundle(target, replace(manifest, name=str(i)), files)
    print(i, flush=True)
"""


def start_writer(source: Path, target: Path, limit: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(source), str(target), str(limit)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_kill_at_any_moment_leaves_a_whole_bundle_or_none(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "killed" / "small"
    delays = np.random.default_rng(0).uniform(0, 0.06, 8)
    killed_while_writing = 0
    for delay in delays:
        writer = start_writer(folder, target)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "0\n"  # the first is there; the kill meets a later one
        time.sleep(delay)
        writer.kill()
        names = writer.communicate()[0].split()
        assert writer.returncode < 0, "the writer ended by itself"
        if target.exists():
            last = int(names[-1]) if names else 0
            assert int(Bundle.open(target).manifest.name) in (last, last + 1)
        partial, replaced = (list(target.parent.glob(f".small.*.{kind}")) for kind in ("partial", "replaced"))
        if not target.exists():  # between the two renames
            newer, older = (Bundle.open(folder).manifest.name for (folder,) in (partial, replaced))
            assert int(newer) == int(older) + 1
        killed_while_writing += bool(partial)
        for leftover in (*partial, *replaced):
            shutil.rmtree(leftover)
        assert set(target.parent.iterdir()) <= {target}
    assert killed_while_writing > 0


@pytest.mark.parametrize("older", [True, False], ids=["older bundle", "no older bundle"])
def test_a_full_disk(folder: Path, tmp_path: Path, older: bool) -> None:
    """A limit on the size of files ends a write in its middle as a full disk does."""
    source = shutil.copytree(folder, tmp_path / "source")
    if not older:
        shutil.rmtree(folder)
    before = contents(folder) if older else None
    writer = start_writer(source, folder, limit=1_000_000)
    out, errors = writer.communicate(timeout=60)
    assert (writer.returncode, out) == (1, "")
    expected = r"OSError: \[Errno 27\] File too large: '.*/\.small\.[0-9a-f]{8}\.partial/MODEL_CARD\.md'"
    assert re.fullmatch(expected, errors.splitlines()[-1])
    assert (contents(folder) if folder.exists() else None) == before
    assert list(folder.parent.iterdir()) == ([folder] if older else [])


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match="file"):
        write_bundle(tmp_path / "file" / "small", MANIFEST, FILES)
