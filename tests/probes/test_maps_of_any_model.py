"""Maps, gains, areas and interventions of every shape of model that runs a mask."""

import keras
import numpy as np
import pytest
from keras import layers

from mnist_attention import AttentionMask1x1, attention_maps, lenet5
from mnist_attention.data import ink, network_input
from mnist_attention.probes.interventions import INTERVENTIONS, intervene, reinitialise_from_the_top
from mnist_attention.probes.masks import maps_on_image, snr_gain


def sequential(shape=(32, 32, 1), **mask) -> keras.Model:
    """The pattern of the README."""
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(4, 3, activation="relu"),
            AttentionMask1x1(**{"name": "mask", **mask}),
            layers.GlobalMaxPooling2D(),
            layers.Dense(10),
        ]
    )


def by_hand(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """The scores of the mask of `sequential`."""
    convolution, mask = model.layers[:2]
    _, scores = mask(convolution(inputs), return_attention_scores=True)
    return np.asarray(scores)


class Subclassed(keras.Model):
    """Builds its layers when it is first called."""

    def __init__(self, inner: keras.Model | None = None):
        super().__init__()
        self.inner = inner or keras.Sequential(
            [layers.Conv2D(4, 3, activation="relu"), AttentionMask1x1(name="mask")]
        )
        self.head = keras.Sequential([layers.Flatten(), layers.Dense(10)])

    def call(self, inputs):
        return self.head(self.inner(inputs))


class Gate(layers.Layer):
    """A layer with a mask inside."""

    def __init__(self):
        super().__init__()
        self.mask = AttentionMask1x1(name="mask")

    def call(self, inputs):
        outputs, _ = self.mask(inputs, return_attention_scores=True)
        return outputs


def nested() -> keras.Model:
    inputs = keras.Input((32, 32, 1))
    return keras.Model(inputs, layers.Dense(3)(sequential()(inputs)))


def functional_in_functional() -> keras.Model:
    inputs = keras.Input((32, 32, 1))
    inner = keras.Model(inputs, AttentionMask1x1(name="mask")(layers.Conv2D(4, 3)(inputs)))
    image = keras.Input((32, 32, 1))
    return keras.Model(image, layers.Dense(10)(layers.GlobalMaxPooling2D()(inner(image))))


def called_elsewhere() -> keras.Model:
    model = sequential()
    model.layers[1](np.ones((1, 5, 7, 4), "float32"))
    keras.Sequential([keras.Input((9, 9, 4)), model.layers[1]])
    return model


def reused_in_a_second_model() -> keras.Model:
    first = sequential()
    return keras.Sequential([keras.Input((32, 32, 1)), *first.layers[:2], layers.Flatten(),
                             layers.Dense(10)])  # fmt: skip


def in_a_layer() -> keras.Model:
    return keras.Sequential(
        [keras.Input((32, 32, 1)), layers.Conv2D(4, 3), Gate(), layers.Flatten(), layers.Dense(10)]
    )


def loaded() -> keras.Model:
    return keras.models.model_from_json(nested().to_json())


def without_an_input() -> keras.Model:
    return keras.Sequential(sequential().layers)


MODELS = {
    make.__name__: make
    for make in (
        sequential, nested, functional_in_functional, called_elsewhere, reused_in_a_second_model,
        in_a_layer, loaded, without_an_input, Subclassed,
    )
}  # fmt: skip


@pytest.fixture(scope="module", params=MODELS)
def model(request) -> keras.Model:
    keras.utils.set_random_seed(0)  # with other weights all features off the ink may be zero
    return MODELS[request.param]()


def test_all_maps_of_any_model(model, uci):
    images = uci.test_images[:3]
    maps = attention_maps(model, images)
    assert {name: scores.shape for name, scores in maps.items()} == {"mask": (3, 30, 30, 1)}
    assert np.ptp(maps["mask"]) > 0.01
    assert {name: m.shape for name, m in maps_on_image(model, images).items()} == {
        "MASK": (3, 28, 28)
    }
    assert np.isfinite(snr_gain(model, images, ink(images))["mask"]).all()


def test_the_maps_are_those_of_its_own_run(uci):
    images = uci.test_images[:3]
    model = called_elsewhere()
    expected = by_hand(model, network_input(images))
    np.testing.assert_array_equal(attention_maps(model, images)["mask"], expected)
    inputs = keras.Input((32, 32, 1))
    brighter = keras.Model(inputs, model(layers.Rescaling(2)(inputs)))
    expected = by_hand(model, 2 * network_input(images))
    np.testing.assert_array_equal(attention_maps(brighter, images)["mask"], expected)


def test_interventions_on_any_model(model, uci):
    images = network_input(uci.test_images[:3])
    before = np.asarray(model(images))
    for name in INTERVENTIONS:
        changed = intervene(model, name)
        assert not np.allclose(changed(images), before, atol=1e-6), name
        assert (attention_maps(changed, uci.test_images[:3])["mask"] == 1).all() == (name == "ones")
    np.testing.assert_array_equal(model(images), before)


def test_an_intervention_reaches_every_call_of_a_shared_mask():
    inputs, mask = keras.Input((8, 8, 2)), AttentionMask1x1(name="mask")
    model = keras.Model(inputs, mask(mask(inputs)))
    images = np.random.default_rng(0).random((2, 8, 8, 2)).astype("float32")
    np.testing.assert_array_equal(intervene(model, "ones")(images), images)
    maps = attention_maps(model, images)
    assert [*maps] == ["mask", "mask_2"]
    _, second = mask(images * maps["mask"], return_attention_scores=True)
    np.testing.assert_allclose(maps["mask_2"], second, rtol=1e-6)


def test_masks_of_one_name_in_two_models_are_all_there(uci):
    inputs = keras.Input((32, 32, 1))
    both = [sequential(), sequential()]
    model = keras.Model(inputs, layers.Average()([one(inputs) for one in both]))
    maps = attention_maps(model, uci.test_images[:2])
    alone = [attention_maps(one, uci.test_images[:2])["mask"] for one in both]
    assert [*maps] == ["mask", "mask_2"]
    np.testing.assert_array_equal([*maps.values()], alone)
    assert [*maps_on_image(model, uci.test_images[:2])] == ["MASK", "MASK_2"]


@pytest.mark.parametrize("shape", [(40, 40, 1), (64, 48, 3), (None, None, 2), (28, 28, 1)])
def test_images_as_the_model_takes_them(shape):
    size = tuple(known or 36 for known in shape)
    images = np.random.default_rng(0).normal(0, 2, (3, *size)).astype("float32")
    model = sequential(shape)
    np.testing.assert_array_equal(attention_maps(model, images)["mask"], by_hand(model, images))
    assert maps_on_image(model, images)["MASK"].shape == images.shape[:3]


def test_digits_are_padded_to_the_input_of_the_model(uci):
    digits = uci.test_images[:2]
    for canvas in (28, 40):
        model = sequential((canvas, canvas, 1))
        expected = by_hand(model, network_input(digits, canvas))
        np.testing.assert_array_equal(attention_maps(model, digits)["mask"], expected)
        assert maps_on_image(model, digits)["MASK"].shape == (2, 28, 28)


def test_digits_for_a_model_without_a_channel_axis(uci):
    plane = layers.Reshape((28, 28, 1))
    model = keras.Sequential([keras.Input((28, 28)), plane, AttentionMask1x1(name="mask")])
    assert attention_maps(model, uci.test_images[:2])["mask"].shape == (2, 28, 28, 1)


def test_several_inputs():
    one, two = keras.Input((8, 8, 1), name="one"), keras.Input((8, 8, 3), name="two")
    both = layers.Concatenate()([one, two])
    generator = np.random.default_rng(0)
    images = {"one": generator.random((502, 8, 8, 1)), "two": generator.random((502, 8, 8, 3))}
    mask = AttentionMask1x1(name="mask")
    for model, inputs in (
        (keras.Model([one, two], mask(both)), [*images.values()]),
        (keras.Model({"one": one, "two": two}, mask(both)), images),
    ):
        maps = attention_maps(model, inputs)["mask"]
        joined = np.concatenate([*images.values()], axis=-1).astype("float32")
        _, expected = mask(joined, return_attention_scores=True)
        np.testing.assert_allclose(maps, expected, rtol=1e-6)
        with pytest.raises(ValueError, match=r"Expected one array of images"):
            maps_on_image(model, inputs)
        with pytest.raises(ValueError, match=r"Expected images .*\(None, 8, 8, 3\)\].*Received"):
            attention_maps(model, images["one"])


def test_a_mask_that_runs_in_a_compiled_function_is_refused(uci):
    class Compiled(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.inner = AttentionMask1x1(name="first"), sequential()

        def call(self, inputs):
            return compiled(self.inner)(self.first(inputs))

    def compiled(model):
        import tensorflow as tf

        cache.setdefault("inner", tf.function(model, autograph=False))
        return cache["inner"]

    cache: dict = {}
    model, images = Compiled(), uci.test_images[:2]
    for _ in range(2):  # also when the function is there already
        with pytest.raises(ValueError, match=r"outside of compiled functions.*\['mask'\]"):
            attention_maps(model, images)
    before = np.asarray(model(network_input(images)))
    with pytest.raises(ValueError, match=r"outside of compiled functions"):
        intervene(model, "ones")(network_input(images))
    np.testing.assert_array_equal(model(network_input(images)), before)


def test_masks_whose_short_names_are_the_same_are_all_there(uci):
    one, two = AttentionMask1x1(name="c1"), AttentionMask1x1(name="c1_attention")
    model = keras.Sequential([keras.Input((32, 32, 1)), layers.Conv2D(4, 3), one, two])
    assert [*maps_on_image(model, uci.test_images[:1])] == ["C1", "C1_2"]


def test_a_mask_that_never_runs_is_refused(uci):
    class Idle(keras.Model):
        def __init__(self):
            super().__init__()
            self.mask = AttentionMask1x1(name="mask")
            self.mask.build((None, 32, 32, 1))

        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match=r"Expected every mask.*no scores of \['mask'\]"):
        attention_maps(Idle(), uci.test_images[:1])


def test_channels_first_models_are_refused():
    inputs = keras.Input((1, 8, 8))
    features = layers.MaxPooling2D(data_format="channels_first", name="pool")(inputs)
    model = keras.Model(inputs, AttentionMask1x1()(features))
    with pytest.raises(ValueError, match=r"'channels_last'.*channels-first layers \['pool'\]"):
        attention_maps(model, np.ones((2, 1, 8, 8), "float32"))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.ones((2, 28, 28)), r"Expected images .*\(None, 20, 24, 3\).*\(2, 28, 28\)"),
        (np.ones((2, 24, 20, 3)), r"Expected images .*\(2, 24, 20, 3\)"),
        (np.ones((0, 20, 24, 3)), r"with n >= 1"),
        (np.full((1, 20, 24, 3), np.nan), r"without NaN"),
    ],
)
def test_images_that_the_model_does_not_take_are_refused(images, message):
    for probe in (attention_maps, maps_on_image):
        with pytest.raises(ValueError, match=message):
            probe(sequential((20, 24, 3)), images)


def test_weights_of_inner_models_are_reinitialised_too():
    model = nested()
    names = [name for name, _ in reinitialise_from_the_top(model, seed=2**32)]
    inner = model.layers[1]
    kinds = [model.layers[2], inner.layers[3], inner.layers[1], inner.layers[0]]
    assert names == [layer.name for layer in kinds]
    with pytest.raises(ValueError, match=r"Expected a functional or sequential model"):
        next(reinitialise_from_the_top(Subclassed(), seed=1))


def test_models_without_a_mask_are_refused(uci):
    for probe in (attention_maps, maps_on_image):
        with pytest.raises(ValueError, match=r"with an AttentionMask1x1.*layers \['.*'c1', 's2'"):
            probe(lenet5(), uci.test_images[:1])
