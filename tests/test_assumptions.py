"""The ledger of what the paper leaves open, and the protocol nearest to its numbers."""

import dataclasses
import math

import pytest

from mnist_attention import assumptions
from mnist_attention.protocol import PAPER, Protocol
from synthetic import make_record, make_runs


def test_every_choice_is_one_that_a_protocol_can_make():
    fields = {field.name for field in dataclasses.fields(Protocol)}
    for choice in assumptions.CHOICES:
        for changes in (choice.base, *choice.options.values()):
            assert set(changes) <= fields
            known = {name: value for name, value in changes.items() if name != "model"}
            assert dataclasses.replace(PAPER, **known) != PAPER or not known


def test_the_ledger_measures_each_option_against_ours():
    ours = make_runs([0.980, 0.981, 0.982], epochs=20)
    tanh = make_runs([0.970, 0.972, 0.971], epochs=20, activation="tanh")
    longer = make_runs([0.99] * 2) + make_runs([0.985] * 2, activation="tanh")
    ledger = assumptions.ledger(ours + tanh + longer)
    rows = ledger[ledger.option == "tanh"]
    assert list(rows.epochs) == [20, 100]
    assert list(rows.n) == [3, 2]
    assert list(rows.effect) == pytest.approx([-1.0, -0.5])
    assert rows.low.iloc[0] < -1 < rows.high.iloc[0]
    assert set(ledger[ledger.option == "sigmoid"].n) == {0}
    assert ledger[ledger.option == "sigmoid"].epochs.isna().all()


def test_the_ledger_names_every_option_even_without_records():
    ledger = assumptions.ledger([])
    assert len(ledger) == sum(len(choice.options) for choice in assumptions.CHOICES) + 2
    assert (ledger.n == 0).all()
    assert ledger.effect.isna().all()
    assert ledger.choice.nunique() == len(assumptions.CHOICES) + 2


def test_the_ledger_says_what_a_running_accuracy_and_the_best_seed_are_worth():
    ledger = assumptions.ledger(make_runs([0.98, 0.99, 0.985])).set_index("option")
    running = ledger.loc["augmented, over the last epoch"]
    assert (running.n, running.effect) == (3, pytest.approx(-1.0))
    best = ledger.loc["the best of n"]
    assert (best.n, best.effect) == (3, pytest.approx(0.5))
    assert math.isnan(best.low)


def test_the_nearest_protocol_is_found():
    near = {"activation": "sigmoid", "epochs": 20}
    records = [
        make_record(0.967, model="lenet5", **near),
        make_record(0.993, **near),
        make_record(0.798, learning_rate=0.001, **near),
        make_record(0.934, activation="sigmoid", epochs=50),
        make_record(0.99, model="lenet5"),
        make_record(0.99),
        make_record(0.98, learning_rate=0.001),
        make_record(0.97, epochs=50),
        make_record(0.9, pooling="average"),  # the others are missing
    ]
    table = assumptions.nearest(records)
    assert list(table.setting) == ["activation=sigmoid", "as the paper"]
    assert list(table.epochs) == [20, 100]
    assert list(table["epochs=50"]) == pytest.approx([93.4, 97])
    assert table.distance[0] == pytest.approx(math.sqrt(1 / 4))
    assert assumptions.nearest([]).empty
