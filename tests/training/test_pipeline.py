from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from model.bundle import Bundle
from tests.training.conftest import copy_workspace
from tests.training.runs import TINY, TOKENS_PER_STEP, run_python, tiny_config
from training import pipeline
from training.checkpoint import load_checkpoint
from training.config import Config, load_config
from training.corpus import PackedCorpus, pack, read_documents
from training.pipeline import check_data, check_output, prepare, with_data
from training.workspace import Workspace


def text(path: Path, content: str = "The bank of the river.\n" * 50) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def with_texts(config: Config, train: dict[str, list[Path]], heldout: dict[str, list[Path]]) -> Config:
    return with_data(config, TINY, train, heldout)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# What a run is to read


def test_relative_paths_start_at_the_configuration_file(tiny: Config) -> None:
    folder = TINY.parent
    assert tiny.data.train == {
        "en": (f"{folder}/../../tests/data/corpus.en.txt",),
        "ko": (f"{folder}/../../tests/data/corpus.ko.txt",),
    }
    assert tiny.data.heldout["ko"] == (f"{folder}/../../tests/data/heldout.ko.txt",)


def test_paths_that_are_given_replace_the_configurations_own() -> None:
    own = load_config(TINY)
    given = {"ko": [Path("a.txt"), Path("texts")]}
    config = with_data(own, TINY, given, {})
    assert config.data.train == {"ko": ("a.txt", "texts")}
    assert config.data.heldout == with_data(own, TINY, {}, {}).data.heldout
    assert with_data(own, TINY, {}, given).data.heldout == {"ko": ("a.txt", "texts")}


@pytest.mark.parametrize(
    ("train", "heldout", "message"),
    [
        (
            {},
            {"en": ("b.txt",)},
            r"^data\.train: no text; name it in mine\.toml or with --train LANGUAGE=PATH$",
        ),
        ({"en": ("a.txt",)}, {}, r"^data\.heldout: no text; name it in mine\.toml or with --heldout LANG"),
        ({"en": ()}, {"en": ("b.txt",)}, r"^data\.train: no text; "),
        ({"en": ("a.txt",), "ko": ()}, {"en": ("b.txt",)}, r"^data\.train: no text; "),
        (
            {"../en": ("a.txt",)},
            {"en": ("b.txt",)},
            r"^data\.train: expected the name of a language, got '../en'",
        ),
        ({"en": ("a.txt",)}, {"": ("b.txt",)}, r"^data\.heldout: expected the name of a language, got ''"),
        (
            {"en": ("a.txt",), "fr": ("a.txt",)},
            {"en": ("b.txt",)},
            r"^data\.train: expected a language of bundle\.languages \(en, ko\), got 'fr'$",
        ),
        (
            {"en": ("a.txt",)},
            {"EN": ("b.txt",)},
            r"^data\.heldout: expected a language of bundle\.languages \(en, ko\), got 'EN'$",
        ),
    ],
)
def test_a_run_without_its_texts_is_refused(
    train: dict[str, tuple[str, ...]], heldout: dict[str, tuple[str, ...]], message: str, tiny: Config
) -> None:
    config = replace(tiny, data=replace(tiny.data, train=train, heldout=heldout))
    with pytest.raises(ValueError, match=message):
        with_data(config, Path("mine.toml"), {}, {})


def test_every_text_is_checked(tiny: Config, tmp_path: Path) -> None:
    good, bad = text(tmp_path / "good.txt"), tmp_path / "bad.txt"
    bad.write_bytes(b"good\n" * 5000 + b"\xff\n")
    found = check_data(with_texts(tiny, {"en": [good, good]}, {"en": [good], "ko": [good]}))
    assert found == ({"en": [good, good]}, {"en": [good], "ko": [good]})
    for train, heldout in (
        ({"en": [good, bad]}, {"en": [good]}),
        ({"en": [good]}, {"en": [good], "ko": [bad]}),
    ):
        with pytest.raises(ValueError, match=r"bad\.txt: line 5001 is not UTF-8"):
            check_data(with_texts(tiny, train, heldout))


def test_a_text_shorter_than_one_batch_is_refused(tiny: Config, tmp_path: Path) -> None:
    """A batch of tiny.toml is 8 x 17 tokens; the text may be in several files."""
    half = text(tmp_path / "half.txt", "1234567\n" * 8)
    rest = text(tmp_path / "rest.txt", "1234567\n" * 9)
    short = text(tmp_path / "short.txt", "1234567\n" * 8 + "123456\n")
    heldout = {"en": [text(tmp_path / "heldout.txt", "x")]}
    check_data(with_texts(tiny, {"en": [half], "ko": [rest]}, heldout))
    with pytest.raises(ValueError, match=r"^data\.train: shorter than one batch: expected 136 characters"):
        check_data(with_texts(tiny, {"en": [half], "ko": [short]}, heldout))


# What is prepared


def test_a_prepared_workspace_holds_vocabulary_alphabet_and_packed_text(
    tiny: Config, prepared: Workspace
) -> None:
    assert prepared.is_prepared(tiny)
    assert set(files(prepared.folder)) == {
        "tokenizer.model",
        "characters.json",
        "sources.json",
        *(
            f"packed/{name}/{part}"
            for name in ("train", "heldout.en", "heldout.ko")
            for part in ("corpus.json", "document_starts.bin", "token_ids.bin")
        ),
    }
    architecture = prepared.architecture(tiny)
    assert architecture.vocabulary_size == prepared.tokenizer.vocabulary_size == 1200
    assert architecture.num_characters == prepared.alphabet.num_characters > 260


def test_the_languages_are_packed_one_after_the_other(tiny: Config, prepared: Workspace) -> None:
    """Every line is found again, in order, by what its tokens spell."""
    corpus = PackedCorpus(prepared.train_path)
    pieces = [*prepared.tokenizer.pieces(), *corpus.unknown_surfaces]
    spelled = ["".join(pieces[i] for i in line).replace("▁", " ").strip() for line in corpus.lines()]
    texts = [
        line
        for lang in ("en", "ko")
        for doc in read_documents(Path(tiny.data.train[lang][0]))
        for line in doc
    ]
    assert spelled == texts
    heldout = prepared.heldout(tiny)
    assert list(heldout) == ["en", "ko"]
    lines = [line for doc in read_documents(Path(tiny.data.heldout["ko"][0])) for line in doc]
    assert heldout["ko"].counts.characters == len("".join(lines)) + len(lines)


def test_preparing_again_changes_nothing_and_reads_no_text(
    tiny: Config, workspace: Workspace, tmp_path: Path
) -> None:
    before = files(workspace.folder)

    def gone(texts: dict[str, tuple[str, ...]]) -> dict[str, list[Path]]:
        return {
            language: [tmp_path / "gone" / Path(path).name for path in texts[language]] for language in texts
        }

    prepare(with_texts(tiny, gone(tiny.data.train), gone(tiny.data.heldout)), workspace, init_from=None)
    assert files(workspace.folder) == before


def test_the_same_text_is_prepared_the_same(tiny: Config, prepared: Workspace, tmp_path: Path) -> None:
    again = Workspace(tmp_path / "again")
    prepare(tiny, again, init_from=None)
    assert files(again.folder) == files(prepared.folder)


@pytest.mark.parametrize(
    "missing",
    ["characters.json", "packed/train/corpus.json", "packed/heldout.ko/corpus.json", "packed/heldout.en"],
)
def test_what_an_interrupted_preparation_lacks_is_made_up_for(
    missing: str, tiny: Config, prepared: Workspace, workspace: Workspace
) -> None:
    path = workspace.folder / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    assert not workspace.is_prepared(tiny)
    prepare(tiny, workspace, init_from=None)
    assert files(workspace.folder) == files(prepared.folder)


def test_nothing_is_made_when_a_text_is_wrong(tiny: Config, tmp_path: Path) -> None:
    empty = text(tmp_path / "empty.txt", " \n")
    workspace = Workspace(tmp_path / "work")
    with pytest.raises(ValueError, match=r"empty\.txt: no text in this file"):
        prepare(with_texts(tiny, {"en": [empty]}, {}), workspace, init_from=None)
    assert not workspace.folder.exists()


def test_a_vocabulary_larger_than_the_text_allows_leaves_nothing_to_go_on_with(
    tiny: Config, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "work")
    config = with_texts(tiny, {"en": [text(tmp_path / "small.txt")]}, {})
    with pytest.raises(
        ValueError, match=r"^tokenizer\.vocabulary_size: .* Vocabulary size too high \(1200\)"
    ):
        prepare(config, workspace, init_from=None)
    assert files(workspace.folder) == {}


# Starting from a bundle's vocabulary


@pytest.fixture
def bundle(untrained: Bundle, tmp_path: Path) -> Bundle:
    """To be changed."""
    return replace(untrained, folder=Path(shutil.copytree(untrained.folder, tmp_path / "bundle")))


def test_the_vocabulary_of_a_bundle_is_taken_as_it_is(
    tiny: Config, untrained: Bundle, prepared: Workspace, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "work")
    config = with_texts(tiny, {"en": [text(tmp_path / "other.txt", "Other words entirely.\n" * 20)]}, {})
    prepare(config, workspace, init_from=untrained)
    assert workspace.tokenizer_path.read_bytes() == prepared.tokenizer_path.read_bytes()
    assert workspace.alphabet_path.read_bytes() == prepared.alphabet_path.read_bytes()
    prepare(config, workspace, init_from=untrained)


def test_a_workspace_with_another_vocabulary_is_refused(
    tiny: Config, bundle: Bundle, workspace: Workspace
) -> None:
    alphabet = json.loads((bundle.folder / "characters.json").read_text())
    alphabet["characters"].append("漢")
    (bundle.folder / "characters.json").write_text(json.dumps(alphabet))
    before = files(workspace.folder)
    with pytest.raises(ValueError, match=r"holds another vocabulary than .*bundle; name another folder"):
        prepare(tiny, workspace, init_from=bundle)
    assert files(workspace.folder) == before


# Folders that cannot be written. The tests may run as root, whom permissions do not stop


@pytest.mark.parametrize("below", [".", "deeper/still"])
def test_a_workspace_in_the_place_of_a_file_is_refused(below: str, tiny: Config, tmp_path: Path) -> None:
    file = text(tmp_path / "file")
    with pytest.raises(
        ValueError, match=rf"^{file}.*: cannot make this folder: (File exists|Not a directory)$"
    ):
        prepare(tiny, Workspace(file / below), init_from=None)
    assert file.read_text() == text(tmp_path / "other").read_text()


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    file = text(tmp_path / "file")
    with pytest.raises(ValueError, match=r"^/proc/none/bundle: cannot be written: "):
        check_output(Path("/proc/none/bundle"))
    with pytest.raises(ValueError, match=f"^{file}: expected a folder, found a file$"):
        check_output(file)
    with pytest.raises(
        ValueError, match=f"^{file}/bundle: cannot be written: (File exists|Not a directory)$"
    ):
        check_output(file / "bundle")


def test_an_output_that_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    check_output(tmp_path / "new" / "bundle")
    assert files(tmp_path) == {}
    old = tmp_path / "old"
    old.mkdir()
    text(old / "manifest.json")
    check_output(old)
    assert set(files(tmp_path)) == {"old/manifest.json"}


# Training


def test_a_run_is_prepared_and_trained(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, steps=3)
    workspace = Workspace(tmp_path / "work")
    assert pipeline.train(config, workspace, resume=False, init_from=None)
    assert workspace.is_prepared(config)
    assert load_checkpoint(workspace.checkpoint_path)[1].tokens == 3 * TOKENS_PER_STEP
    assert set(load_checkpoint(workspace.best_path)[0]) == set(workspace.architecture(config).tensor_shapes())

    before = files(workspace.folder)
    with pytest.raises(ValueError, match=f"^{workspace.folder}: holds a run already; go on with --resume"):
        pipeline.train(config, workspace, resume=False, init_from=None)
    assert files(workspace.folder) == before
    assert pipeline.train(tiny_config(tmp_path, steps=5), workspace, resume=True, init_from=None)
    assert load_checkpoint(workspace.checkpoint_path)[1].step == 5


def test_asking_to_resume_where_nothing_is_yet_starts_a_run(workspace: Workspace, tmp_path: Path) -> None:
    assert pipeline.train(tiny_config(tmp_path, steps=2), workspace, resume=True, init_from=None)
    assert load_checkpoint(workspace.checkpoint_path)[1].step == 2


def test_a_broken_checkpoint_is_not_trained_over(workspace: Workspace, tmp_path: Path) -> None:
    workspace.checkpoint_path.write_bytes(b"half of it")
    for resume in (True, False):
        with pytest.raises(ValueError, match=r"last\.safetensors: not a checkpoint|holds a run already"):
            pipeline.train(tiny_config(tmp_path, steps=2), workspace, resume=resume, init_from=None)
    assert workspace.checkpoint_path.read_bytes() == b"half of it"


def test_a_text_of_too_few_tokens_is_refused_before_training(
    tiny: Config, untrained: Bundle, tmp_path: Path
) -> None:
    """Enough characters for a batch of 136, but the vocabulary knows its words whole."""
    config = with_texts(tiny, {"en": [text(tmp_path / "few.txt", "the\n" * 40)]}, {})
    workspace = Workspace(tmp_path / "work")
    with pytest.raises(ValueError, match=r"^the corpus has 80 tokens, fewer than one batch: .* = 136$"):
        pipeline.train(config, workspace, resume=False, init_from=untrained.folder)
    assert not workspace.record_path.exists()


def test_the_fingerprint_follows_all_that_a_checkpoint_depends_on(
    tiny: Config, prepared: Workspace, tmp_path: Path
) -> None:
    fingerprint = prepared.fingerprint(tiny)
    assert copy_workspace(prepared, tmp_path / "copy").fingerprint(tiny) == fingerprint
    assert prepared.fingerprint(tiny_config(tmp_path, steps=7, learning_rate=1.0, dropout=0.5)) == fingerprint
    assert prepared.fingerprint(tiny_config(tmp_path, steps=7, batch_size=16)) != fingerprint
    assert prepared.fingerprint(tiny_config(tmp_path, steps=7, num_highways=2)) != fingerprint
    other = copy_workspace(prepared, tmp_path / "other")
    pack([text(tmp_path / "other.txt")], other.tokenizer, other.train_path)
    assert other.fingerprint(tiny) != fingerprint


def test_the_checks_before_training_do_not_wait_for_torch() -> None:
    code = "import sys, training.commands; print(sorted({'torch', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    done = run_python(code)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_workspace_prepared_with_other_settings_or_text_is_refused(
    tiny: Config, workspace: Workspace
) -> None:
    other = replace(tiny, tokenizer=replace(tiny.tokenizer, vocabulary_size=1000))
    with pytest.raises(
        ValueError,
        match=r"was prepared with \[tokenizer\]: vocabulary_size = 1200, expected 1000; name another",
    ):
        prepare(other, workspace, init_from=None)
    text = replace(tiny, data=replace(tiny.data, train={"en": ("/elsewhere/corpus.en.txt",)}))
    with pytest.raises(
        ValueError,
        match=r"prepared with train: ko = \['corpus\.ko\.txt'\], expected None; name another folder$",
    ):
        prepare(text, workspace, init_from=None)
    moved: dict[str, tuple[str, ...]] = {
        language: (f"/elsewhere/corpus.{language}.txt",) for language in tiny.data.train
    }
    prepare(replace(tiny, data=replace(tiny.data, train=moved)), workspace, init_from=None)
