"""MODEL_CARD.md of a model that was imported, not trained here."""

from __future__ import annotations

from model.bundle import Manifest


def imported_card(manifest: Manifest) -> str:
    architecture, record = manifest.architecture, manifest.training
    cells = f"LSTM({architecture.gate_dim})"
    if architecture.cell_dim is not None:
        cells += f" projected to {architecture.hidden_dim}"
    words = ""
    if architecture.word_dim:
        words = (
            f"\n{architecture.word_vocabulary_size:,} words have a vector of their own beside it; all others "
            "share one."
        )
    sources = "\n".join(f"- {name}: sha256\n  {sha256}" for name, sha256 in record["sources"].items())
    return f"""# {manifest.name}

A published ELMo checkpoint, imported from the files of {record["imported_from"]}. Its vectors are theirs.
Languages: {", ".join(manifest.languages) or "not stated"}. Licence of the weights: {manifest.licence}.

## The network

A character CNN ({architecture.num_filters} filters, {architecture.num_highways} highway layers) gives every
word a vector; {architecture.num_layers} layers of {cells} in each
direction put it into its sentence. Replies have {architecture.num_vector_layers} layers of
{architecture.dimension} values. {record["parameters"]:,} parameters.{words}

The files carry no softmax: the model embeds, but scores no sentence and fills no blank.

## Words

A list of words is read as it stands. A string is split by a rule of ours (`model/word_tokenizer.py`), which
need not be the one the model's training text was split by: where that matters, send lists of words. Of a
word the network reads the first {_longest(manifest)}, as in training.

## Training

Not known: the files do not say on what text the model was trained.

Made from:

{sources}

The weights are stored in {manifest.weights_dtype}. {_rounding(manifest)}
"""


def _longest(manifest: Manifest) -> str:
    """Return how much of a word is read: the other two characters of its row are marks."""
    architecture = manifest.architecture
    unit = "bytes of UTF-8" if manifest.training["imported_from"] == "bilm-tf" else "characters"
    return f"{(architecture.max_characters or 0) - 2} {unit}"


def _rounding(manifest: Manifest) -> str:
    if not manifest.rounding:
        return "They are those of the files."
    lines = "\n".join(f"- {name.replace('_', ' ')}: {value:.2g}" for name, value in manifest.rounding.items())
    return f"How far rounding moves the vectors of sentences:\n\n{lines}"
