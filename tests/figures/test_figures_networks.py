"""Figures of the systems of Table 1."""

import pytest

from mnist_attention.evidence import costs
from mnist_attention.evidence import runs as evidence
from mnist_attention.figures import networks, save
from synthetic import make_record, make_runs


@pytest.fixture
def records() -> list[dict]:
    """LeNet in full, one network cut short, one classical method."""
    full = make_runs([0.983, 0.984, 0.982], model="lenet5")
    short = make_runs([0.95], model="vgg16", epochs_done=2)
    for record in full + short:
        rising = [0.9 + 0.0005 * epoch for epoch in range(record["result"]["epochs"])]
        record["history"] = {"accuracy": rising, "test_accuracy": rising}
    method = make_record(0.97, 1.0, model="nearest_neighbours", seconds=[])
    method["history"], method["environment"]["seconds"] = {}, 40.0
    del method["result"]["parameters"]
    return [*full, *short, method]


def test_what_costs_nothing_known_is_a_line_and_what_is_cut_short_is_hollow(records):
    figure = networks.accuracy_over_cost(costs.systems(records))
    axis = figure.axes[0]
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    methods = "no network, from the top:\nk-nearest neighbours"
    assert set(said) == {"LeNet", "VGG16 (2 of 100 epochs)", methods}
    lenet, vgg16 = (container.lines[0] for container in axis.containers)
    assert lenet.get_xdata() == [costs.MULTIPLY_ACCUMULATES["lenet5"]]
    assert lenet.get_ydata() == pytest.approx([100 - 98.3])
    assert vgg16.get_markerfacecolor() == "none"
    assert lenet.get_markerfacecolor() != "none"
    # Three seeds have an interval, one has none.
    assert [container.has_yerr for container in axis.containers] == [True, False]
    assert axis.yaxis.get_inverted()


def test_each_network_has_its_panel_with_both_curves(records):
    runs = {system.name: system.runs for system in costs.systems(records)[:5]}
    figure = networks.training_and_test(runs)
    panels = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in panels] == ["LeNet", "VGG16, 2 of 100 epochs"]
    test, training, end = panels[0].get_lines()
    assert len(test.get_xdata()) == len(training.get_xdata()) == 100
    assert end.get_ydata() == pytest.approx([0.5])
    assert all(axis.yaxis.get_inverted() for axis in panels)
    assert len(figure.legends[0].get_texts()) == 3


@pytest.mark.parametrize(("epochs", "ticks"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3])])
def test_few_epochs_are_marked_by_whole_numbers(epochs, ticks):
    (record,) = make_runs([0.9], model="vgg16", epochs_done=epochs)
    record["history"]["test_accuracy"] = record["history"]["accuracy"]
    runs = {"VGG16": evidence.runs_of({"model": "vgg16"}, [record])}
    axis = networks.training_and_test(runs).axes[0]
    low, high = axis.get_xlim()
    assert [tick for tick in axis.get_xticks() if low <= tick <= high] == ticks
    assert high - low >= 1


def test_without_any_run_there_is_still_a_figure(tmp_path, monkeypatch):
    monkeypatch.setattr("mnist_attention.storage.paths.FIGURES", tmp_path)
    systems = costs.systems([])
    assert save(networks.accuracy_over_cost(systems), "cost").stat().st_size > 0
    nothing = {system.name: system.runs for system in systems}
    assert save(networks.training_and_test(nothing), "curves").stat().st_size > 0


def test_the_same_records_give_the_same_bytes(records, tmp_path, monkeypatch):
    monkeypatch.setattr("mnist_attention.storage.paths.FIGURES", tmp_path)
    systems = costs.systems(records)
    one, two = (
        save(networks.accuracy_over_cost(systems), name).read_bytes() for name in ("one", "two")
    )
    assert one == two
