"""The folder of one run: what each stage leaves for the next."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from model.architecture import Architecture
from model.characters import Alphabet
from model.files import CHARACTERS_FILE, TOKENIZER_FILE
from model.tokenizer import SentencePieceTokenizer
from training.atomic import write_atomically
from training.config import Config
from training.corpus import PackedCorpus


@dataclass(frozen=True)
class Workspace:
    folder: Path

    def create(self) -> None:
        """Raises ValueError when the folder cannot be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"{self.folder}: cannot make this folder: {error.strerror}") from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise ValueError(f"{self.folder}: this folder cannot be written")

    @property
    def tokenizer_path(self) -> Path:
        return self.folder / TOKENIZER_FILE

    @property
    def alphabet_path(self) -> Path:
        return self.folder / CHARACTERS_FILE

    @property
    def train_path(self) -> Path:
        return self.folder / "packed" / "train"

    def heldout_path(self, language: str) -> Path:
        return self.folder / "packed" / f"heldout.{language}"

    @property
    def static_vectors_path(self) -> Path:
        """What the pieces' own vectors began as (training/static_vectors.py)."""
        return self.folder / "static_vectors.npy"

    @property
    def checkpoint_path(self) -> Path:
        """The newest checkpoint, from which a run resumes."""
        return self.folder / "last.safetensors"

    @property
    def stable_checkpoint_path(self) -> Path:
        """The checkpoint before the learning rate began to fall.

        A longer run goes on from a copy of it in the newest one's place, with --resume and more total_tokens.
        """
        return self.folder / "before_decay.safetensors"

    @property
    def best_path(self) -> Path:
        """The weights with the best held-out perplexity, which are exported."""
        return self.folder / "best.safetensors"

    @property
    def record_path(self) -> Path:
        """One JSON object a line: the losses of the run, step by step."""
        return self.folder / "record.jsonl"

    @property
    def base_path(self) -> Path:
        """What the bundle says of the one that the run started from (training/lineage.py); none without."""
        return self.folder / "base.json"

    @property
    def base(self) -> dict[str, Any] | None:
        """Raises ValueError when the file is not what `write_base` leaves."""
        if not self.base_path.exists():
            return None
        expected = {"name": str, "sha256": str, "licence": str, "training": dict}
        try:
            document = json.loads(self.base_path.read_text(encoding="utf-8"))
            found = {name: type(value) for name, value in document.items()}
        except (ValueError, AttributeError, RecursionError) as error:
            raise ValueError(f"{self.base_path}: expected a JSON object: {error}") from error
        if found != expected:
            raise ValueError(f"{self.base_path}: expected the fields {', '.join(expected)}")
        return document  # type: ignore[no-any-return]

    def write_base(self, base: dict[str, Any] | None) -> None:
        if base is None:
            self.base_path.unlink(missing_ok=True)
        else:
            data = json.dumps(base, ensure_ascii=False, indent=1) + "\n"
            write_atomically(self.base_path, data.encode())

    @cached_property
    def tokenizer(self) -> SentencePieceTokenizer:
        return SentencePieceTokenizer(self.tokenizer_path)

    @cached_property
    def alphabet(self) -> Alphabet:
        return Alphabet.load(self.alphabet_path)

    def check_sources(self, config: Config) -> None:
        """Raise ValueError when the folder was prepared with another [tokenizer] or from other text."""
        path = self.folder / "sources.json"
        if not path.exists():
            return
        before, now = json.loads(path.read_text(encoding="utf-8")), _sources(config)
        for section, values in now.items():
            old = before[section]
            if different := [key for key in {**old, **values} if old.get(key) != values.get(key)]:
                key = different[0]
                raise ValueError(
                    f"{self.folder}: was prepared with {section}: {key} = {old.get(key)}, expected "
                    f"{values.get(key)}; name another folder"
                )

    def write_sources(self, config: Config) -> None:
        data = json.dumps(_sources(config), ensure_ascii=False, indent=1) + "\n"
        write_atomically(self.folder / "sources.json", data.encode())

    def is_packed(self, path: Path) -> bool:
        return (path / "corpus.json").exists()

    def is_prepared(self, config: Config) -> bool:
        """Return whether all is there that training reads."""
        packed = [self.train_path, *map(self.heldout_path, config.data.heldout)]
        return self.alphabet_path.exists() and all(map(self.is_packed, packed))

    def heldout(self, config: Config) -> dict[str, PackedCorpus]:
        return {language: PackedCorpus(self.heldout_path(language)) for language in config.data.heldout}

    def architecture(self, config: Config) -> Architecture:
        return config.architecture(self.alphabet.num_characters, self.tokenizer.vocabulary_size)

    def fingerprint(self, config: Config) -> str:
        """Return a hash of all that a checkpoint depends on; what may change in mid-run is left out."""
        training = asdict(config.training)
        lasting = {key: training[key] for key in ("batch_size", "bptt_length", "seed", "reset_probability")}
        model = asdict(config.model)
        if not config.model.word_dim:
            del model["word_dim"]  # a run of before there was such a field can go on
        document = {
            "model": model,
            "training": lasting,
            "num_tokens": len(PackedCorpus(self.train_path)),
            "tokenizer": hashlib.sha256(self.tokenizer_path.read_bytes()).hexdigest(),
            "alphabet": hashlib.sha256(self.alphabet_path.read_bytes()).hexdigest(),
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

    def texts(self, config: Config) -> dict[str, str]:
        """Return the hash of every packed text. Text that was packed before there were hashes has none."""
        packed = {"training text": PackedCorpus(self.train_path)}
        packed |= {f"held-out text ({name})": corpus for name, corpus in self.heldout(config).items()}
        return {name: corpus.sha256 for name, corpus in packed.items() if corpus.sha256 is not None}

    def record(self) -> list[dict[str, Any]]:
        """Return the entries, but for a last one that a kill or a full disk has cut short."""
        if not self.record_path.exists():
            return []
        lines = self.record_path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def cut_record(self, step: int) -> None:
        """Forget what was recorded after a checkpoint's step, before a run goes on from there."""
        kept = [entry for entry in self.record() if entry["step"] <= step]
        write_atomically(self.record_path, "".join(json.dumps(entry) + "\n" for entry in kept).encode())

    def append_record(self, entry: dict[str, Any]) -> None:
        with open(self.record_path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def _sources(config: Config) -> dict[str, Any]:
    """Return what a vocabulary and packed text come from: settings, and the names of files and folders.

    Names alone: text that has moved, or is no longer there, does not keep a run from going on.
    """

    def names(texts: dict[str, tuple[str, ...]]) -> dict[str, list[str]]:
        return {language: sorted(Path(text).name for text in texts[language]) for language in sorted(texts)}

    return {
        "[tokenizer]": asdict(config.tokenizer),
        "train": names(config.data.train),
        "heldout": names(config.data.heldout),
    }
