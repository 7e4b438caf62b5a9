"""The classical methods that the paper mentions and does not measure, through scikit-learn.

They see the clean 28x28 digits, without flip and shift. Hyperparameters are chosen on a split of
the training images; then the method is fitted to all of them and scored once on the test images.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from skimage.feature import local_binary_pattern
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA, MiniBatchDictionaryLearning
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC, LinearSVC

from ..checks import check_types, expect
from ..data import Dataset, load_dataset
from ..protocol import DatasetName, hash_fields
from ..records import finished_record, record_path, write_record
from ..storage.machine import describe_machine, wanted_threads
from .options import RunOptions

MethodName = Literal["nearest_neighbours", "svm", "lbp_svm", "sparse_coding"]

SELECTION = 10_000
"""Images to fit to, and images to choose on, while hyperparameters are chosen; at most."""


def pixels(images: np.ndarray) -> np.ndarray:
    """Rows of pixels in [0, 1]: shape `(n, 28, 28)`, bytes or in [0, 1] -> float32, `(n, 784)`."""
    return _bytes(images).reshape(len(images), -1).astype("float32") / 255


def _bytes(images: np.ndarray) -> np.ndarray:
    return images if images.dtype == np.uint8 else np.rint(255 * images).astype(np.uint8)


def pattern_histograms(images: np.ndarray, cells: int = 7, radius: int = 2) -> np.ndarray:
    """How often each local binary pattern occurs in each cell of a grid.

    Args:
        images: Shape `(n, 28, 28)`, bytes or floats in [0, 1].
        cells: Cells of the grid along each side; a divisor of 28.
        radius: Distance of the eight neighbours in pixels.

    Returns:
        Square roots of the shares of the 59 patterns (58 uniform ones, and one for all others):
        shape `(n, cells * cells * 59)`. Their dot product is the Bhattacharyya coefficient.

    Reference:
        Ahonen, Hadid, Pietikainen: Face description with local binary patterns, IEEE TPAMI, 2006.
    """
    patterns, side = 59, 28 // cells
    codes = np.stack([local_binary_pattern(i, 8, radius, "nri_uniform") for i in _bytes(images)])
    grid = codes.astype(int).reshape(-1, cells, side, cells, side).transpose(0, 1, 3, 2, 4)
    grid = grid.reshape(len(images) * cells**2, side**2)
    first = patterns * np.arange(len(grid))[:, None]
    counts = np.bincount((first + grid).ravel(), minlength=patterns * len(grid))
    return np.sqrt(counts.reshape(len(images), -1) / side**2)


class PatchCodes(TransformerMixin, BaseEstimator):
    """Sparse codes of all 5x5 patches over a learnt dictionary, averaged over a 4x4 grid.

    The dictionary is learnt by sparse coding; images are then encoded by a soft threshold, which
    serves a classifier as well and costs one product (Coates and Ng).

    Shape `(n, 28, 28)` -> `(n, 4 * 4 * 2 * atoms)`: an atom's positive and negative coefficients
    apart, each less `threshold`, and not below zero.

    Reference:
        Mairal, Bach, Ponce, Sapiro: Online dictionary learning for sparse coding, ICML 2009.
        Coates, Ng: The importance of encoding versus training with sparse coding and vector
        quantization, ICML 2011.
    """

    side, cells, sample = 5, 4, 5_000

    def __init__(self, atoms: int = 32, threshold: float = 0.1, seed: int = 0):
        self.atoms, self.threshold, self.seed = atoms, threshold, seed

    def fit(self, images, labels=None):
        generator = np.random.default_rng(self.seed)
        some = images[generator.choice(len(images), min(len(images), 1_000), replace=False)]
        patches = self._patches(some)
        chosen = generator.choice(len(patches), self.sample, replace=False)
        coding = {"transform_algorithm": "threshold", "transform_alpha": self.threshold}
        learner = MiniBatchDictionaryLearning(
            self.atoms, alpha=0.1, max_iter=2, split_sign=True, random_state=self.seed, **coding
        )
        self.dictionary_ = learner.fit(patches[chosen].astype("float64"))
        self.dictionary_.components_ = self.dictionary_.components_.astype("float32")
        return self

    def transform(self, images):
        parts = range(0, len(images), 500)  # all patches of all images would fill the memory
        return np.concatenate([self._pooled(images[part : part + 500]) for part in parts])

    def _pooled(self, images):
        codes = self.dictionary_.transform(self._patches(images))
        extent = (29 - self.side) // self.cells
        grid = codes.reshape(len(images), self.cells, extent, self.cells, extent, -1)
        return grid.mean((2, 4)).reshape(len(images), -1)

    def _patches(self, images):
        """All patches of all images, one a row, each less its mean."""
        digits = pixels(images).reshape(images.shape)
        patches = sliding_window_view(digits, (self.side, self.side), axis=(1, 2))
        patches = patches.reshape(-1, self.side**2)
        return patches - patches.mean(axis=1, keepdims=True)


class Method(NamedTuple):
    """A pipeline from images to digits; `evidence.runs.BEYOND` has its title."""

    pipeline: Callable[[int], Pipeline]  # of a seed
    candidates: dict[str, list]  # hyperparameter as in `Pipeline.set_params` -> values


def _pipeline(*steps: BaseEstimator) -> Pipeline:
    """Steps named `features1`, `features2`, ..., `classifier`."""
    names = [*(f"features{number}" for number in range(1, len(steps))), "classifier"]
    return Pipeline([*zip(names, steps, strict=True)])


def _linear_svm(seed: int) -> LinearSVC:
    return LinearSVC(max_iter=10_000, random_state=seed)


METHODS = {
    "nearest_neighbours": Method(
        lambda seed: _pipeline(FunctionTransformer(pixels), KNeighborsClassifier()),
        {"classifier__n_neighbors": [1, 3, 5]},
    ),
    "svm": Method(
        # 50 components give the same accuracy as all 784 pixels in a fifteenth of the time.
        lambda seed: _pipeline(
            FunctionTransformer(pixels), PCA(50, svd_solver="full"), SVC(cache_size=500)
        ),
        {"classifier__C": [1, 10], "classifier__gamma": [0.01, 0.02, 0.03]},
    ),
    "lbp_svm": Method(
        lambda seed: _pipeline(FunctionTransformer(pattern_histograms), _linear_svm(seed)),
        {"features1__kw_args": [{"cells": 4}, {"cells": 7}], "classifier__C": [0.1, 1]},
    ),
    "sparse_coding": Method(
        lambda seed: _pipeline(PatchCodes(seed=seed), _linear_svm(seed)),
        {"features1__threshold": [0.05, 0.2], "classifier__C": [0.1, 1]},
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassicalProtocol:
    """Which method on which digits; the counterpart of `Protocol`, with its errors."""

    dataset: DatasetName = "mnist"
    model: MethodName = "nearest_neighbours"
    seed: int = 0

    def __post_init__(self):
        check_types(self)
        expect(0 <= self.seed < 2**32, "seed from 0 to 2**32 - 1", f"seed={self.seed}")

    def to_json(self) -> dict:
        """Everything that fixes the result, the candidates of the hyperparameters among it."""
        candidates = METHODS[self.model].candidates
        return {**dataclasses.asdict(self), "selection": SELECTION, "candidates": candidates}

    def run_id(self, dataset_digest: str) -> str:
        """Name of the run, as `Protocol.run_id` makes it."""
        return hash_fields(self.to_json(), dataset_digest)


def fit(protocol: ClassicalProtocol, options: RunOptions) -> dict:
    """Choose, fit and score a classical method: what `training.train` does for a network.

    `result` has also the hyperparameters `chosen`, and in `selection` the accuracy of each
    candidate on the split of the training images.
    """
    dataset = load_dataset(protocol.dataset)
    run_id = protocol.run_id(dataset.digest)
    if finished := finished_record(record_path(options.results, options.study, run_id)):
        return finished

    started = time.perf_counter()
    search = choose_and_fit(protocol, dataset)
    fitted = time.perf_counter()
    predictions = search.predict(dataset.test_images)
    assert predictions.shape == dataset.test_labels.shape
    tried = zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True)
    record = {
        "run_id": run_id,
        "protocol": protocol.to_json(),
        "dataset": dataset.to_json(),
        "history": {},
        "result": {
            "chosen": search.best_params_,
            "selection": [{**candidate, "accuracy": float(score)} for candidate, score in tried],
            "test_accuracy": float(np.mean(predictions == dataset.test_labels)),
            "train_accuracy": float(search.score(dataset.train_images, dataset.train_labels)),
        },
        "test_predictions": "".join(map(str, predictions)),
        "environment": {
            "engine": "scikit-learn",
            "device": "cpu",
            "threads": wanted_threads("OMP_NUM_THREADS"),
            **describe_machine("scikit-learn", "scikit-image", "numpy"),
            "fit_seconds": round(fitted - started, 3),
            "seconds": round(time.perf_counter() - started, 3),
        },
    }
    write_record(record, options.results, options.study)
    return record


def choose_and_fit(protocol: ClassicalProtocol, dataset: Dataset) -> GridSearchCV:
    """Choose hyperparameters on a split of the training images, then fit to all of these."""
    method, count = METHODS[protocol.model], len(dataset.train_images)
    held_out = min(SELECTION, count // 6)
    fitted = min(SELECTION, count - held_out)
    split = StratifiedShuffleSplit(
        1, test_size=held_out, train_size=fitted, random_state=protocol.seed
    )
    search = GridSearchCV(
        method.pipeline(protocol.seed), method.candidates, cv=split, error_score="raise"
    )
    return search.fit(dataset.train_images, dataset.train_labels)
