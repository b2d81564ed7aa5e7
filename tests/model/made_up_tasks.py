"""Made-up labelled layers whose answers are known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model.tasks.head import LinearHead, SenseHead, SenseWord
from model.tasks.task import Task

Floats = npt.NDArray[np.float32]
SHA256 = "0123456789abcdef" * 4
# As in a bundle: the token layer's values are far larger.
SCALES = np.array([5.0, 0.5, 1.0])
# Of three layers, in what a sense task learns from.
GLOBAL_CONTEXT = 3
CONTEXT_SCALE = 2.0


def labelled_layers(
    num_examples: int,
    signal_layer: int | None,
    num_labels: int = 2,
    dim: int = 24,
    strength: float = 1.5,
    seed: int = 0,
) -> tuple[Floats, list[str]]:
    """Noise in three layers of unequal scale, and labels that show in one of them, or in none."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, num_labels, num_examples)
    layers_NLD = generator.standard_normal((num_examples, 3, dim))
    if signal_layer is not None:
        directions_KD = generator.standard_normal((num_labels, dim)) / np.sqrt(dim) * 2
        layers_NLD[:, signal_layer] += strength * directions_KD[targets]
    features_NLD = (layers_NLD + 0.7) * SCALES[:, None]
    return features_NLD.astype(np.float32), [f"label {target:03}" for target in targets]


def word_senses(
    num_words: int,
    examples_a_sense: int,
    signal: int | None,
    dim: int = 24,
    noise: float = 1.0,
    seed: int = 0,
) -> tuple[Floats, list[str], list[str]]:
    """(features, labels, words): two senses a word; layer 0 knows the word alone, one layer, or the global
    context after three of them, its senses."""
    generator, contexts = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    features, labels, words = [], [], []
    for word in range(num_words):
        token_D = generator.standard_normal(dim)
        for sense in range(2):
            direction_D = generator.standard_normal(dim)
            for _ in range(examples_a_sense):
                layers_LD = noise * generator.standard_normal((3, dim))
                layers_LD[0] = token_D
                given_CD = np.concatenate([layers_LD, noise * contexts.standard_normal((1, dim))])
                if signal is not None:
                    given_CD[signal] += direction_D
                features.append(given_CD * np.append(SCALES, CONTEXT_SCALE)[:, None])
                labels.append(f"sense {word}.{sense}")
                words.append(f"word {word}")
    return np.array(features, dtype=np.float32), labels, words


def linear_task(num_labels: int = 3, dim: int = 4) -> Task:
    generator = np.random.default_rng(3)
    head = LinearHead(
        generator.standard_normal((num_labels, dim)).astype(np.float32),
        generator.standard_normal(num_labels).astype(np.float32),
    )
    labels = tuple(f"label {i}" for i in range(num_labels))
    return Task("mood", "classify", "enko", SHA256, (0.1, -0.2, 0.1 / 3), 1.7, labels, head)


def sense_task(dim: int = 4) -> Task:
    """ "배" with two senses, "눈" with one."""
    generator = np.random.default_rng(4)
    words = (SenseWord("배", (0, 2), (3, 5)), SenseWord("눈", (1,), (4,)))
    weight_RD = generator.standard_normal((3, dim)).astype(np.float32)
    bias_R = generator.standard_normal(3).astype(np.float32)
    head = SenseHead("linear", words, weight_RD, bias_R, global_context=0.75)
    return Task("sense", "sense", "enko", SHA256, (0.0, 1.0), 1.25, ("boat", "eye", "pear"), head)
