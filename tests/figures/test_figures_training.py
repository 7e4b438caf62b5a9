"""Figures of networks, runs and tables: what they show, and the same bytes every time."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.metrics import confusion_matrix

from mnist_attention import PAPER, build_model, figures
from mnist_attention.data import network_input
from mnist_attention.evidence import runs as evidence
from mnist_attention.figures import architecture, tables, training
from mnist_attention.figures.architecture import LayerRow
from mnist_attention.storage import paths
from mnist_attention.storage.mnist import MNIST_DIGEST
from synthetic import make_record


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Nothing is ever written over the committed figures."""
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    return tmp_path


def history(*accuracies: float | None) -> dict:
    """A history with these test accuracies."""
    return {
        "loss": [1 / (epoch + 1) for epoch, _ in enumerate(accuracies)],
        "accuracy": list(accuracies),
        "test_accuracy": list(accuracies),
    }


def run(test_accuracy: float, **changes) -> dict:
    """A record of a run on real MNIST."""
    return make_record(test_accuracy, test_accuracy + 0.004, digest=MNIST_DIGEST, **changes)


def make_figures(uci) -> dict[str, Figure]:
    """Every figure of this floor, by name."""
    labels = uci.test_labels.astype(int)
    said = {"one": labels, "other": (labels + (np.arange(len(labels)) % 20 == 0)) % 10}
    records = [run(0.98 + seed / 1000, seed=seed) for seed in range(3)]
    maps = np.linspace(0, 1, 28 * 28 * 6).reshape(28, 28, 6)
    return {
        "network": architecture.network([LayerRow("c1", "Conv2D", (28, 28, 6), 156)]),
        "mask_module": architecture.mask_module(maps, maps[..., :1], maps / 2, "1x1"),
        "learning_curves": training.learning_curves({"one": [history(0.5, 0.9)]}, {"one": 0.977}),
        "confusion": training.confusion(labels, said),
        "mistakes": training.mistakes(uci.test_images, labels, said),
        "table": tables.table(tables.points(records, 2), "learning rate"),
    }


def texts(figure: Figure) -> list[str]:
    """Everything that is written inside the axes of a figure."""
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def test_every_figure_is_the_same_byte_for_byte_when_made_again(uci):
    before = {
        name: figures.save(figure, name).read_bytes() for name, figure in make_figures(uci).items()
    }
    with mpl.rc_context({"font.size": 20, "image.cmap": "jet", "lines.linewidth": 9}):
        after = {
            name: figures.save(figure, name).read_bytes()
            for name, figure in make_figures(uci).items()
        }
    assert [name for name in before if before[name] != after[name]] == []


def test_figures_from_records_load_no_tensorflow():
    code = (
        "import sys; from mnist_attention.figures import architecture, tables, training; "
        "tables.table(tables.points([], 1)); assert not {'tensorflow', 'keras'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# The network


def test_layer_rows_are_the_layers_of_the_model():
    model = build_model(PAPER)
    rows = architecture.layer_rows(model)
    assert rows[1:4] == [
        LayerRow("c1", "Conv2D", (28, 28, 6), 156),
        LayerRow("c1_attention", "AttentionMask1x1", (28, 28, 6), 7),
        LayerRow("s2", "MaxPooling2D", (14, 14, 6), 0),
    ]
    assert sum(row.parameters for row in rows) == model.count_params()


def test_network_draws_every_map_of_every_layer_to_scale():
    rows = [LayerRow("c3", "Conv2D", (10, 12, 16), 2416), LayerRow("f6", "Dense", (84,), 10164)]
    figure = architecture.network(rows)
    drawn = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert [(patch.get_width(), patch.get_height()) for patch in drawn[:16]] == [(12, 10)] * 16
    assert [patch.get_height() for patch in drawn[16:]] == [84 / architecture.UNITS_PER_PIXEL]
    assert {"c3", "f6", "Conv2D\n10\u00d712\u00d716\n2,416\nparameters"} <= {*texts(figure)}


def test_mask_module_shows_the_mask_on_a_scale_from_0_to_1(uci):
    model = build_model(PAPER)
    features = model.get_layer("c1")(network_input(uci.test_images[:1]))
    pair = model.get_layer("c1_attention")(features, return_attention_scores=True)
    features, outputs, scores = (np.asarray(value)[0] for value in (features, *pair))
    figure = architecture.mask_module(features, scores, outputs, "1x1")
    images = figure.axes[0].images
    assert len(images) == 6 + 1 + 6
    mask = images[6]
    assert mask.get_clim() == (0, 1)
    np.testing.assert_allclose(mask.get_array(), scores[..., 0], atol=1 / 62 + 1e-6)
    assert images[0].get_clim() == images[-1].get_clim()


# Runs


def test_learning_curves_show_errors_mean_and_range_over_seeds():
    figure = training.learning_curves({"LeNet": [history(0.5, 0.9), history(0.7, 0.95)]})
    axis = figure.axes[-1]
    (line,) = axis.lines
    np.testing.assert_allclose(line.get_ydata(), [40, 7.5])
    np.testing.assert_array_equal(line.get_xdata(), [1, 2])
    assert line.get_label() == "LeNet (2 seeds)"
    band = axis.collections[0].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose(sorted({*band.round(6)}), [5, 10, 30, 50])
    legend = figure.legends[0].get_title().get_text()
    assert legend == "line: mean over the seeds; band: from the least to the most"
    assert axis.yaxis.get_inverted()  # better is higher
    assert axis.yaxis.get_major_formatter()(2, 0) == "98"


def test_learning_curves_end_where_a_run_diverged():
    figure = training.learning_curves({"LeNet": [history(0.5, None)]})
    np.testing.assert_array_equal(figure.axes[-1].lines[0].get_xdata(), [1])


def test_learning_curves_of_one_seed_have_no_band_to_explain():
    figure = training.learning_curves({"LeNet": [history(0.5, 0.9)]})
    assert figure.legends[0].get_title().get_text() == ""
    assert len(figure.axes[-1].collections) == 0


def test_learning_curves_of_one_epoch_have_one_tick():
    axis = training.learning_curves({"LeNet": [history(0.5)]}).axes[-1]
    assert ([*axis.get_xticks()], axis.get_xlim()) == ([1], (0, 2))


def test_learning_curves_mark_what_the_paper_reports():
    figure = training.learning_curves({"LeNet": [history(0.5, 0.9)]}, {"LeNet": 0.977})
    assert figure.axes[-1].lines[-1].get_ydata()[0] == pytest.approx(2.3)


def test_confusion_counts_like_scikit_learn_and_colours_mistakes_only():
    generator = np.random.default_rng(0)
    labels, said = generator.integers(0, 10, (2, 400))
    figure = training.confusion(labels.astype("uint8"), {"LeNet": said})
    axis = figure.axes[0]
    drawn = np.zeros((10, 10), int)
    for text in axis.texts:
        column, row = text.get_position()
        drawn[row, column] = int(text.get_text())
    np.testing.assert_array_equal(drawn, confusion_matrix(labels, said))
    colours = axis.images[0].get_array().filled(0)
    np.testing.assert_array_equal(colours, drawn * (1 - np.eye(10, dtype=int)))
    assert f"{np.sum(labels != said)} mistakes in 400" in axis.get_title()


@pytest.mark.parametrize(("limit", "shown"), [(40, ["1: 7, 1", "3: 3, 0"]), (1, ["1: 7, 1"])])
def test_mistakes_are_the_images_that_some_network_gets_wrong(uci, limit, shown):
    labels = np.array([0, 1, 2, 3])
    said = {"LeNet": np.array([0, 7, 2, 3]), "LeNet+Attention": np.array([0, 1, 2, 0])}
    figure = training.mistakes(uci.test_images[:4], labels, said, limit)
    assert [axis.get_title() for axis in figure.axes if axis.images] == shown
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), uci.test_images[1])


def test_mistakes_of_a_perfect_network_are_an_empty_figure(uci):
    labels = uci.test_labels[:4]
    figure = training.mistakes(uci.test_images[:4], labels, {"LeNet": labels})
    assert not any(axis.images for axis in figure.axes)


# Tables


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_points_without_records_are_the_papers_numbers_alone(number):
    points = tables.points([], number)
    reported = evidence.reported()
    assert [p.paper for p in points] == [*reported[reported.table == number].value_percent]
    assert {point.lack for point in points} == {"missing"}
    assert {point.ours.n for point in points} == {0}
    labels = tables.table(points).axes[0].get_xticklabels()
    assert all("ours: missing" in label.get_text() for label in labels)


def test_points_hold_the_runs_of_full_length_on_mnist():
    full = [run(accuracy, seed=seed) for seed, accuracy in enumerate((0.98, 0.982, 0.987))]
    short = run(0.5, learning_rate=0.1, epochs_done=2)
    other_digits = make_record(0.5, dataset="uci", learning_rate=0.001)
    points = {
        (point.row, point.metric): point for point in tables.points([*full, short, other_digits], 2)
    }
    ours = points["0.01", "test accuracy"].ours
    assert ours.n == 3
    assert ours.mean == pytest.approx(98.3)
    assert ours.low < 98.3 < ours.high
    assert points["0.01", "training accuracy"].ours.mean == pytest.approx(98.7)
    assert points["0.1", "test accuracy"].lack == "2 of 100 epochs"
    assert points["0.1", "test accuracy"].ours.n == 0
    assert points["0.001", "test accuracy"].lack.startswith("missing")


def test_table_draws_the_paper_hollow_and_ours_with_its_interval():
    records = [run(accuracy, seed=seed) for seed, accuracy in enumerate((0.98, 0.982, 0.987))]
    points = tables.points(records, 4)
    axis = tables.table(points, "epochs").axes[0]
    paper = next(line for line in axis.lines if line.get_label() == "test accuracy, paper")
    assert paper.get_markerfacecolor() == "none"
    np.testing.assert_allclose(paper.get_ydata(), [100 - 93.4, 100 - 99.3, 100 - 99.3])
    bars = {bar.get_label(): bar for bar in axis.containers}
    points_drawn, _, (intervals,) = bars["test accuracy, ours"].lines
    assert points_drawn.get_ydata()[0] == pytest.approx(1.7)
    ours = evidence.sample(evidence.runs_of({}, records))
    ends = intervals.get_segments()[0][:, 1]
    np.testing.assert_allclose(sorted(ends), [100 - ours.high, 100 - ours.low])
    assert [label.get_text() for label in axis.get_xticklabels()] == [
        "50\nours: missing",
        "100\nours: n = 3",
        "150\nours: missing",
    ]


def test_interval_beyond_100_percent_ends_on_the_axis():
    records = [run(accuracy, seed=seed) for seed, accuracy in enumerate((0.9, 0.995))]
    axis = tables.table(tables.points(records, 1)).axes[0]
    (_, _, (intervals,)) = axis.containers[0].lines
    assert min(intervals.get_segments()[0][:, 1]) > 0
