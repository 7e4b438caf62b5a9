"""Build the page where anyone draws a digit: weights, presets and backgrounds in one HTML file."""

import argparse
import base64
import dataclasses
import io
import json
import string
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image

from mnist_attention import PAPER, Protocol, build_model, load_dataset
from mnist_attention.data import Dataset
from mnist_attention.evidence import predictions_of, runs_of
from mnist_attention.evidence.attention import MASKED, PLAIN, measured, plain_and_masked
from mnist_attention.evidence.runs import corrected_labels, pairs, reported_value, value_of
from mnist_attention.figures.style import VALUE_MAP
from mnist_attention.noise import BACKGROUNDS, SPLITS
from mnist_attention.probes.interventions import shuffled
from mnist_attention.records import read_records
from mnist_attention.storage.paths import FIGURES, RESULTS, WEIGHTS

SOURCES = Path(__file__).with_name("draw")
SCRIPTS = ("lenet.js", "drawing.js", "page.js")
LARGEST_PAGE = 800_000  # bytes

SEED = 0
NOISE = {  # key in the page's address -> name and gamma of the package's background
    "uniform": ("uniform", 0.0),
    "gaussian": ("gaussian", 0.5),
    "texture": ("gaussian", 1.0),
    "photographs": ("photographs", 0.0),
    "clutter": ("clutter", 0.0),
}
WRONG_PER_GROUP = 4
MASK_LAYERS = ("c1", "c1_attention", "c3", "c3_attention")


def trained_pair(records: list[dict]) -> dict[str, tuple[dict, Protocol]]:
    """Model name -> record and protocol of its run of the paper's protocol with seed `SEED`."""
    pair = {}
    for name in (PLAIN, MASKED):
        protocol = dataclasses.replace(PAPER, model=name, seed=SEED)
        runs = runs_of({"model": name}, records).records
        found = [record for record in runs if record["protocol"]["seed"] == SEED]
        if not found:
            raise ValueError(
                f"Expected a record of {name} with seed {SEED} in {RESULTS}. Received: none. "
                "Run: mnist-attention study lenets"
            )
        pair[name] = (found[0], protocol)
    return pair


def paired_runs(records: list[dict]) -> list[tuple[dict, dict]]:
    """The records of the paper's protocol without and with the mask, a pair a seed."""
    return [*pairs(*plain_and_masked({}, records)).values()]


def load_networks(records: list[dict]) -> dict:
    """The networks of the page as Keras models: the trained pair, and the masked one untrained."""
    networks, pair = {}, trained_pair(records)
    for name, (record, protocol) in pair.items():
        networks[name] = build_model(protocol)
        networks[name].load_weights(WEIGHTS / f"{record['run_id']}.weights.h5")
    _, protocol = pair[MASKED]
    return {**networks, "untrained": build_model(protocol)}


def embed_network(network, names: tuple[str, ...] = ()) -> dict:
    """Weights as base64 of float32, layer by layer, and the shape of each array."""
    layers = [
        layer for layer in network.layers if layer.weights and (not names or layer.name in names)
    ]
    arrays = [[np.asarray(array, "<f4") for array in layer.get_weights()] for layer in layers]
    return {
        "shapes": {
            layer.name: [array.shape for array in found]
            for layer, found in zip(layers, arrays, strict=True)
        },
        "weights": encode(np.concatenate([array.ravel() for found in arrays for array in found])),
    }


def encode(array: np.ndarray) -> str:
    """The bytes of an array as base64."""
    return base64.b64encode(array.tobytes()).decode()


def choose_presets(records: list[dict], dataset: Dataset) -> list[dict]:
    """Test images that both networks read right, one per class, and ones that they misread.

    Misread images are ranked by the number of seeds that misread them in the same way, and no two
    of a group have the same label. Images whose label is in doubt are left out.
    """
    certain = corrected_labels() == dataset.test_labels
    plain, masked = (
        np.array([predictions_of(record) for record in column]) == dataset.test_labels
        for column in zip(*paired_runs(records), strict=True)
    )
    groups = {
        "right": (plain & masked, True, 10),
        "masked wrong": (plain & ~masked, False, WRONG_PER_GROUP),
        "plain wrong": (~plain & masked, False, WRONG_PER_GROUP),
        "both wrong": (~plain & ~masked, False, WRONG_PER_GROUP),
    }
    presets = []
    for group, (holds, by_label, count) in groups.items():
        ranked = np.argsort(-holds.sum(axis=0), kind="stable")
        first_of_label = {}
        for index in ranked[(holds[SEED] & certain)[ranked]].tolist():  # rows are sorted by seed
            first_of_label.setdefault(int(dataset.test_labels[index]), index)
        chosen = list(first_of_label.items())[:count]
        presets += [
            {"group": group, "index": index, "label": label, "pixels": dataset.test_images[index]}
            for label, index in (sorted(chosen) if by_label else chosen)
        ]
    return presets


def make_backgrounds() -> dict[str, np.ndarray]:
    """The background behind the first test image: key in `NOISE` -> float32, `(28, 28)`."""
    generator = (0, SPLITS.index("test"), 0, 1)  # as `add_noise` seeds the first test image
    return {
        key: BACKGROUNDS[name]([np.random.default_rng(generator)], gamma, "test")[0].astype("<f4")
        for key, (name, gamma) in NOISE.items()
    }


def shuffled_places(side: int) -> np.ndarray:
    """The order in which the package's intervention takes the places of a mask."""
    places = np.arange(side * side).reshape(1, side, side, 1)
    return np.asarray(shuffled(places), "<u2").ravel()


def page_data(records: list[dict], dataset: Dataset) -> dict:
    """Everything that the page's scripts compute with; see `SCRIPTS`."""
    networks = load_networks(records)
    colours = colormaps[VALUE_MAP](np.arange(256), bytes=True)[:, :3]
    return {
        "networks": {
            PLAIN: embed_network(networks[PLAIN]),
            MASKED: embed_network(networks[MASKED]),
            "untrained": embed_network(networks["untrained"], MASK_LAYERS),
        },
        "shuffled": {"c1": encode(shuffled_places(28)), "c3": encode(shuffled_places(10))},
        "backgrounds": {key: encode(found) for key, found in make_backgrounds().items()},
        "presets": [
            {**preset, "pixels": encode(preset["pixels"])}
            for preset in choose_presets(records, dataset)
        ],
        "colours": encode(colours),
    }


def page_numbers(records: list[dict]) -> dict[str, str]:
    """The numbers in the page's text, in percent."""
    pair = trained_pair(records)
    columns = zip(*paired_runs(records), strict=True)
    plain, masked = ([value_of(record) for record in column] for column in columns)
    results = {name: record["result"] for name, (record, _) in pair.items()}
    replaced = measured({"model": MASKED}, records)[SEED]["interventions"]
    return {
        "seeds": str(len(plain)),
        "plain_mean": f"{np.mean(plain):.2f}",
        "masked_mean": f"{np.mean(masked):.2f}",
        "plain_paper": f"{reported_value('LeNet')}",
        "masked_paper": f"{reported_value('LeNet+Attention')}",
        "plain_seed": f"{100 * results[PLAIN]['test_accuracy']:.1f}",
        "masked_seed": f"{100 * results[MASKED]['test_accuracy']:.1f}",
        "ones_seed": f"{100 * replaced['ones']:.1f}",
        "mask_parameters": str(results[MASKED]["parameters"] - results[PLAIN]["parameters"]),
    }


def small_figure() -> str:
    """The ten digits with their masks, for readers without JavaScript: a PNG as base64."""
    with Image.open(FIGURES / "04_ten_digits.png") as figure:
        width = 560
        small = figure.convert("RGB").resize(
            (width, round(figure.height * width / figure.width)), Image.Resampling.LANCZOS
        )
    file = io.BytesIO()
    small.quantize(24, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def build(records: list[dict], dataset: Dataset) -> str:
    """The page as HTML.

    Raises:
        ValueError: if a record is missing, or the page is larger than `LARGEST_PAGE`.
        OSError: if a file of weights or the figure is missing.
    """
    template = string.Template((SOURCES / "page.html").read_text(encoding="utf-8"))
    page = template.substitute(
        page_numbers(records),
        style=(SOURCES / "page.css").read_text(encoding="utf-8"),
        script="\n".join((SOURCES / name).read_text(encoding="utf-8") for name in SCRIPTS),
        data=json.dumps(page_data(records, dataset), separators=(",", ":")),
        figure=small_figure(),
    )
    size = len(page.encode())
    if size > LARGEST_PAGE:
        raise ValueError(f"Expected a page of at most {LARGEST_PAGE:,} bytes. Received: {size:,}")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/site/draw.html"))
    output = parser.parse_args().output
    records, _ = read_records(RESULTS)
    page = build(records, load_dataset("mnist"))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page, encoding="utf-8")
    print(f"{output}: {len(page.encode()):,} bytes")


if __name__ == "__main__":
    main()
