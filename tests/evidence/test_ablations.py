"""The ledger of what the paper leaves open, and the protocol nearest to its numbers."""

import dataclasses
import math

import pytest

from mnist_attention.evidence import ablations
from mnist_attention.protocol import PAPER, Protocol
from mnist_attention.studies.catalogue import PLAUSIBLE, study_protocols
from synthetic import make_record, make_runs


def test_every_choice_is_one_that_a_protocol_can_make():
    fields = {field.name for field in dataclasses.fields(Protocol)}
    for choice in ablations.CHOICES:
        for changes in (choice.base, *choice.options.values()):
            assert set(changes) <= fields
            known = {name: value for name, value in changes.items() if name != "model"}
            assert dataclasses.replace(PAPER, **known) != PAPER or not known


def test_the_ledger_measures_each_option_against_ours():
    ours = make_runs([0.980, 0.981, 0.982], epochs=20)
    tanh = make_runs([0.970, 0.972, 0.971], epochs=20, activation="tanh")
    longer = make_runs([0.99] * 2) + make_runs([0.985] * 2, activation="tanh")
    ledger = ablations.ledger(ours + tanh + longer)
    rows = ledger[ledger.option == "tanh"]
    assert list(rows.epochs) == [20, 100]
    assert list(rows.n) == [3, 2]
    assert list(rows.effect) == pytest.approx([-1.0, -0.5])
    assert list(rows.accuracy) == pytest.approx([97.1, 98.5])
    assert rows.low.iloc[0] < -1 < rows.high.iloc[0]
    assert set(ledger[ledger.option == "sigmoid"].n) == {0}
    assert ledger[ledger.option == "sigmoid"].epochs.isna().all()


def test_the_ledger_names_every_option_even_without_records():
    ledger = ablations.ledger([])
    assert len(ledger) == sum(len(choice.options) for choice in ablations.CHOICES) + 2
    assert (ledger.n == 0).all()
    assert ledger.effect.isna().all()
    assert ledger.choice.nunique() == len(ablations.CHOICES) + 2


def test_the_ledger_says_what_a_running_accuracy_and_the_best_seed_are_worth():
    ledger = ablations.ledger(make_runs([0.98, 0.99, 0.985])).set_index("option")
    running = ledger.loc["augmented, over the last epoch"]
    assert (running.n, running.effect) == (3, pytest.approx(-1.0))
    best = ledger.loc["the best of n"]
    assert (best.n, best.effect) == (3, pytest.approx(0.5))
    assert math.isnan(best.low)


def test_an_option_without_enough_runs_says_what_it_lacks():
    records = make_runs([0.98] * 3, epochs=20)
    records += make_runs([0.97] * 2, epochs=20, activation="tanh")
    records += make_runs([0.9], epochs_done=3, model="resnet18")
    lack = ablations.ledger(records).set_index("option").lack
    assert lack["tanh"] == "2 of at least 3 seeds"
    assert lack["sigmoid"] == "missing"
    assert lack["18"] == "3 of 100 epochs"


def test_options_that_have_not_begun_to_learn_are_counted():
    records = make_runs([0.98, 0.981, 0.982], epochs=20)
    records += make_runs([0.1135, 0.1135, 0.97], epochs=20, initializer="narrow_normal")
    guessing = ablations.ledger(records).set_index("option").guessing
    assert guessing["normal, deviation 0.01"] == 2
    assert guessing["LeCun normal"] == 0


def test_diverged_seeds_stay_in_the_ledger():
    records = make_runs([0.98, 0.99, 0.985])
    records[0]["result"].update(diverged=True, test_accuracy=0.098, epochs=2)
    ledger = ablations.ledger(records).set_index("option")
    assert set(ledger.n[["augmented, over the last epoch", "the best of n"]]) == {3}


def test_an_option_of_the_mask_is_held_against_lenet_trained_alike():
    plain = {"model": "lenet5", "epochs": 20}
    records = make_runs([0.98, 0.981, 0.982], epochs=20) + make_runs([0.97, 0.972, 0.974], **plain)
    records += make_runs([0.975, 0.976, 0.98], epochs=20, mask_activation="linear")
    records += make_runs([0.95, 0.96, 0.94], epochs=20, momentum=0.9)
    gain = ablations.ledger(records).set_index("option").gain
    assert gain["none"] == pytest.approx(0.5)
    assert math.isnan(gain["0.9"])  # LeNet was not trained with momentum
    records += make_runs([0.94, 0.94, 0.94], momentum=0.9, **plain)
    gain = ablations.ledger(records).set_index("option").gain
    assert gain["0.9"] == pytest.approx(1.0)


def test_of_a_network_that_is_no_lenet_nothing_is_said_about_the_mask():
    records = [
        run
        for model in ("resnet18", "resnet50")
        for run in make_runs([0.98, 0.981, 0.982], model=model)
    ]
    row = (
        ablations.ledger(records + make_runs([0.98, 0.981, 0.982], model="lenet5"))
        .set_index("option")
        .loc["18"]
    )
    assert (row.n, math.isnan(row.gain)) == (3, True)


def explaining(lenet, masked, high, low, **changes) -> list[dict]:
    """Runs of one reading with all that is to be explained but the half-way point."""
    return [
        *make_runs(lenet, model="lenet5", **changes),
        *make_runs(masked, **changes),
        *make_runs(high, learning_rate=0.1, **changes),
        *make_runs(low, learning_rate=0.001, **changes),
    ]


def test_the_nearest_protocol_is_found():
    paper = explaining([0.977] * 3, [0.993] * 3, [0.809] * 3, [0.798] * 3, epochs=20, shift=1)
    for record in paper[3:6]:
        record["history"]["test_accuracy"][9] = 0.934
    records = [
        *paper,
        *explaining([0.99] * 3, [0.99] * 3, [0.99] * 3, [0.98] * 3),
        make_record(0.9, pooling="average"),  # the others are missing
    ]
    table = ablations.nearest(records)
    assert list(table.setting) == ["shift=1", "as read here", "as read here"]
    assert list(table.epochs) == [20, 20, 100]
    assert list(table["epochs=50"]) == pytest.approx([93.4, 99, 99])
    assert table.factor[0] == pytest.approx(1)
    errors = [1 / 2.3, 1 / 0.7, 1 / 19.1, 2 / 20.2, 1 / 6.6]
    expected = math.exp(math.sqrt(sum(math.log(e) ** 2 for e in errors) / 5))
    assert table.factor[2] == pytest.approx(expected)
    assert ablations.nearest([]).empty


def test_half_the_epochs_are_half_of_what_stands_in_for_the_whole():
    records = explaining(*[[0.97] * 3] * 4)
    for record in records[3:6]:
        record["history"]["test_accuracy"] = [epoch / 1000 for epoch in range(1, 101)]
    table = ablations.nearest(records).set_index("epochs")
    assert table["epochs=50"][20] == pytest.approx(1.0)
    assert table["LeNet+Attention"][20] == pytest.approx(2.0)
    assert table["epochs=50"][100] == pytest.approx(5.0)
    assert table["LeNet+Attention"][100] == pytest.approx(10.0)


def test_only_seeds_with_all_runs_count_and_their_spread_is_given():
    three = [0.97, 0.98, 0.975]
    records = explaining([*three, 0.99], three, three, three)
    row = ablations.nearest(records).iloc[0]
    assert (row.n, row["LeNet"]) == (3, pytest.approx(97.5))
    assert row.least < row.factor < row.most
    assert ablations.nearest(records[:-1]).empty  # two seeds have all


def test_a_diverged_run_stands_for_the_epochs_that_it_did_not_do():
    records = explaining([0.97] * 3, [0.97] * 3, [0.098] * 3, [0.97] * 3, epochs=20)
    for record in records[6:9]:
        record["result"].update(diverged=True, epochs=1)
        record["history"]["test_accuracy"] = [0.3]
    assert list(ablations.nearest(records)["learning_rate=0.1"]) == pytest.approx([9.8])


def test_the_study_that_explains_trains_all_that_is_to_be_explained():
    records = [make_record(0.97, **vars(run)) for run in study_protocols("explain", seeds=3)]
    settings = ablations.nearest(records).setting
    assert len(settings) == len(PLAUSIBLE)
    assert "activation=tanh, pooling=average" in set(settings)
