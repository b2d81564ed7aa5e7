"""A training run's settings: one TOML file, checked whole before any work starts."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import GenericAlias
from typing import Any, Literal, get_args, get_origin, get_type_hints

from model.architecture import Architecture, Cell


@dataclass(frozen=True)
class BundleConfig:
    """What the manifest and the model card say."""

    name: str
    languages: tuple[str, ...]
    licence: str
    description: str
    corpora: tuple[str, ...] = ()  # a line each, with its licence
    limits: tuple[str, ...] = ()  # what a user should not expect of the model, a line each
    weights_dtype: Literal["float16", "float32"] = "float16"


@dataclass(frozen=True)
class DataConfig:
    """Text files (UTF-8, a paragraph a line, an empty line between documents; .txt, .txt.gz or .txt.xz) or
    folders of them, by language. Relative paths start at the configuration file; `--train` and `--heldout`
    replace them."""

    train: dict[str, tuple[str, ...]] = field(default_factory=dict)
    heldout: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class TokenizerConfig:
    """The SentencePiece vocabulary and the characters that its pieces are spelled with."""

    vocabulary_size: int
    alphabet: Literal["bytes", "jamo"]
    model_type: Literal["unigram", "bpe", "word"] = "unigram"
    sample_bytes: int = 30_000_000  # of text from each language
    character_coverage: float = 0.9995
    min_character_count: int = 50  # in the sample, for a character to be listed in a jamo alphabet


@dataclass(frozen=True)
class ModelConfig:
    """The network; `Architecture` says what each field means."""

    cell: Cell
    num_layers: int
    hidden_dim: int
    character_dim: int
    filters: tuple[tuple[int, int], ...]
    num_highways: int
    adaptive_cutoffs: tuple[int, ...] = ()
    adaptive_div_value: float = 4.0
    word_dim: int = 0  # of a vector that each piece has of its own, beside its characters; 0: none


@dataclass(frozen=True)
class TrainingConfig:
    """A token counts once, though both directions read it."""

    total_tokens: int
    batch_size: int  # rows, over all processes
    bptt_length: int  # tokens in a window: gradients are cut there, the state goes on
    learning_rate: float
    warmup_steps: int
    decay_fraction: float  # the last part of the run, over which the rate falls linearly to a hundredth
    clip_norm: float
    dropout: float
    reset_probability: float  # that a row's window starts at a boundary with a zero state, as inference does
    evaluate_every_steps: int
    patience: int  # evaluations without a better held-out perplexity before the run stops; 0 = never
    checkpoint_every_s: float
    weight_decay: float = 0.0
    evaluate_tokens: int = 60_000  # of each language's held-out text, during training
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class Config:
    bundle: BundleConfig
    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig
    model: ModelConfig
    training: TrainingConfig

    def __post_init__(self) -> None:
        _check(self)

    def architecture(self, num_characters: int, vocabulary_size: int) -> Architecture:
        model = self.model
        return Architecture(
            cell=model.cell,
            num_layers=model.num_layers,
            hidden_dim=model.hidden_dim,
            character_dim=model.character_dim,
            num_characters=num_characters,
            filters=model.filters,
            num_highways=model.num_highways,
            vocabulary_size=vocabulary_size,
            adaptive_cutoffs=model.adaptive_cutoffs,
            adaptive_div_value=model.adaptive_div_value,
            word_vocabulary_size=vocabulary_size if model.word_dim else 0,
            word_dim=model.word_dim,
        )


def load_config(path: Path) -> Config:
    """Raise ValueError naming the file and the field when the file is not a valid configuration."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:  # brackets without end too
        raise ValueError(f"{path}: {error}") from error
    try:
        config: Config = _parse(Config, document, "")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return config


_MANY = 10**15
"""More than any run counts, and still exact as a float."""

MAX_FILTER_WIDTH = 100

_RANGES: dict[str, tuple[float, float]] = {
    "model.num_layers": (1, 100),
    "model.hidden_dim": (1, 100_000),
    "model.character_dim": (1, 100_000),
    "model.num_highways": (0, 100),
    "model.word_dim": (0, 100_000),
    "tokenizer.vocabulary_size": (8, 1_000_000),  # of so many candidates SentencePiece chooses its pieces
    "tokenizer.sample_bytes": (1, _MANY),
    "tokenizer.character_coverage": (0.98, 1.0),  # SentencePiece's own limits
    "tokenizer.min_character_count": (1, _MANY),
    "training.total_tokens": (1, _MANY),
    "training.batch_size": (1, 1_000_000),
    "training.bptt_length": (1, 1_000_000),
    "training.learning_rate": (1e-9, 1e3),
    "training.warmup_steps": (0, _MANY),
    "training.decay_fraction": (0, 1),
    "training.clip_norm": (1e-9, math.inf),  # inf: no clipping
    "training.dropout": (0, 0.999),
    "training.reset_probability": (0, 1),
    "training.evaluate_every_steps": (1, _MANY),
    "training.patience": (0, _MANY),
    "training.checkpoint_every_s": (0, math.inf),  # inf: only when the run ends
    "training.weight_decay": (0, 1),
    "training.evaluate_tokens": (1, _MANY),
    "training.seed": (0, 2**63 - 1),
}


def _check(config: Config) -> None:
    for name, (low, high) in _RANGES.items():
        section, key = name.split(".")
        value = getattr(getattr(config, section), key)
        if not low <= value <= high:
            raise ValueError(f"{name}: expected {low:g} to {high:g}, got {value}")
    widest = max((width for width, _ in config.model.filters), default=0)
    if widest > MAX_FILTER_WIDTH:  # every token is padded to it
        raise ValueError(f"model.filters: expected widths of at most {MAX_FILTER_WIDTH}, got {widest}")
    # The table of characters is not known yet; all else about the network can be refused now.
    try:
        config.architecture(num_characters=2, vocabulary_size=config.tokenizer.vocabulary_size)
    except ValueError as error:
        raise ValueError(f"model.{error}") from error
    check_name(config.bundle.name, "bundle.name")
    languages = config.bundle.languages
    if not languages or not all(languages) or len(set(languages)) < len(languages):
        raise ValueError(f"bundle.languages: expected one or more, each once, got {list(languages)}")


def check_name(name: str, where: str) -> None:
    """Raise ValueError unless a bundle may be called so: it becomes a folder, and stands in requests."""
    if name in ("", ".", "..") or "/" in name or not name.isprintable():
        raise ValueError(f"{where}: expected a plain name, got {name!r}")


def _parse(kind: Any, value: Any, where: str) -> Any:
    """Return `value` as `kind`: a dataclass, a scalar, a Literal, a tuple or a dict of those."""
    if is_dataclass(kind):
        return _parse_table(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{where}: expected one of {', '.join(map(repr, arguments))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where}: expected a list, got {value!r}")
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(value):
            raise ValueError(f"{where}: expected {len(kinds)} values, got {value!r}")
        return tuple(_parse(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}: expected a table, got {value!r}")
        return {k: _parse(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        assert not isinstance(kind, GenericAlias)
        raise ValueError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value


def _parse_table(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: expected a table, got {value!r}")
    hints = get_type_hints(kind)
    names = {f.name: f for f in fields(kind)}
    prefix = f"{where}." if where else ""
    for key in value:
        if key not in names:
            raise ValueError(f"{prefix}{key}: unknown field, expected one of {', '.join(names)}")
    parsed: dict[str, Any] = {}
    for name, declared in names.items():
        if name in value:
            parsed[name] = _parse(hints[name], value[name], f"{prefix}{name}")
        elif declared.default is MISSING and declared.default_factory is MISSING:
            raise ValueError(f"{prefix}{name}: missing")
    return kind(**parsed)
