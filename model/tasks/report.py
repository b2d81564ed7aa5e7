"""What a fit found out about itself, on examples it was not fitted on.

How strongly the head is held back, one of a few settings, is chosen by held-out examples too; the rows of the
table show each half of them in the setting that the other half chose. Shape letters: N examples, L layers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from dataclasses import fields as fields_of
from typing import Any, Literal

from model.tasks.calibration import NUM_BINS
from model.tasks.fields import Fields

HeldOut = Literal["folds", "split", "dev"]
Method = Literal["logistic", "centroid", "linear"]
HELD_OUT: tuple[HeldOut, ...] = ("folds", "split", "dev")
METHODS: tuple[Method, ...] = ("logistic", "centroid", "linear")

MAJORITY = "majority"
EQUAL = "equal"
LEARNED = "learned"
# The learned mix of the layers and of the text's global context, which a `sense` task predicts with.
LEARNED_WITH_TEXT = "learned + text"

# Two tests are made (accuracy, log loss), so each must be twice as clear.
SIGNIFICANT = 0.05


def layer_name(layer: int) -> str:
    return f"layer {layer}"


@dataclass(frozen=True, slots=True)
class Row:
    """One way to predict the held-out examples: "majority", "layer 0" and so on, "equal", "learned", and for
    `sense` "learned + text".

    Shares from 0 to 1; accuracy_low and accuracy_high: its 95% interval (Wilson; with "folds", whose examples
    depend on each other, of about 90%: simulated, training/LOG.md). macro_recall: the mean over
    labels (for `sense`, over the senses of every word). log_loss: natural logarithm, of calibrated
    probabilities.
    """

    name: str
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_recall: float
    log_loss: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far confidence is from the share that is right, over 10 bins of equal width, on held-out examples.

    error_after: each half of them at the temperature fitted on the other half. The head's own `temperature`
    is fitted on both. error_before: at the temperature 1. Of a few examples a perfect head has an error too,
    of the bins' chance: some 0.1 of 40 examples.
    """

    temperature: float
    error_before: float
    error_after: float
    num_bins: int = NUM_BINS


@dataclass(frozen=True, slots=True)
class AgainstMajority:
    """How likely chance is to do so well: chance_by_accuracy, to lead so far over the majority class
    (McNemar, exact); chance_by_log_loss, to get so low a log loss when the labels are dealt out anew
    (permutation test). Both one-sided.
    """

    chance_by_accuracy: float
    chance_by_log_loss: float

    @property
    def told_apart(self) -> bool:
        return 2 * min(self.chance_by_accuracy, self.chance_by_log_loss) < SIGNIFICANT


@dataclass(frozen=True, slots=True)
class AgainstLayer:
    """The learned mix's accuracy, without the text, less that of the best single layer, -1 to 1, with its 95%
    interval."""

    layer: int
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Setting:
    """What a report says that does not come from held-out scores.

    held_out: "folds" (each example once, the others fitted), "split" (a fifth of them) or "dev" (the
    caller's). label_counts: examples of each label. never_held_out: labels whose examples are all in one
    group, so that nothing could be said about them. num_unjudged: examples held out whose word was never seen
    (`sense` with dev).

    method: "logistic", or what predicts senses. regularisation: the spread of scores that the head's prior
    allows ("logistic"), the shrinkage of the covariance, 0 to 1 ("linear"), or 0 ("centroid"). weights and
    gamma: the learned mix. global_context: the weight, beside these, of the mean of the text's token vectors
    in "learned + text"; 0 otherwise.
    """

    num_examples: int
    num_unjudged: int
    held_out: HeldOut
    label_counts: dict[str, int]
    never_held_out: tuple[str, ...]
    method: Method
    regularisation: float
    weights: tuple[float, ...]
    gamma: float
    global_context: float


@dataclass(frozen=True, slots=True)
class Report(Setting):
    """How well the task does, beside chance, the majority class, each layer, the equal and the learned mix.

    calibration and against_majority are of what predicts: the last of the rows.
    """

    num_held_out: int
    rows: tuple[Row, ...]
    calibration: Calibration
    against_majority: AgainstMajority
    against_layer: AgainstLayer
    verdict: str

    def row(self, name: str) -> Row:
        """Raises KeyError when there is none of this name."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def to_document(self) -> dict[str, Any]:
        document = asdict(self)
        for name in ("never_held_out", "weights", "rows"):
            document[name] = list(document[name])
        if not self.global_context:  # as in a sense head
            del document["global_context"]
        return document

    @classmethod
    def from_document(cls, fields: Fields) -> Report:
        """Raise ValueError naming the field that is not as `to_document` writes it."""
        fields.only(*(field.name for field in fields_of(cls)))
        counts = fields.inner("label_counts")
        return cls(
            num_examples=fields.count("num_examples"),
            num_held_out=fields.count("num_held_out"),
            num_unjudged=fields.count("num_unjudged"),
            held_out=HELD_OUT[HELD_OUT.index(fields.one_of("held_out", HELD_OUT))],
            label_counts={label: counts.count(label) for label in counts},
            never_held_out=fields.texts("never_held_out"),
            method=METHODS[METHODS.index(fields.one_of("method", METHODS))],
            regularisation=fields.number("regularisation"),
            weights=fields.numbers("weights"),
            gamma=fields.number("gamma"),
            global_context=fields.coefficient("global_context"),
            rows=tuple(
                _row(Fields(value, f"{fields.path('rows')}[{index}]"))
                for index, value in enumerate(fields.items("rows"))
            ),
            calibration=_calibration(fields.inner("calibration")),
            against_majority=_against_majority(fields.inner("against_majority")),
            against_layer=_against_layer(fields.inner("against_layer")),
            verdict=fields.text("verdict"),
        )


def _row(fields: Fields) -> Row:
    fields.only(*Row.__slots__)
    return Row(
        fields.text("name"),
        fields.share("accuracy"),
        fields.share("accuracy_low"),
        fields.share("accuracy_high"),
        fields.share("macro_recall"),
        fields.number("log_loss"),
    )


def _calibration(fields: Fields) -> Calibration:
    fields.only(*Calibration.__slots__)
    return Calibration(
        fields.number("temperature"),
        fields.share("error_before"),
        fields.share("error_after"),
        fields.count("num_bins"),
    )


def _against_majority(fields: Fields) -> AgainstMajority:
    fields.only(*AgainstMajority.__slots__)
    return AgainstMajority(fields.share("chance_by_accuracy"), fields.share("chance_by_log_loss"))


def _against_layer(fields: Fields) -> AgainstLayer:
    fields.only(*AgainstLayer.__slots__)
    return AgainstLayer(
        fields.count("layer"), fields.number("difference"), fields.number("low"), fields.number("high")
    )
