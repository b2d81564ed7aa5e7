"""From text files to a bundle: the stages of a run, each of which leaves its result in the workspace."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model.bundle import Bundle
from model.characters import Alphabet
from model.files import CHARACTERS_FILE, MANIFEST_FILE, TOKENIZER_FILE
from model.tokenizer import SentencePieceTokenizer
from training.atomic import write_atomically
from training.config import Config, ModelConfig, load_config
from training.corpus import CharacterTable, PackedCorpus, check_texts, has_characters, pack
from training.lineage import base_of
from training.tokenizer import build_alphabet, sample_lines, train_tokenizer
from training.workspace import Workspace

if TYPE_CHECKING:
    from torch import Tensor

    from training.evaluate import Perplexities

Files = Mapping[str, Sequence[Path]]


def with_data(config: Config, path: Path, train: Files, heldout: Files) -> Config:
    """Return the configuration with the data it is to be run on: paths given replace the file's own.

    path: the configuration file, where relative paths in it start. Raises ValueError when there is no text
    for training, or none held out, or one in a language that the bundle does not name.
    """

    def resolve(own: Mapping[str, Sequence[str]], given: Files) -> dict[str, tuple[str, ...]]:
        if given:
            return {language: tuple(map(str, paths)) for language, paths in given.items()}
        return {language: tuple(str(path.parent / p) for p in paths) for language, paths in own.items()}

    data = replace(
        config.data, train=resolve(config.data.train, train), heldout=resolve(config.data.heldout, heldout)
    )
    for name, texts in (("train", data.train), ("heldout", data.heldout)):
        if not texts or not all(texts.values()):
            raise ValueError(f"data.{name}: no text; name it in {path} or with --{name} LANGUAGE=PATH")
        for language in texts:
            if not language or "/" in language:  # it becomes part of a folder's name
                raise ValueError(f"data.{name}: expected the name of a language, got {language!r}")
            if language not in config.bundle.languages:
                named = ", ".join(config.bundle.languages)
                raise ValueError(
                    f"data.{name}: expected a language of bundle.languages ({named}), got {language!r}"
                )
    return replace(config, data=data)


def check_data(config: Config) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Return the training and the held-out files by language, each read to its end.

    Raises ValueError for a file that is no text or has none, and for a text shorter than one batch.
    """

    def files(texts: Mapping[str, Sequence[str]]) -> dict[str, list[Path]]:
        return {language: check_texts([Path(p) for p in paths]) for language, paths in texts.items()}

    train_files, heldout_files = files(config.data.train), files(config.data.heldout)
    training = config.training
    # A token has at least one character, a boundary the line's end. Tokens themselves can be counted only
    # when the vocabulary is learned.
    least = training.batch_size * (training.bptt_length + 1)
    if not has_characters(chain.from_iterable(train_files.values()), least):
        raise ValueError(
            f"data.train: shorter than one batch: expected {least} characters or more, for a batch is "
            f"batch_size x (bptt_length + 1) = {least} tokens"
        )
    return train_files, heldout_files


def prepare(config: Config, workspace: Workspace, init_from: Bundle | None) -> None:
    """Learn the tokenizer and the alphabet, and pack the text.

    What is already there is kept, unless it came from another text or [tokenizer]: that is refused. When
    nothing is missing, the text is not read again.
    init_from: a bundle whose tokenizer and alphabet are taken instead, as its weights need them.
    Raises ValueError, before anything is written, for what is wrong with the text.
    """
    workspace.check_sources(config)
    vocabulary = _read_vocabulary(init_from, workspace) if init_from is not None else None
    if workspace.is_prepared(config):
        return
    train_files, heldout_files = check_data(config)
    workspace.create()
    if not workspace.alphabet_path.exists():
        if vocabulary is None:
            _learn_vocabulary(config, workspace, train_files)
        else:
            for path, data in vocabulary.items():
                write_atomically(path, data)
    workspace.write_sources(config)
    if not workspace.is_packed(workspace.train_path):
        files = [path for language in sorted(train_files) for path in train_files[language]]
        corpus = pack(files, workspace.tokenizer, workspace.train_path)
        _say(f"packed {len(corpus):,} tokens of training text")
    for language, paths in heldout_files.items():
        if not workspace.is_packed(workspace.heldout_path(language)):
            pack(paths, workspace.tokenizer, workspace.heldout_path(language))


def _learn_vocabulary(config: Config, workspace: Workspace, train_files: Files) -> None:
    lines = sample_lines(train_files, config.tokenizer.sample_bytes, config.training.seed)
    _say(f"learning a vocabulary of {config.tokenizer.vocabulary_size} pieces from {len(lines)} lines")
    train_tokenizer(lines, config.tokenizer, workspace.tokenizer_path)
    # The alphabet comes last, and whole: where it is, the tokenizer is too.
    partial = workspace.alphabet_path.with_suffix(".partial")
    build_alphabet(lines, config.tokenizer).save(partial)
    partial.rename(workspace.alphabet_path)


def _read_vocabulary(bundle: Bundle, workspace: Workspace) -> dict[Path, bytes]:
    """Return a bundle's tokenizer and alphabet, in this order, by their paths in the workspace.

    Raises ValueError when the workspace holds others.
    """
    paths = (workspace.tokenizer_path, workspace.alphabet_path)
    vocabulary = {path: (bundle.folder / path.name).read_bytes() for path in paths}
    if workspace.alphabet_path.exists() and any(path.read_bytes() != vocabulary[path] for path in paths):
        raise ValueError(
            f"{workspace.folder}: holds another vocabulary than {bundle.folder}; name another folder"
        )
    return vocabulary


def train(config: Config, workspace: Workspace, *, resume: bool, init_from: Path | None) -> bool:
    """Prepare what is missing, then train. Returns False when training was interrupted.

    init_from: a bundle whose weights and vocabulary the run starts from. Raises ValueError when the workspace
    holds a run already and `resume` is not asked for, and for what is wrong with the bundle.
    """
    begins = not workspace.checkpoint_path.exists()
    if not begins and not resume:
        raise ValueError(
            f"{workspace.folder}: holds a run already; go on with --resume, or name another folder"
        )
    if begins and resume and workspace.base is not None:
        raise ValueError(
            f"{workspace.folder}: no checkpoint yet of the run that started from {workspace.base['name']}; "
            "start again, with --init-from"
        )
    if begins and init_from is None:
        _check_languages(config)
    # torch takes a second to import; the checks above, and those of the configuration, do not wait for it.
    from training.allocator import keep_freed_memory
    from training.distributed import Processes
    from training.loop import Trainer
    from training.memory import check_memory

    keep_freed_memory()
    processes = Processes()
    try:
        # What can be refused is refused here, before the text is read.
        num_rows = len(processes.rows(config.training.batch_size))
        check_memory(config, num_rows, processes.device)
        base = _open_base(config, init_from) if init_from is not None else None

        needs_vectors = begins and config.model.word_dim > 0
        needs_vectors &= base is None or base.manifest.architecture.word_dim == 0

        def begin() -> None:
            prepare(config, workspace, base)
            if begins:
                workspace.write_base(base_of(base.manifest) if base is not None else None)
            if needs_vectors:
                _prepare_static_vectors(config, workspace)

        processes.run_in_first(begin)
        trainer = Trainer(
            config,
            workspace,
            processes,
            _weights(base) if base is not None else None,
            np.load(workspace.static_vectors_path) if needs_vectors else None,
        )
        if not begins:
            trainer.resume()
        elif resume and processes.is_first:
            _say(f"{workspace.folder}: no checkpoint yet, starting at step 0")
        return trainer.run()
    finally:
        processes.close()


def _prepare_static_vectors(config: Config, workspace: Workspace) -> None:
    from training.static_vectors import static_vectors  # and with it scikit-learn

    _say("static vectors of the pieces")
    corpus = PackedCorpus(workspace.train_path)
    vectors_VW = static_vectors(corpus, config.model.word_dim, config.training.seed)
    data = io.BytesIO()
    np.save(data, vectors_VW)
    write_atomically(workspace.static_vectors_path, data.getvalue())


def _check_languages(config: Config) -> None:
    """Raise ValueError when there is a language of the bundle that it will not have read."""
    unread = [language for language in config.bundle.languages if language not in config.data.train]
    if unread:
        raise ValueError(
            f"bundle.languages: expected text of every language in data.train, got none of {unread[0]!r}"
        )


def _open_base(config: Config, folder: Path) -> Bundle:
    """Return a bundle to start from, refused unless [model] is what its weights were trained with."""
    bundle = _open_trained(folder)
    own = bundle.manifest.architecture
    different = [
        f"{f.name} = {getattr(own, f.name)}, expected {getattr(config.model, f.name)}"
        for f in fields(ModelConfig)
        if getattr(own, f.name) != getattr(config.model, f.name)
        and not (f.name == "word_dim" and own.word_dim == 0)  # pieces may get vectors of their own now
    ]
    if different:
        raise ValueError(f"{folder}: was trained with another [model]: {'; '.join(different)}")
    return bundle


def _open_trained(folder: Path) -> Bundle:
    """Return a bundle that was trained here. Raises BundleError when there is none, ValueError for one that
    was imported: it has no softmax and no pieces, and our loop learns to predict pieces."""
    bundle = Bundle.open(folder)
    if not bundle.manifest.architecture.has_softmax:
        raise ValueError(
            f"{folder}: expected a model with a softmax, found one that was imported without: it reads "
            "words, and can be neither trained further nor measured as a language model"
        )
    return bundle


def _weights(bundle: Bundle) -> dict[str, Tensor]:
    from training.export import load_weights  # and with it onnx, which other runs do not load

    return load_weights(bundle)


def check_output(bundle: Path) -> None:
    """Raise ValueError when a bundle could not be written there, before hours are spent on it."""
    if bundle.exists() and not bundle.is_dir():
        raise ValueError(f"{bundle}: expected a folder, found a file")
    if bundle.exists() and any(bundle.iterdir()) and not (bundle / MANIFEST_FILE).exists():
        raise ValueError(f"{bundle}: expected a new or empty folder or a bundle, found other files")
    try:
        bundle.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=bundle.parent, prefix="."):
            pass
    except OSError as error:
        raise ValueError(f"{bundle}: cannot be written: {error.strerror}") from error


def export(config: Config, workspace: Workspace, out: Path) -> None:
    """Write the bundle of the run's best weights to `out`, and say so.

    Raises ValueError as `training.export.export` does.
    """
    from training.export import export as write

    write(config, workspace, out)
    _say(f"wrote {out}")


def evaluate(folder: Path, heldout: Files) -> Perplexities:
    """Return a bundle's perplexity on text, by language, direction and unit. Raises BundleError."""
    from training.evaluate import heldout_loss
    from training.export import load_model

    files = {language: check_texts(paths) for language, paths in heldout.items()}
    bundle = _open_trained(folder)
    model = load_model(bundle)
    tokenizer = SentencePieceTokenizer(folder / TOKENIZER_FILE)
    alphabet = Alphabet.load(folder / CHARACTERS_FILE)
    perplexities = {}
    for language, paths in files.items():
        with tempfile.TemporaryDirectory() as temporary:
            packed = pack(paths, tokenizer, Path(temporary))
            table = CharacterTable(alphabet, tokenizer, packed.unknown_surfaces)
            perplexities[language] = heldout_loss(model, table, packed.lines()).perplexities(packed.counts)
    return perplexities


def is_first_process() -> bool:
    """Whether this process writes the files of the run; of those that torchrun starts, only one does."""
    return os.environ.get("RANK", "0") == "0"


def read_config(path: Path, train: Files, heldout: Files) -> Config:
    return with_data(load_config(path), path, train, heldout)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
