"""A small network with the state that the zoo has and LeNet has not; and, as a script, its runs as
lanes where there is no TensorFlow. Keras must have been told to use JAX.

    python zoo_runs.py FOLDER
"""

import sys
from pathlib import Path

import keras

from mnist_attention import MODELS, Protocol
from mnist_attention.models.initializers import draw_kernels
from mnist_attention.records import read_records, reproducible_text
from mnist_attention.studies import catalogue
from mnist_attention.studies import run as studies

PROTOCOL = Protocol(dataset="uci", model="resnet18", epochs=2, batch_size=479, momentum=0.9)


def small_network(*, seed: int = 0) -> keras.Model:
    """Batch normalisation keeps moving averages, dropout the state of its random numbers."""
    inputs = keras.Input((32, 32, 1))
    maps = keras.layers.Conv2D(4, 5, strides=4, name="c1")(inputs)
    maps = keras.layers.BatchNormalization(name="bn")(maps)
    maps = keras.layers.Dropout(0.5, seed=seed, name="dropout")(keras.layers.Flatten()(maps))
    model = keras.Model(inputs, keras.layers.Dense(10, name="output")(maps))
    draw_kernels(model, "glorot_uniform", seed)
    return model


def main(folder: Path) -> None:
    MODELS["resnet18"] = small_network
    catalogue.STUDIES["mine"] = catalogue.Study("?", (PROTOCOL,))
    options = {"engine": "lanes", "verbose": False}
    for minutes, expected in ((1e-6, (0, 1)), (None, (1, 0))):
        outcome = studies.run_study(
            "mine", results=folder / "resumed", budget_minutes=minutes, **options
        )
        assert (outcome.finished, outcome.cut_short) == expected, outcome
    studies.run_study("mine", results=folder / "unbroken", **options)
    (resumed,), _ = read_records(folder / "resumed")
    (unbroken,), _ = read_records(folder / "unbroken")
    assert unbroken["environment"]["engine"] == "lanes"
    assert unbroken["result"]["epochs"] == PROTOCOL.epochs
    assert unbroken["history"]["loss"][1] < unbroken["history"]["loss"][0]
    assert reproducible_text(resumed) == reproducible_text(unbroken)


if __name__ == "__main__":
    sys.modules["tensorflow"] = None  # importing it fails, as where it is not installed
    main(Path(sys.argv[1]))
