"""Measurements of a trained network: accuracy on disturbed digits, scores of its masks.

A measurement is one JSON file per network, beside the records and under the same name;
`records.read_records` joins the two.
"""

import functools
import json
import shlex
import tempfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from scipy import stats

from ..data import Dataset, ink, load_dataset
from ..layers import AttentionMask1x1
from ..models import build_model, initial_protocol
from ..noise import BACKGROUND_CONDITIONS, CLEAN, CORRUPTION_CONDITIONS, HALF_AND_FULL, Condition
from ..protocol import Protocol, cli_options
from ..records import MEASUREMENTS, read_measurement, read_or_none, record_path, write_record
from ..storage.checkpoints import resume_state
from ..storage.machine import describe_machine
from ..storage.paths import WEIGHTS
from ..storage.states import checkpoint_path
from ..training import default_configuration, predict_classes, start_model, train
from . import masks
from .interventions import INTERVENTIONS, draw_seeds, intervene, reinitialise_from_the_top
from .scores import SCORES, TRIVIAL_MAPS, mask_on_image

# Test images, always the first ones; accuracies are of all test images.
SCORED = 2_000  # on which maps are scored
PERTURBED = 500  # for deletion and insertion: 29 evaluations of each, for every map
COMPARED = 500  # on which maps are compared before and after weights are re-initialised

Scores = dict[str, dict[str, float]]  # of a map -> name of the score -> mean over the images


class Conditions:
    """The disturbed test digits of a dataset, and the scores that no training changes; cached."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset
        self.images = functools.cache(lambda how: how.apply(dataset.test_images, "test"))
        self.trivial = functools.cache(self._trivial)
        self.untrained = functools.cache(self._untrained)

    @functools.cached_property
    def ink(self) -> np.ndarray:
        return ink(self.images(CLEAN)[:SCORED])

    def _trivial(self, condition: Condition) -> Scores:
        images = self.images(condition)[:SCORED]
        return {name: _mean_scores(make(images), self.ink) for name, make in TRIVIAL_MAPS.items()}

    def _untrained(self, start: Protocol, condition: Condition) -> Scores:
        return _mask_scores(build_model(start), self.images(condition)[:SCORED], self.ink)


def measure(model: keras.Model, protocol: Protocol, shown: Conditions) -> dict:
    """The measurement of one trained network, with masks or without.

    A network that was trained on a background is measured on backgrounds alone, at half and full
    strength.

    Returns:
        `conditions`: name of a condition -> `accuracy` (fraction of all test images) and, for
        clean digits, backgrounds and a network with masks, mean scores over the first `SCORED`
        images: `masks` and `untrained`: layer -> score; `trivial`: map -> score (`snr_gain_db` in
        decibels).

        For masks trained on clean digits also: `interventions`: name -> accuracy.
        `perturbation`: mask layer, `<layer> untrained` or trivial map -> `deletion` and
        `insertion`. `reinitialised_draws`: layer down to which the weights are re-initialised, from
        the output -> mask layer -> mean rank correlation with the trained map, one value for each
        of the network's own draws (`interventions.draw_seeds`).
    """
    start = initial_protocol(protocol)
    knows_clean = protocol.background == "none"
    clean, labels = shown.images(CLEAN), shown.dataset.test_labels
    disturbed = (*BACKGROUND_CONDITIONS, *CORRUPTION_CONDITIONS) if knows_clean else HALF_AND_FULL
    with_masks = any(isinstance(layer, AttentionMask1x1) for layer in model.layers)

    def accuracy(network: keras.Model, images: np.ndarray) -> float:
        return float(np.mean(predict_classes(network, images) == labels))

    def measure_condition(condition: Condition) -> dict:
        images = shown.images(condition)
        found: dict = {"accuracy": accuracy(model, images)}
        if with_masks and condition not in CORRUPTION_CONDITIONS:
            found["masks"] = _mask_scores(model, images[:SCORED], shown.ink)
            found["untrained"] = shown.untrained(start, condition)
            found["trivial"] = shown.trivial(condition)
        return found

    found = {"conditions": {str(how): measure_condition(how) for how in (CLEAN, *disturbed)}}
    if with_masks and knows_clean:
        untrained, some = build_model(start), clean[:PERTURBED]
        found |= {
            "interventions": {
                kind: accuracy(intervene(model, kind), clean) for kind in INTERVENTIONS
            },
            "perturbation": _perturbation(model, untrained, some, labels[:PERTURBED]),
            "reinitialised_draws": _draws(model, clean[:COMPARED], protocol.seed),
        }
    return found


def _mask_scores(model: keras.Model, images: np.ndarray, inked: np.ndarray) -> Scores:
    gains = masks.snr_gain(model, images, inked)
    # Of gains the median: they are infinite where a mask removes all noise or all signal.
    return {
        layer: {**_mean_scores(maps, inked), "snr_gain_db": float(np.nanmedian(gains[layer]))}
        for layer, maps in _maps(model, images).items()
    }


def _mean_scores(maps: np.ndarray, inked: np.ndarray) -> dict[str, float]:
    positive = bool((maps >= 0).all())  # a linear mask may be negative: it has no mass
    return {
        name: float(np.mean(score(maps, inked)))
        for name, score in SCORES.items()
        if positive or name != "relevance_mass"
    }


def _perturbation(
    model: keras.Model, untrained: keras.Model, images: np.ndarray, labels: np.ndarray
) -> Scores:
    """All maps are tried on the trained network, so that only the order of the pixels differs."""
    orders = {
        **_maps(model, images),
        **{f"{layer} untrained": maps for layer, maps in _maps(untrained, images).items()},
        **{name: make(images) for name, make in TRIVIAL_MAPS.items()},
    }
    areas = {"deletion": masks.deletion, "insertion": masks.insertion}
    return {
        name: {key: float(area(model, images, labels, maps).mean()) for key, area in areas.items()}
        for name, maps in orders.items()
    }


def reinitialised(model: keras.Model, images: np.ndarray, seed: int) -> Scores:
    """Layer down to which weights are re-initialised -> mask layer -> `agreement` with before."""
    before = _maps(model, images)
    return {
        lost: {layer: agreement(maps, before[layer]) for layer, maps in _maps(copy, images).items()}
        for lost, copy in reinitialise_from_the_top(model, seed)
    }


def _draws(model: keras.Model, images: np.ndarray, seed: int) -> dict[str, dict[str, list[float]]]:
    draws = [reinitialised(model, images, each) for each in draw_seeds(seed)]
    return {
        lost: {layer: [draw[lost][layer] for draw in draws] for layer in found}
        for lost, found in draws[0].items()
    }


def _maps(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    found = masks.attention_maps(model, images)
    canvas = model.input_shape[1:3]
    return {layer: mask_on_image(scores, canvas=canvas) for layer, scores in found.items()}


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Mean over the images of Spearman's rank correlation of two maps, shape `(n, height, width)`.

    A constant map correlates with none: 0.
    """
    first, second = (stats.rankdata(m.reshape(len(m), -1), axis=1) for m in (first, second))
    first, second = (m - m.mean(axis=1, keepdims=True) for m in (first, second))
    norm = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    return float(np.mean((first * second).sum(axis=1) / np.where(norm > 0, norm, 1)))


# Trained networks


def load_trained(
    protocol: Protocol, dataset: Dataset, weights: Path = WEIGHTS
) -> keras.Model | None:
    """The network at the end of a run, or `None` if the folder `weights` does not have its weights;
    an `OSError` if these are damaged."""
    path = Path(weights) / f"{protocol.run_id(dataset.digest)}.weights.h5"
    if not path.is_file():
        return None
    model = start_model(protocol, dataset)
    try:
        model.load_weights(path)
    except (KeyError, OSError, RuntimeError, ValueError) as error:  # whatever h5py and Keras meet
        raise OSError(f"{path} is damaged, or of another network: {error}") from error
    return model


def load_or_train_briefly(
    protocol: Protocol, dataset: Dataset, epochs: int, weights: Path = WEIGHTS
) -> tuple[keras.Model, str]:
    """The network at the end of a run, and ""; without its weights, one that is trained for a few
    epochs, and a notice of that."""
    if (model := load_trained(protocol, dataset, weights)) is not None:
        return model, ""
    brief = replace(protocol, epochs=epochs)
    with tempfile.TemporaryDirectory() as folder:
        train(brief, dataset=dataset, weights=folder, verbose=False)
        notice = f"trained for {epochs} of {protocol.epochs} epochs"
        return load_trained(brief, dataset, Path(folder)), notice


def trained_model(
    protocol: Protocol, dataset: Dataset, results: Path, weights: Path | None = None
) -> keras.Model:
    """The network at the end of a run: from the folder of kept `weights`, else from its state.

    Raises:
        FileNotFoundError: if neither is there; the message has the command that makes them.
    """
    if weights and (kept := load_trained(protocol, dataset, weights)) is not None:
        return kept
    checkpoint = checkpoint_path(Path(results), protocol, dataset.digest)
    state = resume_state(protocol, dataset, checkpoint)
    if not state.variables or not state.has_ended(protocol.epochs):
        folders = shlex.join(["--results", str(results), "--weights", str(weights or WEIGHTS)])
        raise FileNotFoundError(
            f"Expected the trained weights of run {protocol.run_id(dataset.digest)} "
            f"({protocol.model}, seed {protocol.seed}) in {checkpoint.parent}"
            f"{f' or {weights}' if weights else ''}. Received: none after "
            f"{protocol.epochs} epochs. This trains it, also where it has a record: "
            f"mnist-attention train {cli_options(protocol)} {folders}"
        )
    return start_model(protocol, dataset, state)


@functools.cache
def load_conditions(name: str) -> Conditions:
    """The `Conditions` of a dataset, made once in a process."""
    return Conditions(load_dataset(name))


@default_configuration()
def measure_run(
    protocol: Protocol, shown: Conditions, results: Path, weights: Path | None = None
) -> dict:
    """Measure the network of a finished run once; write and return its measurement.

    A damaged one is rebuilt. Arguments and errors are those of `trained_model`.
    """
    name = protocol.run_id(shown.dataset.digest)
    if there := read_or_none(record_path(results, MEASUREMENTS, name), read_measurement):
        return there
    model = trained_model(protocol, shown.dataset, results, weights)
    found = json.dumps(measure(model, protocol, shown))
    measurement = {
        "run_id": name,
        "protocol": protocol.to_json(),
        "dataset": shown.dataset.to_json(),
        # More than six decimals carry no information.
        "measured": json.loads(found, parse_float=lambda text: round(float(text), 6)),
        "images": {"scored": SCORED, "perturbed": PERTURBED, "compared": COMPARED},
        "environment": describe_machine("keras", keras.backend.backend(), "numpy", "scipy"),
    }
    write_record(measurement, results, MEASUREMENTS)
    return measurement
