"""MODEL_CARD.md, written from the run's own record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.architecture import Architecture
from training.config import BundleConfig

Perplexities = Mapping[str, Mapping[str, Mapping[str, float | None]]]


def perplexity_table(perplexities: Perplexities) -> str:
    """perplexities: by language, direction and unit."""
    lines = ["| text | direction | per token | per word | per character |", "|---|---|---:|---:|---:|"]
    for language, by_direction in perplexities.items():
        for direction, by_unit in by_direction.items():
            values = (by_unit[unit] for unit in ("token", "word", "character"))
            cells = " | ".join("–" if value is None else f"{value:.3f}" for value in values)
            lines.append(f"| {language} | {direction} | {cells} |")
    return "\n".join(lines)


def model_card(
    config: BundleConfig, architecture: Architecture, record: Mapping[str, Any], rounding: Mapping[str, float]
) -> str:
    """record: the manifest's training record."""
    settings = record["settings"]
    corpora = "\n".join(f"- {corpus}" for corpus in config.corpora) or "- not stated"
    limits = "\n".join(f"- {limit}" for limit in config.limits) or "- not stated"
    rounded = "\n".join(f"- {name.replace('_', ' ')}: {value:+.2g}" for name, value in rounding.items())
    return f"""# {config.name}

{config.description} Languages: {", ".join(config.languages)}. Licence of the weights: {config.licence}.

## The network

A character CNN ({architecture.num_filters} filters, {architecture.num_highways} highway layers) gives every
token a vector; {architecture.num_layers} layers of {architecture.cell.upper()}({architecture.hidden_dim})
in each direction put it into its sentence. Replies have {architecture.num_vector_layers} layers of
{architecture.dimension} values. {record["parameters"]:,} parameters, {architecture.vocabulary_size:,} pieces,
{architecture.num_characters} characters.

## Training

A language model in both directions: the forward half predicts the next token, the backward half the one
before.

- tokens seen: {record["tokens_seen"]:,} (each counted once, though both directions read it), of a text of
  {record["corpus_tokens"]:,}
- {record["steps"]:,} updates of {settings["batch_size"]} x {settings["bptt_length"]} tokens,
  seed {settings["seed"]}, {record["seconds"] / 3600:.1f} hours

Text, with its licences:

{corpora}

## Held-out perplexity

Whole lines, each read from a zero state with a boundary at both ends. A line's end is predicted too, and
counts as a token, a word and a character. Only perplexity per word and per character can be compared with
other vocabularies.

{perplexity_table(record["heldout_perplexity"])}

The weights are stored in {config.weights_dtype}. What rounding them changed:

{rounded}

## Limits

{limits}
"""
