"""MODEL_CARD.md, written from the run's own record."""

from __future__ import annotations

from collections.abc import Mapping

from model.architecture import Architecture
from training.config import BundleConfig
from training.evaluate import perplexity_table
from training.lineage import Record, bases, corpora_in_all, tokens_in_all


def model_card(
    config: BundleConfig, architecture: Architecture, record: Record, rounding: Mapping[str, float]
) -> str:
    """record: the manifest's training record."""
    settings = record["settings"]
    corpora = "\n".join(f"- {corpus}" for corpus in corpora_in_all(record)) or "- not stated"
    limits = "\n".join(f"- {limit}" for limit in config.limits) or "- not stated"
    rounded = "\n".join(f"- {name.replace('_', ' ')}: {value:+.2g}" for name, value in rounding.items())
    return f"""# {config.name}

{config.description} Languages: {", ".join(config.languages)}. Licence of the weights: {config.licence}.

## The network

A character CNN ({architecture.num_filters} filters, {architecture.num_highways} highway layers)
{_pieces(architecture)}gives every token a vector; {architecture.num_layers} layers of
{architecture.cell.upper()}({architecture.hidden_dim}) in each direction put it into its sentence.
Replies have {architecture.num_vector_layers} layers of {architecture.dimension} values.
{record["parameters"]:,} parameters, {architecture.vocabulary_size:,} pieces,
{architecture.num_characters} characters.

## Training

A language model in both directions: the forward half predicts the next token, the backward half the one
before.

{_start(record)}- tokens seen: {_tokens_seen(record)}
  Each is counted once, though both directions read it.
- {record["steps"]:,} updates of {settings["batch_size"]} x {settings["bptt_length"]} tokens,
  seed {settings["seed"]}, {record["seconds"] / 3600:.1f} hours

Text{", that of the bundles it started from included" if bases(record) else ""}, with its licences:

{corpora}

## Held-out perplexity

Whole lines, each read from a zero state with a boundary at both ends. A line's end is predicted too, and
counts as a token, a word and a character. Only perplexity per word and per character can be compared with
other vocabularies.

{perplexity_table(record["heldout_perplexity"])}

The weights are stored in {config.weights_dtype}. What rounding them changed, and what recurrent layers of
8-bit integers (`--precision int8`) change against float32:

{rounded}

## Limits

{limits}
"""


def _pieces(architecture: Architecture) -> str:
    if not architecture.word_dim:
        return ""
    return f"beside {architecture.word_dim} numbers that each piece has of its own "


def _start(record: Record) -> str:
    """Return a line for the base, for the base's base, and so on."""
    lines = ""
    for base in bases(record):
        before = "before that" if lines else "started from"
        lines += (
            f"- {before}: {base['name']}, licence {base['licence']}, manifest sha256\n  {base['sha256']}\n"
        )
    return lines


def _tokens_seen(record: Record) -> str:
    own = f"{record['tokens_seen']:,}, of a text of {record['corpus_tokens']:,}."
    if not bases(record):
        return own
    total = tokens_in_all(record)
    return f"{total:,}: {total - record['tokens_seen']:,} before the start, and in this run {own}"
