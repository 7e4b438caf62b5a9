"""What runs cost: no epoch is counted twice, none is forgotten."""

import math

import pytest

from mnist_attention.evidence import costs
from synthetic import make_record


def test_cost_counts_each_trained_epoch_once():
    first, second = [9.0, 9.0], [18.0, 18.0]
    records = [
        make_record(epochs=2, seconds=first, study="table4"),
        make_record(epochs=4, seconds=first + second, study="table4"),  # goes on from the first
        make_record(epochs=3, seconds=[9.0, 9.5, 9.0], study="table1"),  # from scratch
        make_record(epochs=4, seed=1, seconds=second * 2, study="table4"),
    ]
    records[3]["environment"]["threads"] = 2
    cost = costs.cost(records).set_index("study")
    assert cost.epochs["table4"] == 8
    assert cost.core_hours["table4"] == pytest.approx((54 + 2 * 72) / 3600)
    assert cost.images_per_second["table4"] == pytest.approx(8 * 60_000 / (54 + 72))
    assert cost.epochs["table1"] == 3
    assert costs.cost([]).empty


def test_cost_keeps_datasets_apart():
    embedded = make_record(dataset="uci", digest="u" * 64, seconds=[0.1, 0.1], study="table1")
    cost = costs.cost([embedded, make_record(epochs=3, seconds=[9.0] * 3, study="table1")])
    assert [*zip(cost.dataset, cost.epochs, strict=True)] == [("mnist", 3), ("uci", 2)]


def test_a_run_without_times_costs_nothing_that_is_known():
    cost = costs.cost([make_record(seconds=[])])
    assert (cost.core_hours[0], cost.epochs[0]) == (0, 0)
    assert math.isnan(cost.images_per_second[0])
