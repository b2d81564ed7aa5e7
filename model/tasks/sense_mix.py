"""A layer mix in which senses lie apart, learned over all words at once.

Each example is compared, by cosine in the mixed space, with the mean of each of its word's senses, its own
sense's without itself:

    objective = mean of -log softmax(cosine / temperature) over the word's senses + tether / 2 * |t|^2

Its only parameters are the scalars t and the temperature, so it cannot learn examples by heart, and its
layers' inner products say all that there is to say: they are taken once, and an evaluation costs no pass over
vectors. A word with one sense says nothing; an example that is its sense's only one is a candidate, never a
question.

What stands beside the layers, the text's global context, gets its weight afterwards, the same way, beside the
mix as if that were one layer: so the mix is the best one of the layers alone, which is what is served.

Shape letters: N examples, L layers, C = L + 1 with the global context, D vector dim, S senses of a word, R
senses of all words, word by word, M pairs of an example and a sense of its word.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.scalar_mix import MAX_COEFFICIENT, softmax_weights
from model.tasks.moments import Doubles, Floats, chunks
from model.tasks.sense_words import Integers, Inventory
from model.tasks.watch import Watch

# As in logistic.py.
_SCALAR_SPREAD = 2.0
# The first step's temperature; sets of senses end between 0.01 and 0.15.
_FIRST_TEMPERATURE = 0.05
# Added to a starting point's scalar of one layer, so that this layer has nine tenths of three.
_NEARLY_ALONE = 3.0
_TINY = 1e-30


@dataclass(frozen=True, slots=True)
class Products:
    """Inner products between layers, each symmetric in its two layers, for every pair that is a question.

    dots_MLL: of an example and its candidate sense's sum; candidates_MLL: of that sum with itself; own_MLL:
    of the example with itself. starts: where each example's pairs begin; targets: the pair that is right.
    """

    dots_MLL: Doubles
    candidates_MLL: Doubles
    own_MLL: Doubles
    starts: Integers
    targets: Integers

    @classmethod
    def take(cls, features_NLD: Floats, rows: Integers, inventory: Inventory, scale_L: Doubles) -> Products:
        """One pass over these rows. scale_L: what layers are divided by."""
        dots: list[Doubles] = []
        candidates: list[Doubles] = []
        own: list[Doubles] = []
        sizes: list[Integers] = []
        targets: list[Integers] = []
        num_pairs = 0
        for word, word_rows in inventory.rows_by_word(rows):
            senses_n = inventory.sense_N[word_rows]
            num_senses = inventory.num_senses(word)
            counts_S = np.bincount(senses_n, minlength=num_senses)
            asked_n = counts_S[senses_n] > 1
            # A sense without an example among these rows is no candidate.
            if (counts_S > 0).sum() < 2 or not asked_n.any():
                continue
            sums_SLD = _sense_sums(features_NLD, word_rows, senses_n, num_senses, scale_L)[counts_S > 0]
            column_S = np.cumsum(counts_S > 0) - 1
            asked = word_rows[asked_n]
            block = _word_products(features_NLD, asked, column_S[senses_n[asked_n]], sums_SLD, scale_L)
            for values, new in zip((dots, candidates, own), block, strict=True):
                values.append(new)
            width = len(sums_SLD)
            sizes.append(np.full(len(asked), width))
            targets.append(num_pairs + width * np.arange(len(asked)) + column_S[senses_n[asked_n]])
            num_pairs += width * len(asked)
        if not dots:
            raise ValueError(
                "words: expected at least one with two senses, one of them of 2 examples or more, got none"
            )
        starts = np.concatenate([[0], np.cumsum(np.concatenate(sizes))[:-1]])
        return cls(
            np.concatenate(dots),
            np.concatenate(candidates),
            np.concatenate(own),
            starts,
            np.concatenate(targets),
        )

    def of_mixes(self, weights_KL: Doubles) -> Products:
        """The products of K mixes of the layers, as if these were the layers."""
        dots, candidates, own = (
            weights_KL @ each @ weights_KL.T for each in (self.dots_MLL, self.candidates_MLL, self.own_MLL)
        )
        return Products(dots, candidates, own, self.starts, self.targets)


def learn_mix_and_context(products: Products, scale_C: Doubles, watch: Watch) -> tuple[Doubles, float]:
    """Return the scalars (L) of the layers as they came, with a mean of 0, and the global context's weight
    beside theirs, which are softmax(scalars).

    products: of layers and global context, each divided by its scale.
    """
    alone_LC = np.eye(len(scale_C))[:-1]
    scalars_L = learn_mix(products.of_mixes(alone_LC), watch) - np.log(scale_C[:-1])
    weights_L = softmax_weights(scalars_L)
    mix_and_context_2C = np.zeros((2, len(scale_C)))
    mix_and_context_2C[0, :-1] = weights_L * scale_C[:-1]
    mix_and_context_2C[1, -1] = scale_C[-1]
    mixed = products.of_mixes(mix_and_context_2C)
    # As if of equal size: there they start, and are held to.
    size_2 = np.sqrt(np.einsum("mkk->k", mixed.own_MLL) / len(mixed.own_MLL))
    size_2 = np.where(size_2 > 0, size_2, 1.0)
    both_2 = learn_mix(mixed.of_mixes(np.diag(1 / size_2)), watch) - np.log(size_2)
    return scalars_L - scalars_L.mean(), min(float(np.exp(both_2[1] - both_2[0])), MAX_COEFFICIENT)


def _sense_sums(
    features_NLD: Floats, rows: Integers, senses_n: Integers, num_senses: int, scale_L: Doubles
) -> Doubles:
    _, num_layers, dim = features_NLD.shape
    sums_SE = np.zeros((num_senses, num_layers * dim))
    for part in chunks(len(rows)):
        is_of_Sn = np.arange(num_senses)[:, None] == senses_n[part]
        sums_SE += is_of_Sn.astype(np.float64) @ features_NLD[rows[part]].reshape(-1, num_layers * dim)
    sums_SLD = sums_SE.reshape(num_senses, num_layers, dim)
    sums_SLD /= scale_L[:, None]
    return sums_SLD


def _word_products(
    features_NLD: Floats, rows: Integers, own_n: Integers, sums_SLD: Doubles, scale_L: Doubles
) -> tuple[Doubles, Doubles, Doubles]:
    """Products of each row with every sense, its own sense taken without it: three times (n * S, L, L)."""
    num_senses, num_layers, dim = sums_SLD.shape
    sense_SLL = np.einsum("sad,sbd->sab", sums_SLD, sums_SLD)
    shape = (len(rows), num_senses, num_layers, num_layers)
    dots, candidates, own = np.empty(shape), np.empty(shape), np.empty(shape)
    for part in chunks(len(rows)):
        x_nLD = features_NLD[rows[part]].astype(np.float64) / scale_L[:, None]
        flat = x_nLD.reshape(-1, dim) @ sums_SLD.reshape(-1, dim).T
        dots_nSLL = flat.reshape(len(x_nLD), num_layers, num_senses, num_layers).transpose(0, 2, 1, 3)
        dots_nSLL = 0.5 * (dots_nSLL + dots_nSLL.swapaxes(2, 3))
        own_nLL = np.einsum("nad,nbd->nab", x_nLD, x_nLD)
        candidates_nSLL = np.broadcast_to(sense_SLL, dots_nSLL.shape).copy()
        at = (np.arange(len(x_nLD)), own_n[part])
        candidates_nSLL[at] += own_nLL - 2 * dots_nSLL[at]
        dots_nSLL[at] -= own_nLL
        dots[part], candidates[part], own[part] = dots_nSLL, candidates_nSLL, own_nLL[:, None]
    pairs = (-1, num_layers, num_layers)
    return dots.reshape(pairs), candidates.reshape(pairs), own.reshape(pairs)


def loss_and_gradient(
    products: Products, scalars_L: Doubles, log_temperature: float, tether: float
) -> tuple[float, Doubles, float]:
    """The objective and its gradients in the scalars, (L), and in the logarithm of the temperature."""
    weights_L = softmax_weights(scalars_L)
    # a / sqrt(b c), of which each is a quadratic form in the weights.
    half_a_ML = products.dots_MLL @ weights_L
    half_b_ML = products.own_MLL @ weights_L
    half_c_ML = products.candidates_MLL @ weights_L
    a_M, b_M, c_M = (
        half_a_ML @ weights_L,
        np.maximum(half_b_ML @ weights_L, _TINY),
        np.maximum(half_c_ML @ weights_L, _TINY),
    )
    length_M = np.sqrt(b_M * c_M)
    cosine_M = a_M / length_M
    scores_M = cosine_M * np.exp(-log_temperature)

    sizes = np.diff(np.append(products.starts, len(scores_M)))
    scores_M -= np.repeat(np.maximum.reduceat(scores_M, products.starts), sizes)
    exponentials_M = np.exp(scores_M)
    totals = np.add.reduceat(exponentials_M, products.starts)
    loss = float(np.mean(np.log(totals) - scores_M[products.targets]))

    residual_M = exponentials_M / np.repeat(totals, sizes)
    residual_M[products.targets] -= 1.0
    residual_M *= np.exp(-log_temperature) / len(products.starts)
    gradient_weights_L = 2 * (residual_M / length_M) @ half_a_ML
    gradient_weights_L -= (residual_M * cosine_M / b_M) @ half_b_ML
    gradient_weights_L -= (residual_M * cosine_M / c_M) @ half_c_ML
    gradient_L = weights_L * (gradient_weights_L - weights_L @ gradient_weights_L) + tether * scalars_L
    value = loss + 0.5 * tether * float(scalars_L @ scalars_L)
    return value, gradient_L, -float(residual_M @ cosine_M)


def learn_mix(products: Products, watch: Watch) -> Doubles:
    """Return the scalars (L) of layers divided by their scale.

    From several starts, equal shares and each layer nearly alone, since the objective has more than one
    valley; of equal ends the first.
    """
    from scipy.optimize import minimize  # not at import: a server that fits nothing does without

    num_layers = products.own_MLL.shape[1]
    tether = 1 / (_SCALAR_SPREAD**2 * len(products.starts))

    def value_and_gradient(flat: Doubles) -> tuple[float, npt.NDArray[np.float64]]:
        watch.step()
        value, gradient_L, gradient_temperature = loss_and_gradient(
            products, flat[:-1], float(flat[-1]), tether
        )
        return value, np.append(gradient_L, gradient_temperature)

    best = None
    for start_L in (np.zeros(num_layers), *(_NEARLY_ALONE * np.eye(num_layers))):
        start = np.append(start_L - start_L.mean(), np.log(_FIRST_TEMPERATURE))
        found = minimize(
            value_and_gradient, start, jac=True, method="L-BFGS-B",
            bounds=[(None, None)] * num_layers + [(np.log(1e-4), np.log(1e4))],
        )  # fmt: skip
        if best is None or found.fun < best.fun - 1e-9:
            best = found
    assert best is not None
    scalars_L: Doubles = best.x[:-1]
    return scalars_L
