"""Methods without a network: their features, how they choose, and their records."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from mnist_attention.data import Dataset
from mnist_attention.evidence import ablations, costs, report, tables
from mnist_attention.evidence import runs as evidence
from mnist_attention.records import (
    is_finished,
    record_path,
    reproducible_text,
    write_record,
)
from mnist_attention.storage.mnist import MNIST_DIGEST
from mnist_attention.storage.record_format import RECORD_KEYS, mnist_test_labels
from mnist_attention.studies import catalogue
from mnist_attention.studies import run as studies
from mnist_attention.studies.classical import (
    METHODS,
    ClassicalProtocol,
    PatchCodes,
    choose_and_fit,
    fit,
    pattern_histograms,
    pixels,
)
from mnist_attention.studies.options import RunOptions

NEIGHBOURS = ClassicalProtocol(dataset="uci")


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> dict:
    return fit(NEIGHBOURS, RunOptions(results=tmp_path_factory.mktemp("results")))


@pytest.fixture(autouse=True)
def _few_patches(monkeypatch):
    """A dictionary of less, in less time."""
    monkeypatch.setattr(PatchCodes, "sample", 500)


# Features


def test_pixels_are_rows_from_zero_to_one(uci):
    rows = pixels(uci.test_images[:3])
    assert rows.shape == (3, 784)
    np.testing.assert_allclose(rows[1].reshape(28, 28), uci.test_images[1] / 255, rtol=1e-6)
    np.testing.assert_array_equal(pixels(uci.test_images[:3] / 255), rows)


def test_a_pattern_histogram_has_the_shares_of_each_cell():
    images = np.zeros((2, 28, 28), np.uint8)
    images[1, :14, :14] = np.random.default_rng(0).integers(0, 256, (14, 14))
    histograms = pattern_histograms(images, cells=2).reshape(2, 4, 59)
    np.testing.assert_allclose((histograms**2).sum(axis=-1), 1)
    # On empty paper all neighbours are as bright as the centre: one pattern everywhere.
    assert (histograms[0] > 0).sum() == 4
    assert (histograms[1, 0] > 0).sum() > 10
    np.testing.assert_array_equal(histograms[1, 3], histograms[0, 3])


def test_patch_codes_see_where_and_not_how_bright_the_paper_is():
    generator = np.random.default_rng(0)
    digits = generator.integers(0, 128, (40, 28, 28)).astype(np.uint8)
    encoder = PatchCodes(atoms=8, threshold=0.1).fit(digits)
    assert encoder.dictionary_.components_.shape == (8, 25)
    codes = encoder.transform(digits).reshape(40, 4, 4, 16)
    assert (codes >= 0).all()
    np.testing.assert_allclose(
        encoder.transform(digits + np.uint8(100)).reshape(codes.shape), codes, atol=1e-6
    )
    digits[:, :12, :12] = 50  # without structure: no code
    assert np.abs(encoder.transform(digits).reshape(codes.shape)[:, 0, 0]).max() < 1e-6


def test_a_higher_threshold_gives_sparser_codes(uci):
    low, high = (
        PatchCodes(atoms=8, threshold=threshold).fit(uci.train_images[:60])
        for threshold in (0.05, 0.5)
    )
    shares = [np.mean(encoder.transform(uci.test_images[:20]) != 0) for encoder in (low, high)]
    assert shares[0] > 1.5 * shares[1]


# Choosing


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_the_digits(name, small):
    search = choose_and_fit(ClassicalProtocol(dataset="uci", model=name), small)
    assert np.mean(search.predict(small.test_images) == small.test_labels) > 0.85
    assert len(search.cv_results_["params"]) == np.prod(
        [len(values) for values in METHODS[name].candidates.values()]
    )


def test_the_choice_never_sees_the_test_images(small, monkeypatch):
    scrambled = Dataset(
        "uci",
        small.train_images,
        small.train_labels,
        small.test_images[::-1],
        np.roll(small.test_labels, 7),
    )
    first, second = (choose_and_fit(NEIGHBOURS, digits) for digits in (small, scrambled))
    assert first.best_params_ == second.best_params_
    np.testing.assert_array_equal(
        first.cv_results_["mean_test_score"], second.cv_results_["mean_test_score"]
    )


def test_the_split_holds_images_out(small):
    search = choose_and_fit(NEIGHBOURS, small)
    ((fitted, chosen_on),) = search.cv.split(small.train_images, small.train_labels)
    assert (len(fitted), len(chosen_on)) == (250, 50)
    assert not set(fitted) & set(chosen_on)


def test_nearest_neighbours_by_hand(small):
    images, labels = pixels(small.train_images), small.train_labels
    fitted, held_out = train_test_split(np.arange(300), test_size=50, random_state=1)
    distances = ((images[held_out][:, None] - images[fitted]) ** 2).sum(axis=-1)
    method = METHODS["nearest_neighbours"].pipeline(0).set_params(classifier__n_neighbors=1)
    method.fit(small.train_images[fitted], labels[fitted])
    np.testing.assert_array_equal(
        method.predict(small.train_images[held_out]), labels[fitted][distances.argmin(axis=1)]
    )


# Records


def test_a_record_is_like_a_networks(record, uci):
    assert set(record) == set(RECORD_KEYS)
    assert record["run_id"] == NEIGHBOURS.run_id(uci.digest)
    assert record["protocol"]["candidates"] == {"classifier__n_neighbors": [1, 3, 5]}
    predictions = np.array([int(digit) for digit in record["test_predictions"]])
    assert record["result"]["test_accuracy"] == np.mean(predictions == uci.test_labels)
    best = max(tried["accuracy"] for tried in record["result"]["selection"])
    chosen = record["result"]["chosen"]
    assert {**chosen, "accuracy": best} in record["result"]["selection"]
    assert is_finished(record)


def test_the_same_seed_gives_the_same_record(record, tmp_path):
    again = fit(NEIGHBOURS, RunOptions(results=tmp_path))
    assert reproducible_text(again) == reproducible_text(record)


def test_method_seed_and_digits_name_a_run():
    names = {
        ClassicalProtocol(model=model, seed=seed).run_id(digest)
        for model in METHODS
        for seed in (0, 1)
        for digest in ("a", "b")
    }
    assert len(names) == 4 * len(METHODS)


def test_a_finished_method_is_not_repeated(tmp_path, monkeypatch):
    first = fit(NEIGHBOURS, RunOptions(results=tmp_path))
    assert record_path(tmp_path, "single", first["run_id"]).is_file()
    monkeypatch.setattr(
        "mnist_attention.studies.classical.choose_and_fit", lambda *_: pytest.fail("again")
    )
    assert fit(NEIGHBOURS, RunOptions(results=tmp_path)) == first


@pytest.mark.parametrize("field", ["model", "dataset"])
def test_an_unknown_name_is_refused_with_those_that_exist(field):
    with pytest.raises(ValueError, match=rf"Expected {field} to be one of .*Received: {field}='x'"):
        ClassicalProtocol(**{field: "x"})


def test_a_seed_that_no_generator_takes_is_refused():
    with pytest.raises(ValueError, match=r"from 0 to 2\*\*32 - 1\. Received: seed=-1"):
        ClassicalProtocol(seed=-1)


def test_tables_take_the_records_of_methods_and_networks_together(record, tmp_path):
    """As if the digits were MNIST, which the tables insist on."""
    mine = {
        **record,
        "run_id": replace(NEIGHBOURS, dataset="mnist").run_id(MNIST_DIGEST),
        "protocol": {**record["protocol"], "dataset": "mnist"},
        "dataset": {
            "name": "mnist",
            "digest": MNIST_DIGEST,
            "train_size": 60_000,
            "test_size": 10_000,
        },
        "result": {**record["result"], "test_accuracy": 1.0},
        "test_predictions": mnist_test_labels().tobytes().decode(),
    }
    write_record(mine, tmp_path, "classical")
    records = evidence.RunTable.read(tmp_path)
    assert records.problems == []
    assert report.report(records) == 0
    table = tables.paper_table(records, 1).set_index("network")["test, ours"]
    assert table["k-nearest neighbours"] == "100.00 (one run)"
    assert table["RBF SVM on 50 principal components"] == "missing"
    neighbours = evidence.runs_of({"model": "nearest_neighbours"}, records)
    assert costs.median_seconds(neighbours) == record["environment"]["seconds"]
    assert not any(row.effect.n for row in ablations.effects(records))


def test_the_tables_know_every_method():
    rows = evidence.BEYOND["no network"].values()
    assert [row["model"] for row in rows] == [*METHODS]


def test_a_study_runs_methods_and_skips_finished_ones(tmp_path, monkeypatch):
    mine = catalogue.Study("?", (), (NEIGHBOURS,))
    monkeypatch.setitem(catalogue.STUDIES, "mine", mine)
    options = {"seeds": 2, "results": tmp_path, "jobs": 2, "verbose": False}
    outcome = studies.run_study("mine", **options)
    assert (outcome.finished, outcome.failed) == (2, {})
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("mine/*.json")}
    assert studies.run_study("mine", **options).finished == 2
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("mine/*.json")} == before


def test_no_method_needs_a_deep_learning_library():
    code = (
        "import sys; from mnist_attention.studies import classical, run\n"
        "sys.exit(bool({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], env={**os.environ}, check=False).returncode
        == 0
    )
