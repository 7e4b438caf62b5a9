import re

import numpy as np
import pytest

from mnist_attention.evidence.claims import CLAIMS, verdict, verdicts
from mnist_attention.evidence.runs import reported_value
from synthetic import make_runs

SPREAD = np.array([-0.0006, 0.0004, 0.0, 0.0007, -0.0005, 0.0002, 0.0003, -0.0002, 0.0005, -0.0008])


def around(mean: float, n: int = 10) -> list[float]:
    """Test accuracies of n seeds: their mean, and a spread like that of real runs."""
    return list(mean + SPREAD[:n] - SPREAD[:n].mean())


def pair(plain: float, masked: float, n: int = 10) -> list[dict]:
    # Turned round, so that the differences have a spread too.
    return make_runs(around(plain, n), model="lenet5") + make_runs(around(masked, n)[::-1])


def judged(claim: str, records: list[dict]) -> tuple[str, str]:
    found = verdict(claim, records)
    return found.verdict, found.sentence


def test_every_claim_has_a_verdict_with_and_without_records():
    everything = verdicts([])
    assert [each.claim for each in everything] == [f"C{number}" for number in range(1, 12)]
    undecided = {each.claim for each in everything if each.verdict == "not yet tested"}
    assert undecided == set(CLAIMS) - {"C10"}
    with pytest.raises(ValueError, match=r"Expected a claim among C1, .* Received: claim='C12'"):
        verdict("C12", [])


def test_the_texts_of_the_claims_hold_the_papers_numbers():
    texts = {claim: text for claim, (text, _) in CLAIMS.items()}
    for claim, row, metric in (
        ("C1", "LeNet", "test_accuracy"),
        ("C2", "LeNet+Attention", "test_accuracy"),
        ("C4", "AlexNet", "test_accuracy"),
        ("C4", "VGG16", "test_accuracy"),
        ("C5", "ResNet", "test_accuracy"),
        ("C6", "learning_rate=0.1", "test_accuracy"),
        ("C6", "learning_rate=0.001", "test_accuracy"),
        ("C7", "batch_size=48", "train_accuracy"),
        ("C8", "epochs=50", "test_accuracy"),
        ("C8", "epochs=150", "test_accuracy"),
    ):
        assert f"{reported_value(row, metric)} %" in texts[claim]
    assert "+1.6" in texts["C3"]


@pytest.mark.parametrize("claim", sorted(set(CLAIMS) - {"C9", "C10", "C11"}))
def test_too_few_seeds_give_no_verdict_and_no_number_of_ours(claim):
    settings = [
        {"model": "lenet5"}, {}, {"model": "alexnet"}, {"model": "vgg16"}, {"model": "resnet50"},
        {"learning_rate": 0.1}, {"learning_rate": 0.001}, {"batch_size": 48},
        {"batch_size": 128}, {"batch_size": 256}, {"epochs": 50}, {"epochs": 150},
    ]  # fmt: skip
    records = [r for changes in settings for r in make_runs([0.9123, 0.9124], 0.9123, **changes)]
    outcome, sentence = judged(claim, records)
    assert outcome == "not yet tested"
    assert "2 of at least 3 seeds" in sentence
    assert "91.2" not in sentence


def test_c1_a_number_is_reproduced_if_it_could_be_one_more_run():
    assert judged("C1", make_runs(around(0.9765), model="lenet5"))[0] == "reproduced"
    outcome, sentence = judged("C1", make_runs(around(0.9893), model="lenet5"))
    assert outcome == "not reproduced"
    assert sentence.startswith("LeNet 98.93 % [98.89, 98.97], 10 seeds; one more run would fall")
    assert sentence.endswith("the paper says 97.7 %")


def test_c1_seeds_that_differ_wildly_decide_nothing():
    wild = make_runs([0.99, 0.95, 0.97], model="lenet5")
    outcome, sentence = judged("C1", wild)
    assert outcome == "not yet tested"
    assert "differ too much" in sentence


def test_c1_says_how_many_seeds_diverged():
    records = make_runs(around(0.989, 4), model="lenet5")
    records[1]["result"].update(diverged=True, test_accuracy=0.098, epochs=2)
    assert "4 seeds of which 1 diverged" in judged("C1", records)[1]


def test_c2_is_about_the_net_with_the_mask():
    assert judged("C2", pair(0.98, 0.993))[0] == "reproduced"
    assert judged("C2", pair(0.993, 0.98))[0] == "not reproduced"


def test_c3_a_gain_like_the_papers():
    outcome, sentence = judged("C3", pair(0.977, 0.993))
    assert outcome == "reproduced"
    assert sentence.startswith("+1.60 points [")
    said = "10 paired seeds; the paper says +1.6. A gain is shown (sign-flip test, p = 0.002). "
    assert said in sentence


def test_c3_hardly_a_gain():
    outcome, sentence = judged("C3", pair(0.9890, 0.9891))
    assert outcome == "not reproduced"
    assert sentence.startswith("+0.01 points [")
    assert ". No gain is shown (sign-flip test, p = " in sentence
    assert ". The difference is nil within 0.1 points (p < 0.001). " in sentence
    assert "four times in five" in sentence


def test_c3_says_that_a_difference_is_not_shown_to_be_nil_either():
    _, sentence = judged("C3", pair(0.9890, 0.98985))
    assert "It is not shown to be nil within 0.1 points (p = " in sentence


def test_c3_a_gain_may_be_ruled_out_where_a_loss_is_not():
    _, sentence = judged("C3", pair(0.9890, 0.9882))
    assert ". A gain of 0.1 points or more is ruled out (p" in sentence
    assert "), a loss of as much is not. " in sentence


def test_c3_a_loss():
    assert judged("C3", pair(0.99, 0.985))[0] == "contradicted"


def test_c3_the_papers_gain_may_be_that_of_two_runs_that_are_no_pair():
    # The pairs differ by 1.45 to 1.46 points; any run with the mask and any without by 1.2 to 1.7.
    plain = [0.977, 0.978, 0.976, 0.9775, 0.9765, 0.977]
    masked = [value + 0.0145 + 0.00002 * place for place, value in enumerate(plain)]
    records = make_runs(plain, model="lenet5") + make_runs(masked)
    assert judged("C3", records)[0] == "reproduced"


def test_c3_three_pairs_cannot_flip_signs():
    outcome, sentence = judged("C3", pair(0.9890, 0.9891, n=3))
    assert outcome == "not reproduced"
    assert "No gain is shown (t interval; a sign-flip test needs 6 pairs)" in sentence


def test_c3_needs_pairs_not_only_seeds():
    plain = make_runs(around(0.977, 4), model="lenet5")
    masked = make_runs(around(0.993, 6))[2:]
    outcome, sentence = judged("C3", plain + masked)
    assert (outcome, sentence) == ("not yet tested", "2 of at least 3 paired seeds")


def test_c3_pairs_that_differ_wildly_decide_nothing():
    records = make_runs([0.97, 0.99, 0.98], model="lenet5") + make_runs([0.99, 0.98, 0.995])
    assert judged("C3", records)[0] == "not yet tested"


def test_c4_needs_both_networks():
    alexnet = make_runs(around(0.987), model="alexnet")
    assert judged("C4", alexnet) == ("not yet tested", "VGG16: missing")
    short = make_runs(around(0.9), model="vgg16", epochs_done=2)
    assert judged("C4", alexnet + short) == ("not yet tested", "VGG16: 2 of 100 epochs")
    assert judged("C4", alexnet + make_runs(around(0.989), model="vgg16"))[0] == "reproduced"
    assert judged("C4", alexnet + make_runs(around(0.999), model="vgg16"))[0] == "not reproduced"


@pytest.mark.parametrize(
    ("test", "train", "outcome"),
    [
        (0.865, 0.990, "reproduced"),  # 12.5 points of overfitting
        (0.800, 0.990, "not reproduced"),  # it overfits, but the number is another one
        (0.865, 0.880, "contradicted"),  # the number, without overfitting
        (0.990, 0.995, "contradicted"),
    ],
)
def test_c5_asks_for_the_number_and_its_reason(test, train, outcome):
    assert judged("C5", make_runs(around(test), train, model="resnet50"))[0] == outcome


def rates(high: float, ours: float, low: float) -> list[dict]:
    return (
        make_runs(around(high, 4), learning_rate=0.1)
        + make_runs(around(ours, 4)[::-1])
        + make_runs(around(low, 4), learning_rate=0.001)
    )


@pytest.mark.parametrize(
    ("accuracies", "outcome"),
    [
        ((0.809, 0.993, 0.798), "reproduced"),
        ((0.900, 0.993, 0.798), "not reproduced"),
        ((0.995, 0.990, 0.970), "contradicted"),
    ],
)
def test_c6_asks_which_rate_is_best(accuracies, outcome):
    assert judged("C6", rates(*accuracies))[0] == outcome


def batches(**means: float) -> list[dict]:
    """Runs of each batch size, around the given training accuracy."""
    records = []
    for name, mean in {"b96": 0.997, **means}.items():
        runs = make_runs([0.5] * 10, batch_size=int(name[1:]))
        values = around(mean) if name == "b96" else around(mean)[::-1]
        for record, value in zip(runs, values, strict=True):
            record["result"]["train_accuracy"] = value
        records += runs
    return records


@pytest.mark.parametrize(
    ("small", "large", "outcome"),
    [
        (0.959, 0.997, "reproduced"),
        (0.990, 0.997, "not reproduced"),
        (0.959, 0.994, "reproduced"),  # 96 is even better: as good it is
        (0.959, 0.999, "not reproduced"),
        (0.999, 0.990, "contradicted"),
    ],
)
def test_c7_is_about_training_accuracy(small, large, outcome):
    assert judged("C7", batches(b48=small, b128=large, b256=large))[0] == outcome


def test_c7_says_what_96_is_as_good_as():
    _, sentence = judged("C7", batches(b48=0.959, b128=0.997, b256=0.999))
    assert re.search(r"128 minus 96 [^:]*: that 96 is as good is shown", sentence)
    assert re.search(r"256 minus 96 [^:]*: that 96 is as good is not shown", sentence)
    assert "where the paper has -3.8" in sentence


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        ((0.934, 0.993, 0.993), "reproduced"),
        ((0.985, 0.993, 0.993), "not reproduced"),
        ((0.934, 0.940, 0.940), "not reproduced"),  # the same, but not what the paper says
        ((0.985, 0.993, 0.998), "contradicted"),
    ],
)
def test_c8_asks_whether_more_epochs_help(after, outcome):
    records = (
        make_runs(around(after[0]), epochs=50)
        + make_runs(around(after[1])[::-1])
        + make_runs(around(after[2]), epochs=150)
    )
    assert judged("C8", records)[0] == outcome


@pytest.mark.parametrize(
    ("claim", "records"),
    [
        ("C3", lambda noise: lenets(*noise.normal(98.5, 0.1, (2, 10)))),
        ("C6", lambda noise: rates_of(*noise.normal(98.5, 0.1, (3, 10)))),
    ],
)
def test_noise_alone_is_seldom_taken_for_the_opposite_of_a_claim(claim, records):
    noise = np.random.default_rng(0)
    outcomes = [judged(claim, records(noise))[0] for _ in range(60)]
    # C6 asks twice, each time one-sided at 0.025: 3 of 60 are expected, 9 are too many.
    assert outcomes.count("contradicted") < 9
    assert outcomes.count("reproduced") == 0


def lenets(plain, masked) -> list[dict]:
    return make_runs(plain / 100, model="lenet5") + make_runs(masked / 100)


def rates_of(high, ours, low) -> list[dict]:
    return (
        make_runs(high / 100, learning_rate=0.1)
        + make_runs(ours / 100)
        + make_runs(low / 100, learning_rate=0.001)
    )


def test_c9_is_not_decided_by_accuracies():
    assert judged("C9", pair(0.977, 0.993))[0] == "not yet tested"


def test_c10_is_held_against_what_was_published():
    outcome, sentence = judged("C10", [])
    assert outcome == "contradicted"
    assert "99.77" in sentence
    assert "ours" not in sentence
    assert "ours: 99.30 %" in judged("C10", make_runs(around(0.993)))[1]


def test_c11_counts_the_digits():
    assert judged("C11", make_runs([0.99]))[0] == "contradicted"
    records = make_runs([0.99])
    records[0]["dataset"]["test_size"] = 20_000
    assert judged("C11", records)[0] == "reproduced"
    assert judged("C11", make_runs([0.99], digest="u" * 64))[0] == "not yet tested"
