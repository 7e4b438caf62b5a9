"""Measurements of trained networks, and how they are kept beside their records."""

import json
import shlex
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from mnist_attention import Protocol, build_model, cli, train
from mnist_attention.noise import (
    BACKGROUND_CONDITIONS,
    CLEAN,
    CORRUPTION_CONDITIONS,
    HALF_AND_FULL,
    TRAINING_CONDITIONS,
    Condition,
)
from mnist_attention.probes import measure as measurements
from mnist_attention.probes.interventions import DRAWS, draw_seeds
from mnist_attention.probes.masks import deletion
from mnist_attention.probes.measure import (
    Conditions,
    agreement,
    load_or_train_briefly,
    load_trained,
    measure,
    measure_run,
    trained_model,
)
from mnist_attention.probes.scores import SCORES, TRIVIAL_MAPS
from mnist_attention.records import (
    MEASUREMENTS,
    read_measurement,
    read_records,
    record_text,
)
from mnist_attention.studies.run import measure_studies

PROTOCOL = Protocol(dataset="uci", epochs=2, learning_rate=0.1)


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    for name in ("SCORED", "PERTURBED", "COMPARED"):
        monkeypatch.setattr(measurements, name, 20)


@pytest.fixture(scope="session")
def results(tmp_path_factory, uci):
    """A folder with the record, the state and the weights of one network."""
    folder = tmp_path_factory.mktemp("results")
    train(PROTOCOL, dataset=uci, results=folder, weights=folder, verbose=False)
    return folder


@pytest.fixture(scope="session")
def shown(uci) -> Conditions:
    return Conditions(uci)


@pytest.fixture
def measured(results, shown) -> dict:
    """The measurement of that network, made once."""
    return measure_run(PROTOCOL, shown, results)["measured"]


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
    names = [
        str(condition) for condition in (CLEAN, *BACKGROUND_CONDITIONS, *CORRUPTION_CONDITIONS)
    ]
    assert len(set(names)) == len(names)
    assert {"uniform at 1", "photographs at 0.25", "blur at 0.5"} <= set(names)


def test_test_digits_are_disturbed_as_for_training_on_them(uci, shown):
    """A network trained on a background is measured on the very images that its record is of."""
    from mnist_attention.noise import apply_noise

    protocol = Protocol(dataset="uci", background="gaussian", strength=1.0, gamma=0.5)
    images = shown.images(Condition("gaussian", 1.0, 0.5))
    np.testing.assert_array_equal(images, apply_noise(protocol, uci).test_images)


def test_the_trained_network_is_the_one_of_the_record(results, uci):
    (record,), _ = read_records(results)
    model = trained_model(PROTOCOL, uci, results)
    predictions = measurements.predict_classes(model, uci.test_images)
    assert "".join(map(str, predictions)) == record["test_predictions"]


def test_a_network_whose_weights_were_kept_is_that_network(results, uci, tmp_path):
    assert load_trained(PROTOCOL, uci, tmp_path) is None
    (record,), _ = read_records(results)
    model, notice = load_or_train_briefly(PROTOCOL, uci, epochs=1, weights=results)
    predictions = measurements.predict_classes(model, uci.test_images)
    assert "".join(map(str, predictions)) == record["test_predictions"]
    assert notice == ""


def test_without_weights_a_brief_training_stands_in_and_says_so(small, tmp_path):
    model, notice = load_or_train_briefly(PROTOCOL, small, epochs=1, weights=tmp_path)
    assert notice == "trained for 1 of 2 epochs"
    brief = train(replace(PROTOCOL, epochs=1), dataset=small, verbose=False)
    predictions = measurements.predict_classes(model, small.test_images)
    assert "".join(map(str, predictions)) == brief["test_predictions"]
    assert not [*tmp_path.iterdir()]


def test_a_measurement_joins_its_record_and_is_made_once(results, shown, measured, monkeypatch):
    (record,), problems = read_records(results)
    assert not problems
    assert record["measured"] == json.loads(record_text(measured))
    clean = measured["conditions"]["clean"]["accuracy"]
    assert clean == pytest.approx(record["result"]["test_accuracy"], abs=1e-6)
    assert set(measured) == {
        "conditions", "interventions", "perturbation", "reinitialised_draws",
    }  # fmt: skip
    assert set(measured["conditions"]) == {
        str(c) for c in (CLEAN, *BACKGROUND_CONDITIONS, *CORRUPTION_CONDITIONS)
    }
    monkeypatch.setattr(measurements, "measure", lambda *args: pytest.fail("measured again"))
    assert measure_run(PROTOCOL, shown, results)["measured"] == record["measured"]


def test_each_network_has_draws_of_its_own(measured, results, uci):
    drawn = measured["reinitialised_draws"]
    values = drawn["c1"]["c1_attention"]
    assert len(set(values)) == DRAWS == 5
    assert drawn["f6"]["c3_attention"] == pytest.approx([1] * DRAWS)
    model = load_trained(PROTOCOL, uci, results)
    fifth = measurements.reinitialised(model, uci.test_images[:20], draw_seeds(PROTOCOL.seed)[4])
    assert values[4] == pytest.approx(fifth["c1"]["c1_attention"], abs=1e-6)
    seeds = [seed for network in range(10) for seed in draw_seeds(network)]
    assert len({*range(10), *seeds}) == 60


def test_scores_of_masks_of_the_untrained_network_and_of_trivial_maps(measured):
    conditions = measured["conditions"]
    for condition in (CLEAN, *BACKGROUND_CONDITIONS):
        found = conditions[str(condition)]
        for masks in (found["masks"], found["untrained"]):
            assert set(masks) == {"c1_attention", "c3_attention"}
            assert all(set(scores) == {*SCORES, "snr_gain_db"} for scores in masks.values())
        assert set(found["trivial"]) == set(TRIVIAL_MAPS)
    clean = conditions["clean"]
    assert clean["trivial"]["brightness"]["ink_auroc"] == 1
    assert clean["trivial"]["random"]["ink_auroc"] == pytest.approx(0.5, abs=0.05)
    assert clean["masks"] != clean["untrained"]
    assert all(
        set(conditions[str(condition)]) == {"accuracy"} for condition in CORRUPTION_CONDITIONS
    )


def test_deletion_and_insertion_of_every_map_on_the_trained_network(measured, results, uci):
    found = measured["perturbation"]
    masks = {"c1_attention", "c3_attention"}
    assert set(found) == {*masks, *(f"{name} untrained" for name in masks), *TRIVIAL_MAPS}
    images, labels = uci.test_images[:20], uci.test_labels[:20]
    model = load_trained(PROTOCOL, uci, results)
    expected = deletion(model, images, labels, TRIVIAL_MAPS["brightness"](images)).mean()
    assert found["brightness"]["deletion"] == pytest.approx(expected, abs=1e-5)


def test_a_feed_forward_mask_knows_nothing_of_the_layers_above_it(measured):
    drawn, same = measured["reinitialised_draws"], pytest.approx([1] * DRAWS)
    assert set(drawn) == {
        "output", "f6", "c5", "c3_attention", "c3", "c1_attention", "c1",
    }  # fmt: skip
    for name in ("output", "f6", "c5"):
        assert drawn[name] == {"c1_attention": same, "c3_attention": same}
    assert drawn["c3_attention"]["c1_attention"] == same
    assert max(drawn["c3_attention"]["c3_attention"]) < 0.999
    assert max(drawn["c1"]["c1_attention"]) < 0.999


def test_a_network_without_masks_has_accuracies_alone(uci, shown):
    plain = Protocol(model="lenet5")
    measured = measure(build_model(plain), plain, shown)
    assert set(measured) == {"conditions"}
    assert all(set(found) == {"accuracy"} for found in measured["conditions"].values())


def test_a_network_trained_on_a_background_is_measured_on_backgrounds_alone(shown):
    on_noise = replace(PROTOCOL, background="uniform", strength=0.5)
    measured = measure(build_model(on_noise), on_noise, shown)
    assert set(measured) == {"conditions"}
    assert set(measured["conditions"]) == {str(c) for c in (CLEAN, *HALF_AND_FULL)}
    assert {str(condition) for condition in TRAINING_CONDITIONS} <= set(measured["conditions"])
    assert "masks" in measured["conditions"]["uniform at 0.5"]


@pytest.mark.slow
def test_studies_are_measured_in_processes_of_their_own(uci, tmp_path):
    """Of the four runs of the study one is there."""
    train(replace(PROTOCOL, model="lenet5"), dataset=uci, results=tmp_path, verbose=False)
    options = {"results": tmp_path, "jobs": 2, "verbose": False}
    measured, lacking = measure_studies(["smoke"], **options)
    assert (measured, len(lacking)) == (1, 3)
    (path,) = (tmp_path / MEASUREMENTS).glob("*.json")
    written = path.read_text()
    assert measure_studies(["smoke"], **options) == (measured, lacking)
    assert path.read_text() == written


def test_what_was_not_trained_is_said_and_the_rest_is_measured(results):
    """Of the four runs of the study one is there."""
    options = ["--jobs", "1", "--results", str(results), "--weights", str(results)]
    result = CliRunner().invoke(cli.commands, ["measure", "smoke", *options])
    assert result.exit_code == 1
    assert "measured: 1 network;" in result.output
    assert result.output.count("not measured: ") == 3
    assert "Expected the trained weights of run" in result.output


def test_networks_to_measure_can_be_chosen(results):
    options = ["--jobs", "1", "--results", str(results), "--weights", str(results)]
    for chosen, measured, lacking in (
        ("--models=lenet5_attention", 1, 1),
        ("--first-seed=1", 0, 4),
    ):
        result = CliRunner().invoke(cli.commands, ["measure", "smoke", chosen, *options])
        assert result.output.count("not measured: ") == lacking
        assert f"measured: {measured} network" in result.output


def test_the_command_that_is_named_trains_what_has_a_record_and_no_weights(results, uci, tmp_path):
    kept = tmp_path / "record only"
    shutil.copytree(results, kept, ignore=shutil.ignore_patterns(".checkpoints", "*.h5"))
    with pytest.raises(FileNotFoundError, match="Received: none after 2 epochs") as refused:
        trained_model(PROTOCOL, uci, kept, tmp_path / "my weights")
    command = shlex.split(str(refused.value).partition("mnist-attention ")[2])
    assert CliRunner().invoke(cli.commands, command).exit_code == 0
    assert load_trained(PROTOCOL, uci, tmp_path / "my weights")


def test_damaged_weights_are_said_and_the_rest_is_measured(results, uci, tmp_path):
    name = replace(PROTOCOL, model="lenet5").run_id(uci.digest)
    (tmp_path / f"{name}.weights.h5").write_bytes(b"half")
    options = {"results": results, "weights": tmp_path, "jobs": 1, "verbose": False}
    measured, lacking = measure_studies(["smoke"], **options)
    assert (measured, len(lacking)) == (1, 3)
    assert "open file" in lacking[name]


@pytest.mark.parametrize("error", [KeyError, OSError, RuntimeError, ValueError])
def test_weights_that_cannot_be_loaded_are_named(results, uci, monkeypatch, error):
    def fail(*_):
        raise error("no such layer")

    monkeypatch.setattr(keras.Model, "load_weights", fail)
    with pytest.raises(OSError, match=r"weights\.h5 is damaged, or of another network: .*no such"):
        load_trained(PROTOCOL, uci, results)


def test_measuring_ignores_the_users_settings(uci, measured, tmp_path, results, monkeypatch):
    seen = []
    monkeypatch.setattr(
        measurements,
        "measure",
        lambda *_: seen.append(keras.config.dtype_policy().name) or measured,
    )
    monkeypatch.setattr(measurements, "trained_model", lambda *_: None)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        measure_run(PROTOCOL, Conditions(uci), tmp_path)
    finally:
        keras.config.set_dtype_policy("float32")
    assert seen == ["float32"]


def test_a_damaged_measurement_is_rebuilt(results, shown, measured, capsys, monkeypatch):
    (path,) = (results / MEASUREMENTS).glob("*.json")
    path.write_text(path.read_text()[:50])
    monkeypatch.setattr(measurements, "measure", lambda *args: measured)
    assert measure_run(PROTOCOL, shown, results)["measured"] == measured
    assert f"{path} is damaged" in capsys.readouterr().err
    assert read_measurement(path)["measured"] == measured


def test_damaged_measurements_are_named_and_the_record_stays(results, measured):
    (path,) = (results / MEASUREMENTS).glob("*.json")
    text = path.read_text()
    hollow = record_text({**json.loads(text), "measured": {"interventions": {}}})
    for damage in (text[:50], "{}", "[]", hollow):
        path.write_text(damage)
        records, problems = read_records(results)
        assert [len(records), len(problems)] == [1, 1]
        assert str(path) in problems[0]
        assert "measured" not in records[0]
    path.write_text(text)
