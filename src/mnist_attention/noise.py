"""Backgrounds and corruptions of digits, and the conditions under which networks are tested.

A background stands behind the digit: ink covers as much of it as the pixel is bright,

    pixel = digit + (1 - digit) * 0.75 * strength * background.

`uniform` and `photographs` follow mnist-back-rand and mnist-back-image, `gaussian` interpolates
between them (Larochelle et al.: An empirical evaluation of deep architectures on problems with many
factors of variation, ICML 2007). The formula and the photographs are ours. A corruption changes the
digit itself, as in MNIST-C (Mu, Gilmer: MNIST-C: a robustness benchmark for computer vision, 2019).
Strength 0 changes nothing. At 1 a person can still read the digits.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .checks import expect, lookup
from .data import Dataset, brightness, check_images, load_dataset
from .protocol import Protocol

# SciPy and scikit-image are imported where they draw: reports need only the conditions below.

Split = Literal["train", "test"]
SPLITS = get_args(Split)

CORRELATION_WIDTH = 6.0  # pixels at which the correlation of texture (gamma = 1) is 1/e
FLATTEST_PATCH = 0.1  # smallest standard deviation of a patch; mnist-back-image left flat ones out
BRIGHTEST = 0.75  # of a background, where ink is 1: as bright as ink it would hide some digits

_PIECES, _PIECE = 4, 8  # as Mnih et al. on their 60x60 canvas
_BLOCK = 1000  # images at once, which bounds the memory
_Generators = Sequence[np.random.Generator]


def add_noise(
    images: np.ndarray,
    name: str,
    *,
    strength: float,
    seed: int,
    gamma: float = 0.0,
    split: Split = "train",
) -> np.ndarray:
    """Put a background behind digits, or corrupt them: `(n, 28, 28)` -> the same shape, uint8.

    The draw of an image depends on `seed`, `split` and its place in `images` alone. It is the same
    at every strength and `gamma`. The splits share no draw, photograph or cluttering digit.
    """
    check_images(images)
    draw = lookup("name", name, {**BACKGROUNDS, **CORRUPTIONS})
    lookup("split", split, dict.fromkeys(SPLITS))
    expect(0 <= strength <= 1, "strength from 0 to 1", f"{strength=}")
    expect(0 <= seed < 2**32, "seed from 0 to 2**32 - 1", f"{seed=}")
    expect(0 <= gamma <= 1, "gamma from 0 to 1", f"{gamma=}")
    expect(gamma == 0 or name == "gaussian", f"gamma 0 with {name!r}, which has none", f"{gamma=}")
    disturbed = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _BLOCK):
        block = slice(start, start + _BLOCK)
        digits = brightness(images[block]).astype(np.float32)
        # epoch_plan draws from [seed, epoch]; the 1 at the end keeps these streams apart.
        keys = [(seed, SPLITS.index(split), start + i, 1) for i in range(len(digits))]
        generators = [np.random.default_rng(key) for key in keys]
        if name in BACKGROUNDS:
            background = draw(generators, gamma, split)
            result = digits + (1 - digits) * (BRIGHTEST * strength * background)
        else:
            result = draw(generators, digits, strength)
        disturbed[block] = np.rint(255 * np.clip(result, 0, 1))
    return disturbed


def _draw(generators: _Generators, method: str, *arguments) -> np.ndarray:
    return np.stack([getattr(generator, method)(*arguments) for generator in generators])


def _uniform(generators: _Generators, gamma: float, split: Split) -> np.ndarray:
    """Independent pixels, uniform from black to white, as mnist-back-rand."""
    return _draw(generators, "random", (28, 28), np.float32)


def _gaussian(generators: _Generators, gamma: float, split: Split) -> np.ndarray:
    """Noise of covariance gamma S + (1 - gamma) I, S_ij = exp(-distance_ij^2 / 6^2), as Larochelle
    et al. 2007; the normal distribution function then makes every pixel uniform."""
    from scipy.special import ndtr

    normal = _draw(generators, "standard_normal", (2, 28, 28), np.float32)
    white, seeds = np.moveaxis(normal, 1, 0)
    root = _root_of_kernel()
    # S is the product of a kernel over rows and one over columns, and so is its root.
    texture = root @ seeds @ root.T
    return ndtr(np.float32(gamma**0.5) * texture + np.float32((1 - gamma) ** 0.5) * white)


@functools.cache
def _root_of_kernel() -> np.ndarray:
    distances = np.subtract.outer(np.arange(28), np.arange(28))
    values, vectors = np.linalg.eigh(np.exp(-((distances / CORRELATION_WIDTH) ** 2)))
    return (vectors * np.sqrt(values.clip(0))).astype(np.float32)


def _photographs(generators: _Generators, gamma: float, split: Split) -> np.ndarray:
    """A grey patch of a photograph, not a flat one, as mnist-back-image."""
    windows, places = _patches(split)
    return windows[tuple(places[_draw(generators, "integers", len(places))].T)]


@functools.cache
def _patches(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """All patches of scikit-learn's two photographs, and the places of those that are not flat."""
    from skimage.color import rgb2gray
    from sklearn.datasets import load_sample_images

    grey = np.stack([rgb2gray(photo) for photo in load_sample_images().images]).astype(np.float32)
    # Of eight upright strips of each photograph, testing has the third and the seventh.
    strips = np.split(grey, 8, axis=2)
    parts = np.concatenate([s for i, s in enumerate(strips) if (i % 4 == 2) == (split == "test")])
    windows, squares = (sliding_window_view(x, (28, 28), axis=(1, 2)) for x in (parts, parts**2))
    variance = squares.mean(axis=(3, 4)) - windows.mean(axis=(3, 4)) ** 2
    return windows, np.argwhere(variance >= FLATTEST_PATCH**2)


def _clutter(generators: _Generators, gamma: float, split: Split) -> np.ndarray:
    """Four 8x8 pieces of scikit-learn's digits at random places, after Mnih et al.: Recurrent
    models of visual attention, NIPS 2014."""
    pieces = sliding_window_view(_other_digits(split), (_PIECE, _PIECE), axis=(1, 2))
    limits = np.array([*pieces.shape[:3], *2 * (28 - _PIECE + 1,)])
    draws = (_draw(generators, "random", (_PIECES, len(limits))) * limits).astype(int)
    canvas = np.zeros((len(generators), 28, 28), np.float32)
    image, side = np.arange(len(canvas))[:, None, None], np.arange(_PIECE)
    for which, from_row, from_column, row, column in np.moveaxis(draws, 0, 2):
        rows, columns = row[:, None, None] + side[:, None], column[:, None, None] + side
        canvas[image, rows, columns] += pieces[which, from_row, from_column]
    return canvas.clip(0, 1)


@functools.cache
def _other_digits(split: Split) -> np.ndarray:
    images = getattr(load_dataset("uci"), f"{split}_images")
    return images[:, ::2, ::2] / np.float32(255)  # at half the size its strokes are as MNIST's


def _gaussian_noise(generators: _Generators, digits: np.ndarray, strength: float) -> np.ndarray:
    """White noise of standard deviation up to 0.38 (MNIST-C, severity 5)."""
    return digits + 0.38 * strength * _draw(generators, "standard_normal", (28, 28), np.float32)


def _shot_noise(generators: _Generators, digits: np.ndarray, strength: float) -> np.ndarray:
    """Counts of photons, down to 3 for full ink (MNIST-C, severity 5)."""
    photons = 3 / max(strength, 1e-6) ** 2  # noise grows as the root of their number falls
    counts = [g.poisson(photons * digit) for g, digit in zip(generators, digits, strict=True)]
    return np.stack(counts) / photons


def _impulse_noise(generators: _Generators, digits: np.ndarray, strength: float) -> np.ndarray:
    """Salt and pepper on up to 27 % of the pixels (MNIST-C, severity 5)."""
    draws, half = _draw(generators, "random", (28, 28), np.float32), 0.27 * strength / 2
    return np.where(draws < half, 0, np.where(draws >= 1 - half, 1, digits))


def _blur(generators: _Generators, digits: np.ndarray, strength: float) -> np.ndarray:
    """A Gaussian of standard deviation up to 1.5 pixels (MNIST-C: from 1 to 6)."""
    from scipy.ndimage import gaussian_filter

    width = 1.5 * strength**0.5  # in proportion to strength, its first third would do nothing
    return gaussian_filter(digits, width, axes=(1, 2), mode="constant")


def _contrast(generators: _Generators, digits: np.ndarray, strength: float) -> np.ndarray:
    """Contrast around the mean of the image, down to a fifth (MNIST-C, severity 3)."""
    mean = digits.mean(axis=(1, 2), keepdims=True)
    return mean + (1 - 0.8 * strength) * (digits - mean)


def _stripes(generators: _Generators, digits: np.ndarray, strength: float) -> np.ndarray:
    """Grey bars over the digit, 2 pixels in 6, at a random angle; strength is their opacity."""
    angle, phase = _draw(generators, "random", 2).T[..., None, None]
    row, column = np.mgrid[:28, :28]
    across = row * np.cos(np.pi * angle) + column * np.sin(np.pi * angle) + 6 * phase
    return np.where(across % 6 < 2, digits + strength * (0.5 - digits), digits)


def _occlusion(generators: _Generators, digits: np.ndarray, strength: float) -> np.ndarray:
    """A grey disc of up to 10 pixels across, its centre anywhere on the middle 20x20 pixels."""
    row, column = 4 + 20 * _draw(generators, "random", 2).T[..., None, None]
    rows, columns = np.mgrid[:28, :28]
    return np.where(np.hypot(rows - row, columns - column) < 5 * strength, 0.5, digits)


def _by_name(*functions: Callable[..., np.ndarray]) -> dict[str, Callable[..., np.ndarray]]:
    return {function.__name__[1:]: function for function in functions}


BACKGROUNDS = _by_name(_uniform, _gaussian, _photographs, _clutter)
CORRUPTIONS = _by_name(
    _gaussian_noise, _shot_noise, _impulse_noise, _blur, _contrast, _stripes, _occlusion
)


@dataclasses.dataclass(frozen=True)
class Condition:
    """How digits are disturbed; the fields are arguments of `add_noise`."""

    name: str = "none"
    strength: float = 0.0
    gamma: float = 0.0

    def __str__(self) -> str:
        gamma = f" {self.gamma:g}" if self.name == "gaussian" else ""
        return f"{self.name}{gamma} at {self.strength:g}" if self.strength else "clean"

    @property
    def fields(self) -> dict[str, str | float]:
        """The fields of a `Protocol` that trains and tests on this background."""
        return {"background": self.name, "strength": self.strength, "gamma": self.gamma}

    def apply(self, images: np.ndarray, split: Split) -> np.ndarray:
        """The disturbed images of a split, shape `(n, 28, 28)`, the same for every network."""
        if not self.strength:
            return images
        return add_noise(images, **dataclasses.asdict(self), seed=0, split=split)


CLEAN = Condition()

# Networks trained on clean digits are tested on these, and on the corruptions.
BACKGROUND_CONDITIONS = tuple(
    Condition(name, strength, gamma)
    for name in BACKGROUNDS
    for gamma in ((0.5, 1.0) if name == "gaussian" else (0.0,))  # gamma 0 is `uniform`
    for strength in (0.25, 0.5, 0.75, 1.0)
)
CORRUPTION_CONDITIONS = tuple(Condition(name, half) for name in CORRUPTIONS for half in (0.5, 1.0))

# Networks trained on a background are tested on these.
HALF_AND_FULL = tuple(how for how in BACKGROUND_CONDITIONS if how.strength in (0.5, 1.0))

# Networks are trained on these; the control networks on uniform noise at full strength.
TRAINING_CONDITIONS = (
    *(Condition("uniform", strength) for strength in (0.5, 1.0)),
    *(Condition("gaussian", 1.0, gamma) for gamma in (0.5, 1.0)),
    *(Condition("photographs", strength) for strength in (0.5, 1.0)),
    Condition("clutter", 1.0),
)
CONTROL_CONDITION = TRAINING_CONDITIONS[1]


def apply_noise(protocol: Protocol, dataset: Dataset) -> Dataset:
    """The digits with the background and the permuted training labels of a protocol, if any.

    Neither depends on the run's seed: all runs of a setting see the same data set.
    """
    changes = {}
    if protocol.background != "none":
        condition = Condition(protocol.background, protocol.strength, protocol.gamma)
        changes["train_images"] = condition.apply(dataset.train_images, "train")
        changes["test_images"] = condition.apply(dataset.test_images, "test")
    if protocol.permuted_labels:
        generator = np.random.default_rng([0, len(dataset.train_labels)])
        changes["train_labels"] = generator.permutation(dataset.train_labels)
    return dataclasses.replace(dataset, **changes) if changes else dataset
