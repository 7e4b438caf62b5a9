"""AttentionMask1x1: by hand, in shapes, in files. Runs on every backend (see test_backends.py)."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from mnist_attention.layers import AttentionMask1x1

ACTIVATIONS = ("sigmoid", "softmax", "linear")


def feature_map(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def as_array(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def test_one_channel_sigmoid_by_hand():
    layer = AttentionMask1x1()
    layer.build((None, 1, 2, 2))
    layer.set_weights([np.array([[[[1.0], [-2.0]]]]), np.array([0.5])])
    outputs, scores = layer(
        np.array([[[[1.0, 2.0], [3.0, 1.0]]]], "float32"), return_attention_scores=True
    )
    # Position 0: 1*1 - 2*2 + 0.5 = -2.5; position 1: 1*3 - 2*1 + 0.5 = 1.5.
    expected = 1 / (1 + np.exp([2.5, -1.5]))
    np.testing.assert_allclose(as_array(scores)[0, 0, :, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(
        as_array(outputs)[0, 0, 0], expected[0] * np.array([1, 2]), rtol=1e-6
    )
    np.testing.assert_allclose(
        as_array(outputs)[0, 0, 1], expected[1] * np.array([3, 1]), rtol=1e-6
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("mask_channels", [1, None])
def test_outputs_are_the_inputs_times_the_scores(mask_channels, activation):
    x = feature_map(3, 5, 4, 6)
    layer = AttentionMask1x1(mask_channels, activation, bias_initializer="ones")
    outputs, scores = layer(x, return_attention_scores=True)
    logits = x @ as_array(layer.kernel)[0, 0] + 1
    exponentials = np.exp(logits)
    expected = {
        "linear": logits,
        "sigmoid": 1 / (1 + np.exp(-logits)),
        "softmax": exponentials / exponentials.sum(axis=(1, 2), keepdims=True),
    }[activation]
    assert as_array(scores).shape == (3, 5, 4, 1 if mask_channels == 1 else 6)
    np.testing.assert_allclose(as_array(scores), expected, rtol=2e-4, atol=2e-6)
    np.testing.assert_allclose(as_array(outputs), x * as_array(scores), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(as_array(layer(x)), as_array(outputs), rtol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_compiled_network_of_any_batch_size_gives_what_the_layer_gives(activation):
    layer = AttentionMask1x1(None, activation)
    model = keras.Sequential([keras.Input((4, 3, 2)), layer])
    images = np.random.default_rng(0).normal(size=(5, 4, 3, 2)).astype("float32")
    compiled = model.predict(images, batch_size=2, verbose=0)
    np.testing.assert_allclose(compiled, layer(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("policy", "tolerance"),
    [
        ("float32", 1e-5),
        ("float16", 1e-3),
        ("mixed_float16", 1e-3),
        ("bfloat16", 4e-3),
        ("mixed_bfloat16", 4e-3),
    ],
)
@pytest.mark.parametrize("kernel", ["zeros", "glorot_uniform"])
def test_softmax_scores_sum_to_one_in_every_dtype_policy(policy, tolerance, kernel):
    """The scores of 2500 positions, each rounded: half precision cannot sum so many."""
    layer = AttentionMask1x1(None, "softmax", kernel_initializer=kernel, dtype=policy)
    outputs, scores = layer(feature_map(2, 50, 50, 3), return_attention_scores=True)
    assert keras.backend.standardize_dtype(scores.dtype) == layer.compute_dtype
    assert keras.backend.standardize_dtype(outputs.dtype) == layer.compute_dtype
    sums = as_array(keras.ops.cast(scores, "float32")).astype(float).sum(axis=(1, 2))
    np.testing.assert_allclose(sums, 1, rtol=tolerance)


def test_regularizers_and_constraints_act_on_kernel_and_bias():
    layer = AttentionMask1x1(
        bias_initializer="ones",
        kernel_regularizer=keras.regularizers.L2(0.5),
        bias_regularizer="l1",
        kernel_constraint=keras.constraints.MaxNorm(0.1, axis=2),
        bias_constraint="non_neg",
    )
    layer.build((None, 4, 4, 3))
    expected = 0.5 * (as_array(layer.kernel) ** 2).sum() + 0.01
    assert sum(as_array(loss) for loss in layer.losses) == pytest.approx(expected, rel=1e-5)
    assert np.linalg.norm(as_array(layer.kernel.constraint(layer.kernel))) < 0.1001
    assert as_array(layer.bias.constraint(keras.ops.array([-1.0, 2.0]))).tolist() == [0, 2]
    copy = AttentionMask1x1.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert isinstance(copy.kernel_constraint, keras.constraints.MaxNorm)
    assert isinstance(copy.bias_regularizer, keras.regularizers.L1)


@pytest.mark.parametrize("mask_channels", [1, None])
def test_symbolic_shapes_equal_eager_shapes(mask_channels):
    x = feature_map(2, 9, 8, 4)
    layer = AttentionMask1x1(mask_channels)
    symbol = keras.Input(batch_shape=x.shape)
    assert layer(symbol).shape == as_array(layer(x)).shape
    symbols = layer(symbol, return_attention_scores=True)
    arrays = layer(x, return_attention_scores=True)
    assert [s.shape for s in symbols] == [as_array(a).shape for a in arrays]
    assert [s.dtype for s in symbols] == [str(as_array(a).dtype) for a in arrays]
    assert layer.compute_output_shape(x.shape) == x.shape


def test_a_functional_model_gives_both_outputs():
    inputs = keras.Input((6, 6, 2))
    outputs = AttentionMask1x1(name="mask")(inputs, return_attention_scores=True)
    model = keras.Model(inputs, outputs)
    x = feature_map(4, 6, 6, 2)
    masked, scores = model.predict(x, verbose=0)
    np.testing.assert_allclose(masked, x * scores, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("channels", "mask_channels", "use_bias", "parameters"),
    [
        (6, 1, True, 7),
        (16, 1, True, 17),
        (6, None, True, 42),
        (16, None, True, 272),
        (6, 1, False, 6),
    ],
)
def test_parameter_counts(channels, mask_channels, use_bias, parameters):
    layer = AttentionMask1x1(mask_channels, use_bias=use_bias)
    layer.build((None, 28, 28, channels))
    assert layer.count_params() == parameters


def test_training_reaches_kernel_and_bias():
    model = keras.Sequential([keras.Input((4, 4, 3)), AttentionMask1x1(), keras.layers.Flatten()])
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    before = model.get_weights()
    model.fit(feature_map(8, 4, 4, 3), np.ones((8, 48), "float32"), verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.abs(new - old).max() > 0


def test_mixed_precision_computes_in_half_and_keeps_single_weights():
    layer = AttentionMask1x1(dtype="mixed_float16")
    outputs, scores = layer(feature_map(2, 4, 4, 3), return_attention_scores=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float16"
    assert keras.backend.standardize_dtype(scores.dtype) == "float16"
    assert layer.kernel.dtype == "float32"
    symbols = layer(keras.Input((4, 4, 3)), return_attention_scores=True)
    assert [symbol.dtype for symbol in symbols] == ["float16", "float16"]


def test_config_round_trip():
    layer = AttentionMask1x1(None, "softmax", False, "he_normal", "ones", name="mask")
    copy = AttentionMask1x1.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert (copy.mask_channels, copy.activation, copy.use_bias) == (None, "softmax", False)


@pytest.mark.parametrize(
    "imports",
    [
        "mnist_attention, keras",
        pytest.param("keras, mnist_attention", marks=pytest.mark.slow),
        pytest.param("mnist_attention, importlib.util; importlib.util.find_spec('keras'); "
                     "import tensorflow; keras = tensorflow.keras", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_saved_model_opens_in_a_fresh_process(tmp_path, imports):
    inputs = keras.Input((5, 5, 2))
    model = keras.Model(inputs, AttentionMask1x1(None, name="mask")(inputs))
    x = feature_map(3, 5, 5, 2)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", x)
    script = (
        f"import sys, numpy, {imports}; "
        "model = keras.models.load_model(sys.argv[1]); "
        "numpy.save(sys.argv[3], model.predict(numpy.load(sys.argv[2]), verbose=0))"
    )
    paths = [str(tmp_path / name) for name in ("model.keras", "x.npy", "y.npy")]
    subprocess.run([sys.executable, "-c", script, *paths], check=True)
    np.testing.assert_allclose(np.load(paths[2]), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mask_channels", [0, 2, -1, True, "all"])
def test_other_mask_channels_are_refused(mask_channels):
    with pytest.raises(ValueError, match=r"Expected mask_channels .* Received: mask_channels="):
        AttentionMask1x1(mask_channels)


def test_unknown_activation_is_refused():
    with pytest.raises(ValueError, match=r"one of .*'softmax'.* Received: activation='relu'"):
        AttentionMask1x1(activation="relu")


def test_input_of_another_rank_is_refused():
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        AttentionMask1x1()(feature_map(4, 4, 3))


def test_unknown_number_of_channels_is_refused():
    with pytest.raises(ValueError, match="last axis, the channels, has a known size"):
        AttentionMask1x1()(keras.Input((4, 4, None)))


def test_another_number_of_channels_after_building_is_refused():
    layer = AttentionMask1x1()
    layer(feature_map(1, 4, 4, 3))
    with pytest.raises(ValueError, match="expected axis -1"):
        layer(feature_map(1, 4, 4, 5))
