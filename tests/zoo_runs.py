"""A small network with the state that the zoo has and LeNet has not; and, as a script, its runs as
lanes where there is no TensorFlow. Keras must have been told to use JAX.

    python zoo_runs.py FOLDER               a study with a budget, then without
    python zoo_runs.py FOLDER gpu MINUTES   one part of the order of runs for a GPU, with tiny runs
"""

import sys
from dataclasses import replace
from pathlib import Path

import keras

from mnist_attention import MODELS, Protocol
from mnist_attention.models.initializers import draw_kernels
from mnist_attention.records import read_records, reproducible_text
from mnist_attention.studies import catalogue, gpu
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


def rehearse_gpu(folder: Path, minutes: str) -> None:
    """One part of the order for a GPU: its studies and calls, one epoch of tiny networks each."""
    for name in ("alexnet", "resnet50", "vgg16", "resnet18", "lenet5", "lenet5_attention"):
        MODELS[name] = small_network
    for call in gpu.ORDER:
        study = catalogue.STUDIES[call["name"]]
        tiny = {"dataset": "uci", "batch_size": 479}
        protocols = [
            replace(p, **tiny, epochs=min(p.epochs, 50) // 50 or 1) for p in study.protocols
        ]
        tiny_study = catalogue.Study(study.question, tuple(dict.fromkeys(protocols)))
        catalogue.STUDIES[call["name"]] = tiny_study
        call["seeds"] = min(2, call.get("seeds", 1))
    gpu.BENCHMARK = ("--dataset", "uci", "--lanes", "1", "--epochs", "1", "--lowering", "patches")
    gpu.main([str(folder), "--minutes", minutes])


if __name__ == "__main__":
    sys.modules["tensorflow"] = None  # importing it fails, as where it is not installed
    folder, *rest = sys.argv[1:]
    rehearse_gpu(Path(folder), rest[1]) if rest else main(Path(folder))
