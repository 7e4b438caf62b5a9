"""What is measured of trained networks, and how it is kept beside their records."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from mnist_attention import Protocol, build_model, cli, measurements, train
from mnist_attention.backgrounds import BEHIND, CLEAN, OVER, Condition
from mnist_attention.maps import SCORES, TRIVIAL_MAPS
from mnist_attention.measurements import (
    Conditions,
    agreement,
    measure,
    measure_run,
    trained_model,
)
from mnist_attention.records import MEASUREMENTS, read_records, record_text

PROTOCOL = Protocol(dataset="uci", epochs=2, learning_rate=0.1)


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    for name in ("SCORED", "PERTURBED", "COMPARED"):
        monkeypatch.setattr(measurements, name, 20)


@pytest.fixture(scope="module")
def results(tmp_path_factory, uci):
    """A folder with one trained network."""
    folder = tmp_path_factory.mktemp("results")
    train(PROTOCOL, dataset=uci, results=folder, verbose=False)
    return folder


@pytest.fixture(scope="module")
def shown(uci) -> Conditions:
    return Conditions(uci)


def test_agreement_is_the_mean_rank_correlation():
    first, second = np.random.default_rng(0).integers(0, 5, (2, 3, 4, 4))
    pairs = zip(first, second, strict=True)
    expected = [stats.spearmanr(a, b, axis=None).statistic for a, b in pairs]
    assert agreement(first, second) == pytest.approx(np.mean(expected))
    assert agreement(first, first**3) == pytest.approx(1)
    assert agreement(first, -first) == pytest.approx(-1)
    assert agreement(first, np.ones_like(first)) == 0


def test_conditions_are_named_by_what_they_do():
    assert str(CLEAN) == "clean"
    assert str(Condition("gaussian", 0.5, 1.0)) == "gaussian 1 at 0.5"
    names = [str(condition) for condition in (CLEAN, *BEHIND, *OVER)]
    assert len(set(names)) == len(names)
    assert {"uniform at 1", "photographs at 0.25", "blur at 0.5"} <= set(names)


def test_test_digits_are_disturbed_as_for_training_on_them(uci, shown):
    """A network trained on a background is measured on the very images that its record is of."""
    from mnist_attention.runs import presented

    protocol = Protocol(dataset="uci", background="gaussian", strength=1.0, gamma=0.5)
    images = shown.images(Condition("gaussian", 1.0, 0.5))
    np.testing.assert_array_equal(images, presented(protocol, uci).test_images)


def test_the_trained_network_is_the_one_of_the_record(results, uci):
    (record,), _ = read_records(results)
    model = trained_model(PROTOCOL, uci, results)
    predictions = measurements.runs.predict_classes(model, uci.test_images)
    assert "".join(map(str, predictions)) == record["test_predictions"]


def test_a_measurement_joins_its_record_and_is_made_once(results, shown, monkeypatch):
    measurement = measure_run(PROTOCOL, shown, results)
    (record,), problems = read_records(results)
    assert not problems
    assert record["measured"] == json.loads(record_text(measurement["measured"]))
    measured = record["measured"]
    clean = measured["conditions"]["clean"]["accuracy"]
    assert clean == pytest.approx(record["result"]["test_accuracy"], abs=1e-6)
    assert set(measured["conditions"]) == {str(c) for c in (CLEAN, *BEHIND, *OVER)}
    assert set(measured["randomised"]) == {
        "output", "f6", "c5", "c3_attention", "c3", "c1_attention", "c1",
    }  # fmt: skip
    monkeypatch.setattr(measurements, "measure", lambda *args: pytest.fail("measured again"))
    assert measure_run(PROTOCOL, shown, results)["measured"] == measured


def test_scores_of_masks_of_the_untrained_network_and_of_trivial_maps(results, shown):
    conditions = measure_run(PROTOCOL, shown, results)["measured"]["conditions"]
    for condition in (CLEAN, *BEHIND):
        found = conditions[str(condition)]
        for masks in (found["masks"], found["untrained"]):
            assert set(masks) == {"c1_attention", "c3_attention"}
            assert all(set(scores) == {*SCORES, "snr_gain_db"} for scores in masks.values())
        assert set(found["trivial"]) == set(TRIVIAL_MAPS)
    clean = conditions["clean"]
    assert clean["trivial"]["brightness"]["ink_auroc"] == 1
    assert clean["trivial"]["random"]["ink_auroc"] == pytest.approx(0.5, abs=0.05)
    assert clean["masks"] != clean["untrained"]
    assert all(set(conditions[str(condition)]) == {"accuracy"} for condition in OVER)


def test_a_feed_forward_mask_knows_nothing_of_the_layers_above_it(results, shown):
    randomised = measure_run(PROTOCOL, shown, results)["measured"]["randomised"]
    for drawn in ("output", "f6", "c5"):
        assert randomised[drawn] == pytest.approx({"c1_attention": 1, "c3_attention": 1})
    assert randomised["c3_attention"]["c1_attention"] == pytest.approx(1)
    assert randomised["c3_attention"]["c3_attention"] < 0.999
    assert randomised["c1"]["c1_attention"] < 0.999


def test_a_network_without_masks_has_accuracies_alone(uci, shown):
    model = build_model(Protocol(model="lenet5"))
    measured = measure(model, model, shown)
    assert set(measured) == {"conditions"}
    assert all(set(found) == {"accuracy"} for found in measured["conditions"].values())


def test_what_was_not_trained_is_said_and_the_rest_is_measured(results):
    """Of the four runs of the study one is there."""
    options = ["measure", "smoke", "--results", str(results), "--weights", str(results)]
    result = CliRunner().invoke(cli.commands, options)
    assert result.exit_code == 1
    assert "1 network is measured" in result.output
    assert result.output.count("not measured: ") == 3
    assert "Expected the trained weights of run" in result.output


def test_damaged_measurements_are_named_and_the_record_stays(results, shown):
    measure_run(PROTOCOL, shown, results)
    (path,) = (results / MEASUREMENTS).glob("*.json")
    text = path.read_text()
    for damage in (text[:50], "{}", "[]"):
        path.write_text(damage)
        records, problems = read_records(results)
        assert [len(records), len(problems)] == [1, 1]
        assert str(path) in problems[0]
        assert "measured" not in records[0]
    path.write_text(text)
