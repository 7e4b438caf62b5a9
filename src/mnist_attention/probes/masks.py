"""The masks of a model on images, and what the order of a map is worth to the network."""

import itertools
from collections.abc import Callable

import keras
import numpy as np
from scipy import special, stats

from ..checks import expect
from ..data import brightness, check_labels, network_input
from ..layers import AttentionMask1x1, intercept_scores
from ..models import EVALUATION_BATCH, canvas_of, logits
from .scores import check_maps, ink_on_grid, mask_on_image, short_name, snr_gain_db

STEPS = 28  # in which pixels are deleted or inserted


# Maps of a model


def attention_maps(model: keras.Model, images) -> dict[str, np.ndarray]:
    """The scores of every mask in a run of `model` on `images`.

    The model is any that runs a mask: functional, sequential, nested or subclassed. The maps are
    those of its own run, wherever else its masks are used.

    Args:
        model: A channels-last model with at least one `AttentionMask1x1`.
        images: Digits of shape `(n, 28, 28)`, uint8 from 0 to 255 or floats from 0 to 1, which are
            padded with zeros to the input of the model (to 32x32 where the model does not tell);
            or images as the model takes them, e.g. `(n, 64, 48, 3)`, a list or a dictionary of
            arrays for several inputs, which are not changed.

    Returns:
        Name of the layer -> float32 scores of shape `(n, height, width, mask_channels)`, in the
        order in which the masks run; for LeNet-5 `c1_attention` at 28x28 and `c3_attention` at
        10x10. The second call of a shared mask, or of a mask of the same name, is `<name>_2`.

    Raises:
        ValueError: if the model has no mask, has channels-first layers, or has a mask that does
            not run or runs in a compiled function; if the images are of another shape, type or
            range.
    """
    return _over_masks(model, model_input(model, images), lambda part, features, scores: scores)


def maps_on_image(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """The maps of `attention_maps`, enlarged to the images by `scores.mask_on_image`.

    Arguments and errors are those of `attention_maps`, for a model with one input.

    Returns:
        The masked layer, "C1" for `c1_attention` -> shape `(n, height, width)`, that of the images.
    """
    inputs = model_input(model, images)
    expected = "one array of images, to which maps can be enlarged (attention_maps takes several)"
    expect(isinstance(images, np.ndarray), expected, type(images).__name__)
    sides = images.shape[1:3], inputs.shape[1:3]
    found: dict[str, np.ndarray] = {}
    for layer, scores in attention_maps(model, images).items():
        found[_new_key(short_name(layer), found)] = mask_on_image(scores, *sides)
    return found


def snr_gain(model: keras.Model, images: np.ndarray, ink: np.ndarray) -> dict[str, np.ndarray]:
    """How much every mask raises the signal-to-noise ratio of features; see `scores.snr_gain_db`.

    `images` are digits, `ink` is that of the clean ones, bool; both of shape `(n, 28, 28)`.

    Returns:
        Name of the layer -> gain in decibels, float64 of shape `(n,)`.
    """
    inputs = model_input(model, images)
    expect(ink.shape == images.shape, f"ink of shape {images.shape}", f"shape={ink.shape}")

    def gain(part: slice, features: np.ndarray, scores: np.ndarray) -> np.ndarray:
        on_grid = ink_on_grid(ink[part], features.shape[1], inputs.shape[1])
        return snr_gain_db(features, features * scores, on_grid)

    return _over_masks(model, inputs, gain)


def find_masks(model: keras.Model) -> list[AttentionMask1x1]:
    """The masks in a model and in what is inside it; a `ValueError` if it has none."""
    layers = model._flatten_layers(include_self=False)
    masks = [layer for layer in layers if isinstance(layer, AttentionMask1x1)]
    other = [x.name for x in layers if getattr(x, "data_format", None) == "channels_first"]
    names = f"{model.name!r} with the layers {[layer.name for layer in model.layers]}"
    expect(bool(masks), "a model with an AttentionMask1x1 layer", names)
    expect(
        not other,
        "a model whose layers have data_format='channels_last', as masks have",
        f"{model.name!r} with the channels-first layers {other}",
    )
    return masks


def run_model(model: keras.Model, inputs, change: Callable):
    """The output of `model` for inference, with `change(layer, inputs, scores)` for all scores."""
    masks, ran = find_masks(model), []
    eager = _to_numpy(keras.tree.flatten(inputs)[0]) is not None

    def function(layer, features, scores):
        # In an eager run, symbolic scores are those of a layer that is built or of a compiled
        # function; a change would stay in that function.
        if eager and _to_numpy(scores) is None:
            return scores
        ran.append(layer)
        return change(layer, features, scores)

    with intercept_scores(function):
        outputs = model(inputs, training=False)
    silent = [mask.name for mask in masks if mask.built and mask not in ran]
    expect(
        bool(ran) and not silent,
        f"every mask of {model.name!r} to run outside of compiled functions (tf.function, "
        "jax.jit), where its scores can be read",
        f"no scores of {silent or [mask.name for mask in masks]}. Pass the part of the model "
        "that runs them",
    )
    return outputs


def _over_masks(model: keras.Model, inputs, function: Callable) -> dict[str, np.ndarray]:
    """Name of a mask's call -> `function(batch, features, scores)`, batches joined."""
    found = []
    for start in range(0, len(keras.tree.flatten(inputs)[0]), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        calls: dict[str, list[np.ndarray]] = {}

        def record(layer, features, scores, calls=calls):
            arrays = [_to_numpy(x).astype("float32") for x in (features, scores)]
            calls[_new_key(layer.name, calls)] = arrays
            return scores

        run_model(model, keras.tree.map_structure(lambda array, p=part: array[p], inputs), record)
        found.append({name: function(part, *arrays) for name, arrays in calls.items()})
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def _new_key(name: str, taken: dict) -> str:
    numbered = (f"{name}_{number}" for number in itertools.count(2))
    return next(key for key in itertools.chain([name], numbered) if key not in taken)


def _to_numpy(tensor) -> np.ndarray | None:
    """`None` for a symbolic tensor."""
    try:
        return keras.ops.convert_to_numpy(tensor)
    except Exception:  # each backend has its own error
        return None


# Images as a model takes them


def model_input(model: keras.Model, images):
    """The input of `model` for `images`; see `attention_maps`."""
    shapes = [tuple(x.shape) for x in getattr(model, "inputs", None) or ()]  # subclassed: unknown
    inputs = images
    if isinstance(images, np.ndarray) and images.shape[1:] == (28, 28):
        inputs = network_input(brightness(images), max(canvas_of(model), 28))
        inputs = inputs[..., 0] if shapes and len(shapes[0]) == 3 else inputs
    arrays = [np.asarray(array) for array in keras.tree.flatten(inputs)]
    fits = not shapes or (len(arrays) == len(shapes) and all(map(_fits, arrays, shapes)))
    complete = len({len(array) for array in arrays}) == 1 and len(arrays[0]) > 0
    known = not any(np.isnan(x).any() for x in arrays if x.dtype.kind == "f")
    own = f"as the model takes them{f', {shapes}' if shapes else ''}"
    expect(
        fits and complete and known,
        f"images of shape (n, 28, 28) or {own}; with n >= 1 and without NaN pixels",
        ", ".join(f"shape={np.shape(x)}" for x in keras.tree.flatten(images)),
    )
    return inputs


def _fits(array: np.ndarray, shape: tuple[int | None, ...]) -> bool:
    return array.ndim == len(shape) and all(
        size in (None, received) for size, received in zip(shape, array.shape, strict=True)
    )


# The order of a map


def deletion(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, maps: np.ndarray
) -> np.ndarray:
    """Area under the true class's probability as pixels turn black, the highest of the map first.

    Small if the map ranks first what the network needs. Pixels change in `STEPS` equal steps, each
    a forward pass; equal ones go row by row from the top left. Images and maps have shape
    `(n, 28, 28)`, areas `(n,)`. ValueError for arrays that do not fit each other or the model.

    Reference:
        Petsiuk, Das, Saenko: RISE, BMVC 2018
        ([arXiv:1806.07421](https://arxiv.org/abs/1806.07421)), also for `insertion`.
    """
    return _area(model, images, labels, maps, insert=False)


def insertion(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, maps: np.ndarray
) -> np.ndarray:
    """As `deletion`, while pixels return to a black image: large if needed ones rank first."""
    return _area(model, images, labels, maps, insert=True)


def _area(model: keras.Model, images, labels, maps, insert: bool) -> np.ndarray:
    images = brightness(images)
    check_maps(maps, images.shape)
    check_labels(labels, "labels", len(images), logits(model, images[:1]).shape[-1])
    pixels = maps[0].size
    changed = np.rint(np.linspace(0, pixels, STEPS + 1))
    # The rank of a pixel, from 1 for the highest; of equal ones the first comes first.
    descending = -maps.reshape(-1, pixels).astype(np.float64)
    rank = stats.rankdata(descending, method="ordinal", axis=1).reshape(maps.shape)
    curves = []
    for count in changed:
        shown = np.where((rank <= count) == insert, images, 0)
        odds = special.softmax(logits(model, shown).astype(np.float64), axis=1)
        curves.append(odds[np.arange(len(odds)), labels])
    return np.trapezoid(np.transpose(curves), changed / pixels)
