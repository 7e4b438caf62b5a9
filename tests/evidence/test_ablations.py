"""The ablation table, and the protocols that might explain the paper's numbers."""

import dataclasses
import math

import pytest

from mnist_attention.evidence import ablations
from mnist_attention.protocol import PAPER
from mnist_attention.studies.catalogue import PLAUSIBLE, study_protocols
from synthetic import make_record, make_runs


def test_every_option_is_one_that_a_protocol_can_take():
    for option in ablations.OPTIONS:
        changes = {**option.base, **option.changes}
        known = {name: value for name, value in changes.items() if name != "model"}
        assert dataclasses.replace(PAPER, **known) != PAPER or not known


def rows_of(records: list[dict]) -> dict[str, ablations.Row]:
    """Option -> its last row, of the default rate."""
    rows = ablations.effects(records)
    return {row.option: row for row in rows if "at rate" not in row.choice}


def test_each_option_is_measured_against_our_default():
    ours = make_runs([0.980, 0.981, 0.982], epochs=20)
    tanh = make_runs([0.970, 0.972, 0.971], epochs=20, activation="tanh")
    longer = make_runs([0.99] * 2) + make_runs([0.985] * 2, activation="tanh")
    rows = ablations.effects(ours + tanh + longer)
    short, long = (row for row in rows if row.option == "tanh")
    assert (short.epochs, long.epochs) == (20, 100)
    assert (short.effect.n, long.effect.n) == (3, 2)
    assert (short.effect.mean, long.effect.mean) == pytest.approx((-1.0, -0.5))
    assert (short.accuracy, long.accuracy) == pytest.approx((97.1, 98.5))
    assert short.effect.low < -1 < short.effect.high
    (sigmoid,) = (row for row in rows if row.option == "sigmoid")
    assert (sigmoid.effect.n, sigmoid.epochs, sigmoid.lack) == (0, None, "not run yet")


def test_every_option_has_a_row_even_without_records():
    rows = ablations.effects([])
    assert len(rows) == len(ablations.OPTIONS) + 2
    assert {row.effect.n for row in rows} == {0}
    assert {row.lack for row in rows} == {"not run yet"}
    assert len({(row.choice, row.option) for row in rows}) == len(rows)


def test_the_open_choices_of_the_plan_have_rows():
    changes = [option.changes for option in ablations.OPTIONS]
    for planned in (
        {"weight_decay": 1e-4},
        {"dense_layers": 2},
        {"shift": 0, "brightness": 0.4},
        {"canvas": 28},
        {"pixel_scale": 255},
        {"reshuffle": False},
    ):
        assert planned in changes
        planned_runs = make_runs([0.97, 0.96, 0.95], epochs=20, **planned)
        rows = ablations.effects(planned_runs + make_runs([0.98] * 3, epochs=20))
        assert [row.effect.mean for row in rows if row.accuracy > 0] == pytest.approx([-2])


def test_momentum_is_measured_at_three_rates_against_longer_runs_on_their_way():
    records = []
    for rate in (0.1, 0.01, 0.001):
        ours = make_runs([0.99] * 3, learning_rate=rate)
        for record in ours:
            record["history"]["test_accuracy"][19] = 0.95
        records += ours
        records += make_runs([0.97] * 3, learning_rate=rate, momentum=0.9, epochs=20)
    rows = [row for row in ablations.effects(records) if row.choice.startswith("momentum")]
    assert [(row.epochs, row.effect.n) for row in rows] == [(20, 3)] * 3
    assert [row.effect.mean for row in rows] == pytest.approx([2.0] * 3)


def test_a_running_accuracy_and_the_best_seed_are_rows():
    rows = rows_of(make_runs([0.98, 0.99, 0.985]))
    running, best = rows["augmented, over the last epoch"], rows["the best of n"]
    assert (running.effect.n, running.effect.mean) == (3, pytest.approx(-1.0))
    assert (best.effect.n, best.effect.mean) == (3, pytest.approx(0.5))
    assert math.isnan(best.effect.low)


def test_an_option_without_enough_runs_says_what_it_lacks():
    records = make_runs([0.98] * 3, epochs=20)
    records += make_runs([0.97] * 2, epochs=20, activation="tanh")
    records += make_runs([0.9], epochs_done=3, model="resnet18")
    rows = rows_of(records)
    assert rows["tanh"].lack == "2 of at least 3 seeds"
    assert rows["sigmoid"].lack == "not run yet"
    assert rows["18"].lack == "3 of 100 epochs"


def test_runs_that_are_stuck_at_chance_are_counted():
    records = make_runs([0.98, 0.981, 0.982], epochs=20)
    records += make_runs([0.1135, 0.1135, 0.97], epochs=20, initializer="narrow_normal")
    rows = rows_of(records)
    assert rows["normal, deviation 0.01"].stuck == 2
    assert rows["LeCun normal"].stuck == 0


def test_diverged_seeds_stay_in_the_table():
    records = make_runs([0.98, 0.99, 0.985])
    records[0]["result"].update(diverged=True, test_accuracy=0.098, epochs=2)
    rows = rows_of(records)
    assert rows["augmented, over the last epoch"].effect.n == rows["the best of n"].effect.n == 3


def test_an_option_of_the_mask_is_compared_with_lenet_trained_the_same_way():
    plain = {"model": "lenet5", "epochs": 20}
    records = make_runs([0.98, 0.981, 0.982], epochs=20) + make_runs([0.97, 0.972, 0.974], **plain)
    records += make_runs([0.975, 0.976, 0.98], epochs=20, mask_activation="linear")
    records += make_runs([0.95, 0.96, 0.94], epochs=20, momentum=0.9)
    rows = rows_of(records)
    assert rows["none"].gain.mean == pytest.approx(0.5)
    assert rows["0.9"].gain.n == 0  # LeNet was not trained with momentum
    records += make_runs([0.94, 0.94, 0.94], momentum=0.9, **plain)
    assert rows_of(records)["0.9"].gain.mean == pytest.approx(1.0)


def test_another_network_has_no_gain_of_a_mask():
    records = [
        run
        for model in ("resnet18", "resnet50", "lenet5")
        for run in make_runs([0.98, 0.981, 0.982], model=model)
    ]
    row = rows_of(records)["18"]
    assert (row.effect.n, row.gain.n) == (3, 0)


def explaining(lenet, masked, high, low, **changes) -> list[dict]:
    """Runs of one setting with all that is to be explained but the half-way point."""
    return [
        *make_runs(lenet, model="lenet5", **changes),
        *make_runs(masked, **changes),
        *make_runs(high, learning_rate=0.1, **changes),
        *make_runs(low, learning_rate=0.001, **changes),
    ]


def test_the_protocol_that_explains_the_numbers_is_found():
    paper = explaining([0.977] * 3, [0.993] * 3, [0.809] * 3, [0.782] * 3, epochs=20, shift=1)
    for record in paper[3:6]:
        record["history"]["test_accuracy"][9] = 0.934
    records = [
        *paper,
        *explaining([0.99] * 3, [0.99] * 3, [0.99] * 3, [0.98] * 3),
        make_record(0.9, pooling="average"),  # the others are missing
    ]
    table = ablations.explain(records)
    assert list(table.setting) == ["shift=1", "our default", "our default"]
    assert list(table.epochs) == [20, 20, 100]
    assert list(table.explains) == [True, False, False]
    assert list(table["epochs=50"]) == pytest.approx([0, 5.6, 5.6])
    assert list(table["learning_rate=0.1"]) == pytest.approx([0, 18.1, 18.1])
    assert list(table["learning_rate=0.001"]) == pytest.approx([-1.6, 18.2, 18.2])
    assert ablations.explain([]).empty


def test_a_constant_guess_explains_nothing():
    table = ablations.explain(explaining(*[[0.94] * 3] * 4))
    assert not table.explains.any()


def test_half_the_epochs_are_half_of_what_stands_in_for_the_whole():
    records = explaining(*[[0.97] * 3] * 4)
    for record in records[3:6]:
        record["history"]["test_accuracy"] = [epoch / 1000 for epoch in range(1, 101)]
        record["result"]["test_accuracy"] = 0.1
    table = ablations.explain(records).set_index("epochs")
    assert table["epochs=50"][20] + 93.4 == pytest.approx(1.0)
    assert table["LeNet+Attention"][20] + 99.3 == pytest.approx(2.0)
    assert table["epochs=50"][100] + 93.4 == pytest.approx(5.0)
    assert table["LeNet+Attention"][100] + 99.3 == pytest.approx(10.0)


def test_only_seeds_with_all_runs_count():
    three = [0.97, 0.98, 0.975]
    records = explaining([*three, 0.99], three, three, three)
    row = ablations.explain(records).iloc[0]
    assert (row.n, row["LeNet"]) == (3, pytest.approx(97.5 - 97.7))
    assert ablations.explain(records[:-1]).empty  # two seeds have all


def test_a_diverged_run_stands_for_the_epochs_that_it_did_not_do():
    records = explaining([0.97] * 3, [0.97] * 3, [0.098] * 3, [0.97] * 3, epochs=20)
    for record in records[6:9]:
        record["result"].update(diverged=True, epochs=1)
        record["history"]["test_accuracy"] = [0.3]
    assert list(ablations.explain(records)["learning_rate=0.1"]) == pytest.approx([9.8 - 80.9])


def test_the_study_that_explains_trains_all_that_is_to_be_explained():
    records = [make_record(0.97, **vars(run)) for run in study_protocols("explain", seeds=3)]
    settings = ablations.explain(records).setting
    assert len(settings) == len(PLAUSIBLE)
    assert "activation=tanh, pooling=average" in set(settings)
