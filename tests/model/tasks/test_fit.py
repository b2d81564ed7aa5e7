from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from model.scalar_mix import mix
from model.tasks import moments
from model.tasks.examples import Examples
from model.tasks.fit import Fitted, fit
from model.tasks.report import EQUAL, LEARNED, MAJORITY
from model.tasks.task import predict
from model.tasks.watch import Cancelled
from tests.model.made_up_tasks import SHA256, Floats, labelled_layers


def accuracy(fitted: Fitted, features_NLD: Floats, labels: list[str]) -> float:
    task = fitted.task("t", "enko", SHA256)
    mixed_ND = mix(features_NLD.transpose(1, 0, 2), task.weights, task.gamma)
    best_N = predict(task, mixed_ND).argmax(axis=1)
    return float(np.mean([task.labels[best] == label for best, label in zip(best_N, labels, strict=True)]))


def document(fitted: Fitted) -> str:
    return json.dumps(fitted.task("t", "enko", SHA256).to_document())


@pytest.mark.parametrize("signal_layer", [0, 1, 2])
@pytest.mark.parametrize("num_labels", [2, 4])
def test_the_layer_that_carries_the_labels_gets_the_weight(signal_layer: int, num_labels: int) -> None:
    features, labels = labelled_layers(1500, signal_layer, num_labels)
    fitted = fit("classify", features[:1200], labels[:1200])
    report = fitted.report
    # Shares of the mix: weights of layers of unequal scale say little.
    share_L = np.array(report.weights) * features.std(axis=(0, 2))
    assert share_L[signal_layer] / share_L.sum() > 0.85
    assert report.against_majority.told_apart
    assert report.against_layer.layer == signal_layer
    assert report.against_layer.high > 0
    assert report.row(LEARNED).accuracy >= report.row(f"layer {signal_layer}").accuracy - 0.02
    held_out = accuracy(fitted, features[1200:], labels[1200:])
    assert held_out > report.row(MAJORITY).accuracy + 0.2
    assert report.row(LEARNED).accuracy_low - 0.03 < held_out < report.row(LEARNED).accuracy_high + 0.03


def test_two_layers_that_know_half_each() -> None:
    features, labels = labelled_layers(1200, 1, 2, seed=1)
    others, other_labels = labelled_layers(1200, 2, 2, seed=2)
    features[:, 2] = others[:, 2]
    both = [f"{one} {other}" for one, other in zip(labels, other_labels, strict=True)]
    report = fit("classify", features, both).report
    assert report.against_layer.low > 0.05
    assert report.row(LEARNED).accuracy > report.row(EQUAL).accuracy
    assert "The learned mix is better than layer" in report.verdict
    share_L = np.array(report.weights) * features.std(axis=(0, 2))
    assert share_L[0] / share_L.sum() < 0.15


def test_served_vectors_have_a_spread_of_one() -> None:
    features, labels = labelled_layers(200, 1)
    fitted = fit("tag", features, labels)
    task = fitted.task("t", "enko", SHA256)
    mixed_ND = mix(features.transpose(1, 0, 2), task.weights, task.gamma)
    assert np.sqrt(mixed_ND.var(axis=0).mean()) == pytest.approx(1.0, rel=1e-3)
    assert task.gamma == fitted.report.gamma
    np.testing.assert_allclose(task.weights, fitted.report.weights, rtol=1e-12)
    assert sum(task.scalars) == pytest.approx(0.0, abs=1e-9)


def test_the_same_examples_give_the_same_task_to_the_last_bit() -> None:
    features, labels = labelled_layers(300, 1, 3)
    assert document(fit("classify", features, labels)) == document(fit("classify", features, labels))


def test_threads_change_nothing() -> None:
    features, labels = labelled_layers(2500, 1, 3)
    alone, together = (fit("classify", features, labels, num_threads=n) for n in (1, 2))
    assert document(alone) == document(together)


def test_labels_without_sense_are_called_so() -> None:
    features, labels = labelled_layers(400, None)
    report = fit("classify", features, labels).report
    assert not report.against_majority.told_apart
    assert report.verdict.startswith("Your labels cannot be told apart from chance. On 400 held-out examples")


def test_imbalance() -> None:
    features, labels = labelled_layers(1000, 2, 2, strength=3.0)
    kept = [i for i, label in enumerate(labels) if label == "label 000" or i % 12 == 0]
    labels = [labels[i] for i in kept]
    report = fit("classify", features[kept], labels).report
    learned, majority = report.row(LEARNED), report.row(MAJORITY)
    assert report.label_counts["label 001"] < 0.1 * len(labels)
    assert majority.accuracy > 0.9
    assert majority.macro_recall == 0.5
    assert learned.macro_recall > 0.75
    assert report.against_majority.told_apart


def test_a_gain_in_probabilities_alone_is_said() -> None:
    generator = np.random.default_rng(0)
    features = generator.standard_normal((900, 3, 8)).astype(np.float32)
    # The rarer label never gets above one half.
    is_rare = generator.random(900) < 0.45 / (1 + np.exp(-2.5 * features[:, 1, 0]))
    labels = ["rare" if rare else "usual" for rare in is_rare]
    report = fit("classify", features, labels).report
    assert 2 * report.against_majority.chance_by_accuracy > 0.05
    assert report.against_majority.told_apart
    assert "By the answers alone that is no clear gain" in report.verdict


def test_a_label_with_one_example_is_kept_and_named() -> None:
    features, labels = labelled_layers(60, 1)
    labels[7] = "once"
    report = fit("classify", features, labels).report
    assert report.never_held_out == ("once",)
    assert report.num_held_out == 59
    assert report.label_counts["once"] == 1
    assert "Nothing is known about 1 label (once)" in report.verdict
    assert fit("classify", features, labels).labels == ("label 000", "label 001", "once")


def test_two_hundred_labels() -> None:
    features, labels = labelled_layers(2400, 2, 200, dim=64, strength=4.0)
    fitted = fit("classify", features, labels)
    assert len(fitted.labels) == 200
    assert fitted.report.held_out == "split"
    assert fitted.report.row(LEARNED).accuracy > 0.5
    assert fitted.report.row(MAJORITY).accuracy < 0.03


def test_up_to_a_thousand_examples_are_all_judged() -> None:
    features, labels = labelled_layers(1001, 1)
    few, many = (fit("classify", features[:n], labels[:n]).report for n in (1000, 1001))
    assert (few.held_out, few.num_held_out, few.num_examples) == ("folds", 1000, 1000)
    assert (many.held_out, many.num_held_out) == ("split", 201)
    assert [row.name for row in few.rows] == [MAJORITY, "layer 0", "layer 1", "layer 2", EQUAL, LEARNED]


def test_the_callers_own_dev() -> None:
    features, labels = labelled_layers(400, 1)
    dev = Examples(features[300:], [*labels[300:399], "never seen"])
    fitted = fit("classify", features[:300], labels[:300], dev=dev)
    assert (fitted.report.held_out, fitted.report.num_held_out) == ("dev", 100)
    assert fitted.labels == ("label 000", "label 001")
    # Judged is what is kept, but for the finer end of its fit.
    assert fitted.report.row(LEARNED).accuracy == pytest.approx(
        accuracy(fitted, features[300:], list(dev.labels)), abs=0.02
    )


def test_words_of_a_sentence_are_on_one_side() -> None:
    # Each sentence has its own vector, which says its label by heart and nothing about others.
    generator = np.random.default_rng(0)
    sentences = generator.standard_normal((40, 3, 16)).astype(np.float32)
    features = np.repeat(sentences, 10, axis=0) + 0.01 * generator.standard_normal((400, 3, 16)).astype(
        np.float32
    )
    labels = [str(generator.integers(0, 2)) for _ in range(40) for _ in range(10)]
    labels = [labels[10 * (i // 10)] for i in range(400)]
    groups = [i // 10 for i in range(400)]
    apart = fit("tag", features, labels).report.row(LEARNED).accuracy
    together = fit("tag", features, labels, groups=groups).report.row(LEARNED).accuracy
    assert apart > 0.95
    assert together < 0.75


def test_calibration_improves() -> None:
    features, labels = labelled_layers(300, 1, 3, dim=150, strength=1.0)
    calibration = fit("classify", features, labels).report.calibration
    assert calibration.num_bins == 10
    assert calibration.error_after < 0.12
    assert calibration.error_after <= calibration.error_before + 0.02


def test_progress_and_cancelling() -> None:
    features, labels = labelled_layers(100, 1)
    seen: list[float] = []
    fit("classify", features, labels, progress=seen.append)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 1.0)
    assert len(seen) > 20

    for stop_at in (0.0, 0.3, 0.6, 0.9):
        shares: list[float] = []

        def cancelled(shares: list[float] = shares, stop_at: float = stop_at) -> bool:
            return bool(shares) and shares[-1] >= stop_at

        with pytest.raises(Cancelled):
            fit("classify", features, labels, progress=shares.append, cancelled=cancelled)
        assert shares[-1] < stop_at + 0.3


def test_chunks_and_memory_maps_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = labelled_layers(150, 1, 3)
    whole = fit("classify", features, labels)
    np.save(tmp_path / "features.npy", features)
    mapped = fit("classify", np.load(tmp_path / "features.npy", mmap_mode="r"), labels)
    assert document(mapped) == document(whole)
    monkeypatch.setattr(moments, "CHUNK_ROWS", 11)
    chunked = fit("classify", features, labels)
    np.testing.assert_allclose(chunked.scalars, whole.scalars, atol=0.02)
    assert chunked.report.row(LEARNED).accuracy == pytest.approx(whole.report.row(LEARNED).accuracy, abs=0.01)


def test_a_fit_needs_less_than_the_features_again(tmp_path: Path) -> None:
    features, labels = labelled_layers(6000, 1, 2, dim=256)
    np.save(tmp_path / "features.npy", features)
    num_bytes = features.nbytes
    del features
    fit("classify", np.load(tmp_path / "features.npy", mmap_mode="r")[:50], labels[:50])  # imports
    tracemalloc.start()
    fit("classify", np.load(tmp_path / "features.npy", mmap_mode="r"), labels)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 0.8 * num_bytes


def test_what_cannot_be_learned_from() -> None:
    features, labels = labelled_layers(40, 1)
    with pytest.raises(ValueError, match=r"^examples: expected at least 10, got 9$"):
        fit("classify", features[:9], labels[:9])
    with pytest.raises(ValueError, match=r"^labels: expected at least 2, .* got 1, 1 of them with so many$"):
        fit("classify", features, ["same"] * 40)
    with pytest.raises(ValueError, match=r"^labels: expected at least 2, .* got 2, 1 of them with so many$"):
        fit("classify", features, ["same"] * 39 + ["other"])
    with pytest.raises(ValueError, match=r"^labels: expected at least 2, .* got 2, 0 of them with so many$"):
        fit("tag", features, labels, groups=[int(label[-1]) for label in labels])
    with pytest.raises(ValueError, match=r"^examples labels: expected 40, one for each example, got 39$"):
        fit("classify", features, labels[:39])
    with pytest.raises(ValueError, match=r"^examples labels\[3\]: expected a text, not empty, got ''$"):
        fit("classify", features, [*labels[:3], "", *labels[4:]])
    with pytest.raises(
        ValueError, match=r"^examples: expected a layer and the global context after it, got one"
    ):
        fit("sense", features[:, :1], labels, ["w"] * 40)
    with pytest.raises(
        ValueError, match=r"^examples: expected float32 \(N, C, D\), got float64 \(40, 3, 24\)$"
    ):
        fit("classify", features.astype(np.float64), labels)
    with pytest.raises(ValueError, match=r"^groups: expected 40, one for each example, got shape \(3,\)$"):
        fit("classify", features, labels, groups=[1, 2, 3])
    with pytest.raises(ValueError, match=r"^examples words: expected none for classify, got 40$"):
        fit("classify", features, labels, ["w"] * 40)
    with pytest.raises(ValueError, match=r"^dev: expected \(1 or more, 3, 24\), got \(5, 2, 24\)$"):
        fit("classify", features, labels, dev=Examples(features[:5, :2], labels[:5]))
    with pytest.raises(ValueError, match=r"^dev labels: expected 5, one for each example, got 4$"):
        fit("classify", features, labels, dev=Examples(features[:5], labels[:4]))
