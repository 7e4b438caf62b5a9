"""What a trained network does on disturbed digits, and what its masks cover: one file per network.

A record says what a run reached; a measurement says more about the same network, and is kept
beside the records under the same name. Reading joins the two (`records.read_records`).
"""

import functools
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
from ..protocol import Protocol, cli_options, run_id, to_json
from ..records import MEASUREMENTS, read_measurement, read_or_none, write_record
from ..storage.machine import describe_machine
from ..storage.paths import WEIGHTS
from ..storage.states import checkpoint_path, is_complete
from ..training import initial_state, predict_classes, start_model
from . import masks
from .interventions import INTERVENTIONS, intervene, reinitialise_from_the_top
from .scores import SCORES, TRIVIAL_MAPS, mask_on_image

SCORED = 2_000
"""Test images, the first ones, on which maps are scored; accuracies are of all test images."""

PERTURBED = 500
"""Test images for deletion and insertion, which take 29 evaluations of each, for every map."""

COMPARED = 500
"""Test images for the comparison of maps before and after weights are drawn anew."""


class Conditions:
    """The disturbed test digits of a dataset, and what no training changes: made once for all."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset
        self.images = functools.cache(
            lambda condition: condition.apply(dataset.test_images, "test")
        )
        self.trivial = functools.cache(self._trivial)
        self.untrained = functools.cache(self._untrained)

    @functools.cached_property
    def ink(self) -> np.ndarray:
        """Where the first `SCORED` digits are, whatever is behind them."""
        return ink(self.images(CLEAN)[:SCORED])

    def _trivial(self, condition: Condition) -> dict[str, dict[str, float]]:
        images = self.images(condition)[:SCORED]
        return {name: _mean_scores(make(images), self.ink) for name, make in TRIVIAL_MAPS.items()}

    def _untrained(self, start: Protocol, condition: Condition) -> dict[str, dict[str, float]]:
        return mask_scores(build_model(start), self.images(condition)[:SCORED], self.ink)


def measure(model: keras.Model, protocol: Protocol, shown: Conditions) -> dict:
    """Everything that is measured of one trained network.

    Networks that were trained on a background are measured on backgrounds alone, at half and at
    full strength; the rest is of networks that know clean digits.

    Args:
        model: A network with `AttentionMask1x1` layers, or without.
        protocol: How it was trained; this says what it was before.
        shown: The test digits.

    Returns:
        `conditions`: name of a condition -> `accuracy` (fraction of all test images) and, for
        backgrounds and a network with masks, what the maps cover, as means over the first
        `SCORED` images: `masks` and `untrained`: layer -> score; `trivial`: map -> score
        (`snr_gain_db` in decibels). With masks also, on clean digits, `interventions`: name ->
        accuracy; `perturbation`: mask layer, `<layer> untrained` or trivial map -> `deletion` and
        `insertion`; `randomised`: layer drawn anew, from the top -> mask layer -> mean rank
        correlation with the trained map.
    """
    start = initial_protocol(protocol)
    knows_clean = protocol.background == "none"
    conditions = {
        str(condition): _condition(model, start, shown, condition)
        for condition in (
            CLEAN,
            *((*BACKGROUND_CONDITIONS, *CORRUPTION_CONDITIONS) if knows_clean else HALF_AND_FULL),
        )
    }
    if not (has_masks(model) and knows_clean):
        return {"conditions": conditions}
    clean, labels = shown.images(CLEAN), shown.dataset.test_labels
    return {
        "conditions": conditions,
        "interventions": {
            name: accuracy(intervene(model, name), clean, labels) for name in INTERVENTIONS
        },
        "perturbation": perturbation(
            model, build_model(start), clean[:PERTURBED], labels[:PERTURBED]
        ),
        "randomised": reinitialised(model, clean[:COMPARED]),
    }


def _condition(
    model: keras.Model, start: Protocol, shown: Conditions, condition: Condition
) -> dict:
    """One entry of `conditions`; see `measure`."""
    images = shown.images(condition)
    found: dict = {"accuracy": accuracy(model, images, shown.dataset.test_labels)}
    if condition in CORRUPTION_CONDITIONS or not has_masks(model):
        return found
    return found | {
        "masks": mask_scores(model, images[:SCORED], shown.ink),
        "untrained": shown.untrained(start, condition),
        "trivial": shown.trivial(condition),
    }


def has_masks(model: keras.Model) -> bool:
    """Whether there is anything to see."""
    return any(isinstance(layer, AttentionMask1x1) for layer in model.layers)


def accuracy(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images that are given their label."""
    return float(np.mean(predict_classes(model, images) == labels))


def mask_scores(
    model: keras.Model, images: np.ndarray, inked: np.ndarray
) -> dict[str, dict[str, float]]:
    """What the masks cover.

    Args:
        model: A network with masks.
        images: What it sees, shape `(n, 28, 28)`.
        inked: The ink of the clean digits, bool of the same shape.

    Returns:
        Mask layer -> score -> mean over the images; of `snr_gain_db` the median, for where a
        mask removes all noise or all signal the gain is infinite.
    """
    gains = masks.snr_gain(model, images, inked)
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


def perturbation(
    model: keras.Model, untrained: keras.Model, images: np.ndarray, labels: np.ndarray
) -> dict[str, dict[str, float]]:
    """Mean areas under the curves of deletion and insertion, in the order of each map.

    All maps are tried on the trained network: what differs is the order of the pixels alone.

    Args:
        model: The trained network, with masks.
        untrained: The same before training, whose masks are maps too.
        images: Clean digits, shape `(n, 28, 28)`.
        labels: Their classes.

    Returns:
        Mask layer, `<layer> untrained` or name of a trivial map -> `deletion` and `insertion`.
    """
    orders = {
        **_maps(model, images),
        **{f"{layer} untrained": maps for layer, maps in _maps(untrained, images).items()},
        **{name: make(images) for name, make in TRIVIAL_MAPS.items()},
    }
    return {
        name: {
            "deletion": float(np.mean(masks.deletion(model, images, labels, maps))),
            "insertion": float(np.mean(masks.insertion(model, images, labels, maps))),
        }
        for name, maps in orders.items()
    }


def reinitialised(model: keras.Model, images: np.ndarray) -> dict[str, dict[str, float]]:
    """Layer drawn anew, from the output down -> mask layer -> `agreement` with the trained map."""
    trained = _maps(model, images)
    return {
        drawn: {
            layer: agreement(maps, trained[layer]) for layer, maps in _maps(copy, images).items()
        }
        for drawn, copy in reinitialise_from_the_top(model)
    }


def _maps(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    return {
        layer: mask_on_image(scores)
        for layer, scores in masks.attention_maps(model, images).items()
    }


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Mean over the images of Spearman's rank correlation of two maps.

    Args:
        first: Shape `(n, height, width)`.
        second: Likewise. A constant map agrees with none: 0.
    """
    first, second = (stats.rankdata(m.reshape(len(m), -1), axis=1) for m in (first, second))
    first, second = (m - m.mean(axis=1, keepdims=True) for m in (first, second))
    norm = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    return float(np.mean((first * second).sum(axis=1) / np.where(norm > 0, norm, 1)))


def load_trained(
    protocol: Protocol, dataset: Dataset, weights: Path = WEIGHTS
) -> keras.Model | None:
    """The network at the end of a run, if its weights are in the folder `weights`."""
    path = Path(weights) / f"{run_id(protocol, dataset.digest)}.weights.h5"
    if not path.is_file():
        return None
    model = start_model(protocol, dataset, initial_state(protocol, dataset, None))
    model.load_weights(path)
    return model


def load_or_train_briefly(
    protocol: Protocol, dataset: Dataset, epochs: int, weights: Path = WEIGHTS
) -> tuple[keras.Model, str]:
    """The network at the end of a run, or, where its weights were not kept, one trained just now.

    Args:
        protocol: The run.
        dataset: The digits.
        epochs: How long the one that stands in is trained.
        weights: Folder of weights that were kept.

    Returns:
        The network, and what is to be said of it: empty where it is the one of the run.
    """
    model = load_trained(protocol, dataset, weights)
    if model is not None:
        return model, ""
    from ..training import train

    brief = replace(protocol, epochs=epochs)
    with tempfile.TemporaryDirectory() as folder:
        train(brief, dataset=dataset, weights=folder, verbose=False)
        notice = f"trained for {epochs} of {protocol.epochs} epochs"
        return load_trained(brief, dataset, Path(folder)), notice


def trained_model(
    protocol: Protocol, dataset: Dataset, results: Path, weights: Path | None = None
) -> keras.Model:
    """The network at the end of a run: from its weights if they were kept, else from its state.

    Raises:
        FileNotFoundError: if neither is there; the message says what makes them.
    """
    kept = load_trained(protocol, dataset, weights) if weights else None
    if kept is not None:
        return kept
    checkpoint = checkpoint_path(Path(results), protocol, dataset.digest)
    state = initial_state(protocol, dataset, checkpoint)
    if not state.variables or not is_complete(state, protocol):
        folders = shlex.join(["--results", str(results), "--weights", str(weights or WEIGHTS)])
        raise FileNotFoundError(
            f"Expected the trained weights of run {run_id(protocol, dataset.digest)} "
            f"({protocol.model}, seed {protocol.seed}) in {checkpoint.parent}"
            f"{f' or {weights}' if weights else ''}. Received: none after "
            f"{protocol.epochs} epochs. This trains it, also where it has a record: "
            f"mnist-attention train {cli_options(protocol)} {folders}"
        )
    return start_model(protocol, dataset, state)


@functools.cache
def load_conditions(name: str) -> Conditions:
    """Those of a dataset, made once in a process."""
    return Conditions(load_dataset(name))


def measure_run(
    protocol: Protocol, shown: Conditions, results: Path, weights: Path | None = None
) -> dict:
    """Measure the network of a finished run, once; write and return its measurement.

    A damaged measurement is made anew.

    Raises:
        FileNotFoundError: see `trained_model`.
    """
    name = run_id(protocol, shown.dataset.digest)
    path = Path(results) / MEASUREMENTS / f"{name}.json"
    if there := read_or_none(path, read_measurement):
        return there
    model = trained_model(protocol, shown.dataset, results, weights)
    measurement = {
        "run_id": name,
        "protocol": to_json(protocol),
        "dataset": shown.dataset.to_json(),
        "measured": _rounded(measure(model, protocol, shown)),
        "images": {"scored": SCORED, "perturbed": PERTURBED, "compared": COMPARED},
        "environment": describe_machine("keras", keras.backend.backend(), "numpy", "scipy"),
    }
    write_record(measurement, results, MEASUREMENTS)
    return measurement


def _rounded(measured):
    """Six digits behind the point: what is measured has fewer that count."""
    if isinstance(measured, dict):
        return {name: _rounded(value) for name, value in measured.items()}
    return round(measured, 6)
