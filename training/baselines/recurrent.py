"""The recurrent language models that ELMo grew out of, by our own training code, on the same tokens.

Elman 1990 (simple RNN), Cho et al. 2014 (GRU, arXiv:1406.1078), Hochreiter and Schmidhuber 1997 (LSTM); each
of one layer, and RNN and LSTM of two. All else is equal: size, text, vocabulary, steps, learning rate.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from model.architecture import Cell
from model.bundle import Bundle
from training import pipeline
from training.config import Config
from training.probes.source import LayerSource, SentenceLayers
from training.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the line. slug: the name of its folder."""

    name: str
    slug: str
    cell: Cell
    num_layers: int

    def config(self, config: Config) -> Config:
        """The given configuration with this cell and number of layers."""
        return replace(
            config,
            bundle=replace(config.bundle, name=self.slug),
            model=replace(config.model, cell=self.cell, num_layers=self.num_layers),
        )


VARIANTS = (
    Variant("simple RNN", "rnn", "rnn", 1),
    Variant("simple RNN, 2 layers", "rnn2", "rnn", 2),
    Variant("GRU", "gru", "gru", 1),
    Variant("LSTM", "lstm", "lstm", 1),
    Variant("LSTM, 2 layers", "lstm2", "lstm", 2),
)

TEXT = "text"
"""The folder in which the vocabulary and the packed text stand that all of them read.

A link to the folder of another run of the same text and [tokenizer] saves learning and packing them again.
"""


def train_variant(variant: Variant, config: Config, work: Path) -> Bundle | None:
    """Train in work/SLUG and export to work/SLUG/bundle, unless that is done; go on where it was left.

    Returns None when training was interrupted. Raises ValueError for what is wrong with the text, and when
    the folder holds another run.
    """
    workspace = Workspace(work / variant.slug)
    bundle = workspace.folder / "bundle"
    if not bundle.exists():
        own = variant.config(config)
        text = Workspace(work / TEXT)
        pipeline.prepare(config, text, init_from=None)
        _share_text(text, workspace)
        resume = workspace.checkpoint_path.exists()
        if not pipeline.train(own, workspace, resume=resume, init_from=None):
            return None
        pipeline.export(own, workspace, bundle)
    return Bundle.open(bundle)


def _share_text(text: Workspace, workspace: Workspace) -> None:
    workspace.create()
    for path in (text.tokenizer_path, text.alphabet_path, text.folder / "sources.json"):
        shutil.copy(path, workspace.folder / path.name)
    packed = workspace.train_path.parent
    if not packed.exists():
        packed.symlink_to(text.train_path.parent.resolve())


class ForwardHalf:
    """A `LayerSource` of what the forward direction alone has read: the first half of every vector."""

    def __init__(self, source: LayerSource) -> None:
        self._source = source

    @property
    def num_vector_layers(self) -> int:
        return self._source.num_vector_layers

    def sentence_layers(self, sentences: Sequence[str]) -> Iterator[SentenceLayers]:
        for layers in self._source.sentence_layers(sentences):
            half = layers.layers_LTD.shape[2] // 2
            yield SentenceLayers(layers.starts, layers.ends, layers.layers_LTD[:, :, :half])
