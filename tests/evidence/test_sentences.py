"""Sentences: the finding, the clauses of verdicts, and numbers in print."""

import math

import pytest

from mnist_attention.evidence import sentences, tables
from mnist_attention.evidence.claims import judge
from mnist_attention.evidence.statistics import NO_PAIRS, Difference
from mnist_attention.storage.record_format import mnist_test_labels
from synthetic import make_runs


def test_gains_count_losses_too():
    plain = {"model": "lenet5", "epochs": 20}
    records = make_runs([0.98, 0.981, 0.982], **plain)
    records += make_runs([0.95, 0.951, 0.953], epochs=20, mask_activation="softmax")
    records += make_runs([0.99, 0.9912, 0.992], epochs=20, mask_activation="linear")
    records += make_runs([0.97, 0.99, 0.98], epochs=20, mask_channels=None)
    records += make_runs([0.98] * 3, epochs=20)
    assert sentences.gains_text(records) == (
        "In 3 comparisons of an option with LeNet alone, trained the same way, the mask is shown "
        "to gain in 1 (activation of the mask: none, 20 epochs, +1.01) and to lose in 1 "
        "(activation of the mask: softmax, 20 epochs, -2.97). Its mean is below zero in 2, down "
        "to -2.97 points. The tests are not corrected for their number."
    )
    records += make_runs([0.1135] * 3, epochs=20, mask_placement="c1")
    assert sentences.gains_text(records) == (
        "In 4 comparisons of an option with LeNet alone, trained the same way, the mask is shown "
        "to gain in 1 (activation of the mask: none, 20 epochs, +1.01) and to lose in 2 "
        "(where the mask sits: after C1 only, 20 epochs, the mask stuck at chance, -86.75; "
        "activation of the mask: softmax, 20 epochs, -2.97). Its mean is below zero in 3, down "
        "to -86.75 points. The tests are not corrected for their number."
    )


def test_mcnemar_counts_the_pairs_that_differ():
    labels = "".join(map(str, mnist_test_labels().astype(int)))
    plain = make_runs([1.0] * 3, model="lenet5", test_predictions=labels)
    masked = make_runs([1.0] * 2, test_predictions=labels)
    masked[1]["test_predictions"] = "".join(str(9 - int(d)) for d in labels[:30]) + labels[30:]
    assert sentences.mcnemar_text(plain + masked) == (
        "By McNemar's exact test at a level of 0.05, not corrected, the two networks differ in "
        "their number of errors in 1 of 2 pairs; in 0 of these the mask has fewer."
    )


def test_the_finding_is_one_sentence_with_two_numbers_and_n():
    accuracies = [0.989 + seed / 5_000 for seed in range(10)]
    records = make_runs(accuracies, model="lenet5") + make_runs(accuracies[::-1])
    assert sentences.finding(records) == (
        "LeNet-5 reaches 98.99 % without the mask and 98.99 % with it (10 pairs, alike but for "
        "the mask); the paper reports 97.7 and 99.3."
    )
    assert sentences.finding(make_runs([0.99] * 3)) == (
        "Not tested yet: without the mask: missing; the paper reports 97.7 and 99.3."
    )


def test_a_clause_gives_ours_then_n_then_the_paper():
    records = make_runs([0.9842, 0.9845, 0.9844], model="lenet5")
    (verdict,) = judge(1, records)
    assert sentences.clause(verdict).startswith("98.44 % (n = 3; one more run: 98.")
    cut = judge(5, make_runs([0.954], model="resnet50", epochs_done=2))
    assert sentences.clause(cut[0]) == "95.40 % after 2 of 100 epochs (n = 1); paper 86.5"


def test_a_claim_as_text_and_all_of_them_counted():
    text = sentences.claim_text(3, [])
    assert text.startswith("**Claim 3**: the mask is worth +1.6 points.\n\n- the mask helps: **not")
    said = sentences.outcomes([])
    assert said.startswith(
        "21 sub-claims of 11 claims:\n\n- contradicted: Claim 10 (published)\n- "
    )
    assert "Claim 7 (batch 48), Claim 8 (50 epochs), Claim 8 (150 epochs), Claim 9 (where)" in said
    table = tables.verdict_table([])
    assert list(table.columns) == ["claim", "the paper says", "verdict", "ours", "new runs"]
    assert table.claim.iloc[0] == "Claim 1, number"


@pytest.mark.parametrize(
    ("mean", "low", "high", "digits", "printed"),
    [
        (0.041, -0.019, 0.111, 2, "+0.04 [-0.02, 0.11]"),
        (-0.001, math.nan, math.nan, 2, "+0.00"),
        (-0.0624, -0.1, 0, 3, "-0.062 [-0.100, 0.000]"),
        # An end near zero shows on which side it is.
        (-0.38, -0.763, -0.0012, 2, "-0.380 [-0.763, -0.001]"),
        (0.17, 0.0004, 0.34, 2, "+0.1700 [0.0004, 0.3400]"),
        (0.17, 1e-9, 0.34, 2, "+0.1700 [0.0000, 0.3400]"),
    ],
)
def test_a_difference_in_print(mean, low, high, digits, printed):
    found = Difference(3, mean, low=low, high=high)
    assert sentences.points(found, digits) == printed
    assert sentences.points(NO_PAIRS) == "missing"
