from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from training.config import (
    BundleConfig,
    Config,
    DataConfig,
    ModelConfig,
    TokenizerConfig,
    TrainingConfig,
    load_config,
)

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
SECTIONS = {
    "bundle": BundleConfig,
    "data": DataConfig,
    "tokenizer": TokenizerConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
}

REQUIRED = {
    "bundle.name": '"mine"',
    "bundle.languages": '["ko"]',
    "bundle.licence": '"MIT"',
    "bundle.description": '"A model."',
    "tokenizer.vocabulary_size": "100",
    "tokenizer.alphabet": '"bytes"',
    "model.cell": '"gru"',
    "model.num_layers": "3",
    "model.hidden_dim": "16",
    "model.character_dim": "4",
    "model.filters": "[[1, 8], [2, 9]]",
    "model.num_highways": "2",
    "training.total_tokens": "1_000",
    "training.batch_size": "4",
    "training.bptt_length": "5",
    "training.learning_rate": "1",
    "training.warmup_steps": "6",
    "training.decay_fraction": "0.5",
    "training.clip_norm": "0.25",
    "training.dropout": "0.75",
    "training.reset_probability": "0",
    "training.evaluate_every_steps": "7",
    "training.patience": "8",
    "training.checkpoint_every_s": "9",
}

OTHER_THAN_DEFAULT = {
    "bundle.corpora": '["a", "b"]',
    "bundle.limits": '["c"]',
    "bundle.weights_dtype": '"float32"',
    "data.train": '{ko = ["a.txt", "b"], en = ["c.txt.xz"]}',
    "data.heldout": '{ko = ["d.txt"]}',
    "tokenizer.model_type": '"word"',
    "tokenizer.sample_bytes": "10",
    "tokenizer.character_coverage": "0.99",
    "tokenizer.min_character_count": "11",
    "model.adaptive_cutoffs": "[20, 50]",
    "model.adaptive_div_value": "2",
    "model.word_dim": "6",
    "training.weight_decay": "0.01",
    "training.evaluate_tokens": "12",
    "training.precision": '"float32"',
    "training.seed": "13",
}


def write(folder: Path, values: dict[str, str]) -> Path:
    """values: TOML literals by `section.key`."""
    lines = []
    for section in dict.fromkeys(name.partition(".")[0] for name in values):
        own = {name: text for name, text in values.items() if name.startswith(f"{section}.")}
        lines += [f"[{section}]", *(f"{name.partition('.')[2]} = {text}" for name, text in own.items())]
    path = folder / "mine.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def error(path: Path) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (every test looks at the whole message)
        load_config(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_tables_above_name_every_field() -> None:
    declared = {f"{section}.{f.name}": f for section, kind in SECTIONS.items() for f in fields(kind)}
    required = {name for name, f in declared.items() if f.default is MISSING and f.default_factory is MISSING}
    assert set(REQUIRED) == required
    assert set(OTHER_THAN_DEFAULT) == declared.keys() - required


def test_what_may_be_left_out_has_its_default(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, REQUIRED)) == Config(
        bundle=BundleConfig(
            name="mine",
            languages=("ko",),
            licence="MIT",
            description="A model.",
            corpora=(),
            limits=(),
            weights_dtype="float16",
        ),
        data=DataConfig(train={}, heldout={}),
        tokenizer=TokenizerConfig(
            vocabulary_size=100,
            alphabet="bytes",
            model_type="unigram",
            sample_bytes=30_000_000,
            character_coverage=0.9995,
            min_character_count=50,
        ),
        model=ModelConfig(
            cell="gru",
            num_layers=3,
            hidden_dim=16,
            character_dim=4,
            filters=((1, 8), (2, 9)),
            num_highways=2,
            adaptive_cutoffs=(),
            adaptive_div_value=4.0,
            word_dim=0,
        ),
        training=TrainingConfig(
            total_tokens=1000,
            batch_size=4,
            bptt_length=5,
            learning_rate=1.0,
            warmup_steps=6,
            decay_fraction=0.5,
            clip_norm=0.25,
            dropout=0.75,
            reset_probability=0.0,
            evaluate_every_steps=7,
            patience=8,
            checkpoint_every_s=9.0,
            weight_decay=0.0,
            evaluate_tokens=60_000,
            precision="bfloat16",
            seed=1,
        ),
    )


def test_what_is_written_replaces_the_default(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, REQUIRED | OTHER_THAN_DEFAULT))
    assert config.bundle.corpora == ("a", "b")
    assert config.bundle.limits == ("c",)
    assert config.bundle.weights_dtype == "float32"
    assert config.data.train == {"ko": ("a.txt", "b"), "en": ("c.txt.xz",)}
    assert config.data.heldout == {"ko": ("d.txt",)}
    assert config.tokenizer == TokenizerConfig(100, "bytes", "word", 10, 0.99, 11)
    assert (config.model.adaptive_cutoffs, config.model.adaptive_div_value) == ((20, 50), 2.0)
    assert config.model.word_dim == 6
    training = config.training
    assert (training.weight_decay, training.evaluate_tokens) == (0.01, 12)
    assert (training.precision, training.seed) == ("float32", 13)


def test_the_architecture_takes_every_field_of_the_network(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, REQUIRED | OTHER_THAN_DEFAULT))
    assert config.architecture(num_characters=300, vocabulary_size=101).to_dict() == {
        "cell": "gru",
        "num_layers": 3,
        "hidden_dim": 16,
        "character_dim": 4,
        "num_characters": 300,
        "filters": [[1, 8], [2, 9]],
        "num_highways": 2,
        "vocabulary_size": 101,
        "adaptive_cutoffs": [20, 50],
        "adaptive_div_value": 2.0,
        "word_vocabulary_size": 101,  # the pieces
        "word_dim": 6,
    }


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_field_is_named(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, {key: text for key, text in REQUIRED.items() if key != name})
    assert error(path) == f"{path}: {name}: missing"


@pytest.mark.parametrize("section", ["bundle", "tokenizer", "model", "training"])
def test_a_missing_section_is_named(section: str, tmp_path: Path) -> None:
    path = write(tmp_path, {key: text for key, text in REQUIRED.items() if not key.startswith(section)})
    assert error(path) == f"{path}: {section}: missing"


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_field_is_named_beside_those_there_are(section: str, tmp_path: Path) -> None:
    path = write(tmp_path, REQUIRED | {f"{section}.learning_rte": "1"})
    expected = ", ".join(f.name for f in fields(SECTIONS[section]))
    assert error(path) == f"{path}: {section}.learning_rte: unknown field, expected one of {expected}"


def test_an_unknown_section_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, REQUIRED | {"trainings.seed": "1"})
    expected = "bundle, data, tokenizer, model, training"
    assert error(path) == f"{path}: trainings: unknown field, expected one of {expected}"


@pytest.mark.parametrize(
    ("name", "literal", "message"),
    [
        ("bundle.name", "3", "bundle.name: expected str, got 3"),
        ("bundle.languages", '"ko"', "bundle.languages: expected a list, got 'ko'"),
        ("bundle.languages", '["ko", 1]', "bundle.languages[1]: expected str, got 1"),
        (
            "bundle.weights_dtype",
            '"int8"',
            "bundle.weights_dtype: expected one of 'float16', 'float32', got 'int8'",
        ),
        ("data.train", '"a.txt"', "data.train: expected a table, got 'a.txt'"),
        ("data.train", '{ko = "a.txt"}', "data.train.ko: expected a list, got 'a.txt'"),
        ("data.heldout", "{ko = [1]}", "data.heldout.ko[0]: expected str, got 1"),
        ("tokenizer.alphabet", '"utf8"', "tokenizer.alphabet: expected one of 'bytes', 'jamo', got 'utf8'"),
        (
            "tokenizer.model_type",
            "[]",
            "tokenizer.model_type: expected one of 'unigram', 'bpe', 'word', got []",
        ),
        ("model.cell", '"LSTM"', "model.cell: expected one of 'lstm', 'gru', 'rnn', got 'LSTM'"),
        ("model.num_layers", "2.0", "model.num_layers: expected int, got 2.0"),
        ("model.num_layers", "true", "model.num_layers: expected int, got True"),
        ("model.num_layers", '"2"', "model.num_layers: expected int, got '2'"),
        ("model.filters", "3", "model.filters: expected a list, got 3"),
        ("model.filters", "[3]", "model.filters[0]: expected a list, got 3"),
        ("model.filters", "[[1, 2, 3]]", "model.filters[0]: expected 2 values, got [1, 2, 3]"),
        ("model.filters", "[[1, 2.5]]", "model.filters[0][1]: expected int, got 2.5"),
        ("model.adaptive_cutoffs", "[20, true]", "model.adaptive_cutoffs[1]: expected int, got True"),
        ("training.dropout", '"0.1"', "training.dropout: expected float, got '0.1'"),
        ("training.dropout", "false", "training.dropout: expected float, got False"),
        ("training.dropout", "[0.1]", "training.dropout: expected float, got [0.1]"),
        ("training.total_tokens", "1e6", "training.total_tokens: expected int, got 1000000.0"),
    ],
)
def test_a_wrong_type_is_refused(name: str, literal: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, REQUIRED | {name: literal})
    assert error(path) == f"{path}: {message}"


def test_a_section_that_is_no_table_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, REQUIRED)
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("[bundle", "name"))]
    path.write_text("bundle = 3\n" + "\n".join(lines[3:]))
    assert error(path) == f"{path}: bundle: expected a table, got 3"


@pytest.mark.parametrize(
    ("name", "literal", "message"),
    [
        ("tokenizer.vocabulary_size", "7", "expected 8 to 1e+06, got 7"),
        ("tokenizer.vocabulary_size", "4_000_000_000", "expected 8 to 1e+06, got 4000000000"),
        ("tokenizer.sample_bytes", "0", "expected 1 to 1e+15, got 0"),
        ("tokenizer.character_coverage", "0.97", "expected 0.98 to 1, got 0.97"),
        ("tokenizer.character_coverage", "1.01", "expected 0.98 to 1, got 1.01"),
        ("tokenizer.min_character_count", "0", "expected 1 to 1e+15, got 0"),
        ("model.num_layers", "1_000_000_000", "expected 1 to 100, got 1000000000"),
        ("model.hidden_dim", "0", "expected 1 to 100000, got 0"),
        ("model.hidden_dim", "100_000_000_000", "expected 1 to 100000, got 100000000000"),
        ("model.word_dim", "-1", "expected 0 to 100000, got -1"),
        ("model.num_highways", "-1", "expected 0 to 100, got -1"),
        ("training.total_tokens", "0", "expected 1 to 1e+15, got 0"),
        ("training.batch_size", "-1", "expected 1 to 1e+06, got -1"),
        ("training.batch_size", "10_000_000_000", "expected 1 to 1e+06, got 10000000000"),
        ("training.bptt_length", "0", "expected 1 to 1e+06, got 0"),
        ("training.learning_rate", "0", "expected 1e-09 to 1000, got 0.0"),
        ("training.learning_rate", "nan", "expected 1e-09 to 1000, got nan"),
        ("training.learning_rate", "inf", "expected 1e-09 to 1000, got inf"),
        ("training.warmup_steps", "-1", "expected 0 to 1e+15, got -1"),
        ("training.decay_fraction", "1.1", "expected 0 to 1, got 1.1"),
        ("training.decay_fraction", "-0.1", "expected 0 to 1, got -0.1"),
        ("training.clip_norm", "0", "expected 1e-09 to inf, got 0.0"),
        ("training.dropout", "1", "expected 0 to 0.999, got 1.0"),
        ("training.dropout", "-0.1", "expected 0 to 0.999, got -0.1"),
        ("training.reset_probability", "1.5", "expected 0 to 1, got 1.5"),
        ("training.evaluate_every_steps", "0", "expected 1 to 1e+15, got 0"),
        ("training.patience", "-1", "expected 0 to 1e+15, got -1"),
        ("training.checkpoint_every_s", "-1", "expected 0 to inf, got -1.0"),
        ("training.weight_decay", "-0.1", "expected 0 to 1, got -0.1"),
        ("training.weight_decay", "inf", "expected 0 to 1, got inf"),
        ("training.weight_decay", "nan", "expected 0 to 1, got nan"),
        ("training.evaluate_tokens", "0", "expected 1 to 1e+15, got 0"),
        ("training.seed", "-1", "expected 0 to 9.22337e+18, got -1"),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, literal: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, REQUIRED | {name: literal})
    assert error(path) == f"{path}: {name}: {message}"


@pytest.mark.parametrize(
    ("name", "literal"),
    [
        ("tokenizer.vocabulary_size", "8"),
        ("tokenizer.character_coverage", "1"),
        ("training.decay_fraction", "0"),
        ("training.decay_fraction", "1"),
        ("training.dropout", "0"),
        ("training.reset_probability", "1"),
        ("training.checkpoint_every_s", "inf"),
        ("training.clip_norm", "inf"),
        ("training.seed", "0"),
    ],
)
def test_the_ends_of_a_range_belong_to_it(name: str, literal: str, tmp_path: Path) -> None:
    section, key = name.split(".")
    config = load_config(write(tmp_path, REQUIRED | {name: literal}))
    assert getattr(getattr(config, section), key) == float(literal)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model.filters": "[]"}, "model.filters: expected one or more (width, count) pairs"),
        ({"model.filters": "[[1, 4], [101, 4]]"}, "model.filters: expected widths of at most 100, got 101"),
        ({"model.filters": "[[0, 4]]"}, "model.filters: expected one or more (width, count) pairs"),
        ({"model.adaptive_cutoffs": "[50, 20]"}, "model.adaptive_cutoffs: expected increasing values"),
        ({"model.adaptive_cutoffs": "[20, 100]"}, "model.adaptive_cutoffs: expected increasing values"),
        (
            {"tokenizer.vocabulary_size": "50", "model.adaptive_cutoffs": "[20, 60]"},
            "model.adaptive_cutoffs: expected increasing values between 1 and vocabulary_size - 1 = 49",
        ),
        (
            {"model.adaptive_cutoffs": "[20, 50]", "model.adaptive_div_value": "5"},
            "model.adaptive_div_value: expected hidden_dim / adaptive_div_value ** 2 >= 1",
        ),
        ({"bundle.languages": "[]"}, "bundle.languages: expected one or more, each once, got []"),
        ({"bundle.languages": '[""]'}, "bundle.languages: expected one or more, each once, got ['']"),
        (
            {"bundle.languages": '["ko", "ko"]'},
            "bundle.languages: expected one or more, each once, got ['ko', 'ko']",
        ),
        ({"bundle.name": '""'}, "bundle.name: expected a plain name, got ''"),
        ({"bundle.name": '"../mine"'}, "bundle.name: expected a plain name, got '../mine'"),
        ({"bundle.name": '".."'}, "bundle.name: expected a plain name, got '..'"),
        ({"bundle.name": '"a\\nb"'}, r"bundle.name: expected a plain name, got 'a\nb'"),
    ],
)
def test_contradictory_values_are_refused(changed: dict[str, str], message: str, tmp_path: Path) -> None:
    path = write(tmp_path, REQUIRED | changed)
    assert error(path).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[bundle\n", "(at line 1, column 8)"),
        (b"a = 1\na = 2\n", "(at line 2, column 6)"),
        (b'name = "\xff"\n', "byte 0xff in position 8: invalid start byte"),
        (b"a = " + b"[" * 10**5, "maximum recursion depth exceeded"),
    ],
)
def test_a_file_that_is_not_toml_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(data)
    assert error(path).startswith(f"{path}: ")
    assert error(path).endswith(message)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert error(tmp_path / "none.toml") == f"{tmp_path / 'none.toml'}: No such file or directory"
    assert error(tmp_path) == f"{tmp_path}: Is a directory"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_shipped_configurations_load_under_their_own_name(path: Path) -> None:
    config = load_config(path)
    assert config.bundle.name == path.stem
    assert config.bundle.languages == ("en", "ko")
    assert {path.stem for path in CONFIGS.glob("*.toml")} >= {"enko", "tiny"}


def test_tiny_names_texts_that_are_there() -> None:
    data = load_config(CONFIGS / "tiny.toml").data
    paths = [path for texts in (data.train, data.heldout) for paths in texts.values() for path in paths]
    assert len(paths) == 4
    assert all((CONFIGS / path).is_file() for path in paths)
