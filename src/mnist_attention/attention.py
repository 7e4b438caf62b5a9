"""What records and measurements say of the question: does the mask attend, or does it just gate?

Accuracies are in percent, differences in percentage points, gains in signal to noise in decibels.
Differences are paired by seed. Reads no Keras.
"""

from collections.abc import Callable, Mapping

import pandas as pd

from .backgrounds import BEHIND, CLEAN, OVER, TRAINED_ON, Condition
from .evidence import Changes, difference, protocol_of, runs_of
from .inference import Difference, Sample, paired_difference, summarise
from .protocol import SHORT, ModelName, choices

Records = list[dict]
BRIEF: Changes = {"epochs": SHORT.epochs}
"""Setting of the controls and of training on noise: the paper's protocol, but shorter."""

PLAIN, MASKED = "lenet5", "lenet5_attention"

CONTROLS = {
    "lenet5_constant": "one half everywhere",
    "lenet5_frozen": "masks that are not trained",
    "lenet5_convolution": "1x1 convolution, no product",
    "lenet5_swish": "swish: each feature gates itself",
    "lenet5_squeeze": "squeeze-and-excitation: whole maps",
    "lenet5_cbam": "CBAM: maps, then 7x7 neighbourhoods",
}
"""Control network -> what stands in it where the mask stood."""

assert {PLAIN, MASKED, *CONTROLS} == {
    name for name in choices(ModelName) if name.startswith("lenet5")
}


# Controls


def controls(records: Records) -> pd.DataFrame:
    """The mask and its controls against LeNet-5 alone.

    Returns:
        One row a network. Columns network, n (paired seeds), accuracy (mean), gain, low, high (over
        LeNet-5, 95 % interval), under, under_low, under_high (the mask minus this one).
    """
    plain, masked = (runs_of({**BRIEF, "model": model}, records) for model in (PLAIN, MASKED))
    rows = []
    for model, name in {MASKED: "the mask", **CONTROLS}.items():
        runs = runs_of({**BRIEF, "model": model}, records)
        gain = difference(runs, plain)
        under = difference(masked, runs) if model != MASKED else Difference(0)
        rows.append(
            {
                "network": name,
                "n": gain.n,
                "accuracy": summarise(
                    [100 * record["result"]["test_accuracy"] for record in runs.records]
                ).mean,
                **_interval("gain", gain),
                **_interval("under", under),
            }
        )
    return pd.DataFrame(rows)


def _interval(name: str, paired: Difference) -> dict[str, float]:
    return {name: paired.mean, f"{name}_low": paired.low, f"{name}_high": paired.high}


# Measurements


def measured(changes: Changes, records: Records) -> dict[int, dict]:
    """Seed -> what was measured of the network of a setting, of full length."""
    runs = runs_of(changes, records)
    if runs.done < runs.asked:
        return {}
    return {
        protocol_of(record)["seed"]: record["measured"]
        for record in runs.records
        if "measured" in record
    }


def over_seeds(changes: Changes, records: Records, pick: Callable[[dict], float]) -> Sample:
    """Mean and interval over the seeds of one number of the measurements."""
    return summarise([pick(found) for found in measured(changes, records).values()])


def interventions(changes: Changes, records: Records) -> dict[str, Difference]:
    """Intervention -> what it changes in the accuracy on clean digits, in points."""
    networks = measured({**changes, "model": MASKED}, records).values()
    names = next(iter(networks))["interventions"] if networks else ()
    return {
        name: paired_difference(
            [
                100 * (found["interventions"][name] - found["conditions"][str(CLEAN)]["accuracy"])
                for found in networks
            ]
        )
        for name in names
    }


def robustness(changes: Changes, records: Records) -> pd.DataFrame:
    """Networks on test digits that are disturbed as their training digits were not.

    Args:
        changes: The setting that both networks were trained in.
        records: With their measurements.

    Returns:
        One row a condition. Columns name, strength, gamma, plain, masked (mean accuracies), n,
        gain, gain_low, gain_high (with minus without the mask).
    """
    plain, masked = (measured({**changes, "model": model}, records) for model in (PLAIN, MASKED))
    seeds = sorted(plain.keys() & masked.keys())
    rows = []
    for condition in (CLEAN, *BEHIND, *OVER) if seeds else ():
        without, with_mask = (
            [100 * found[seed]["conditions"][str(condition)]["accuracy"] for seed in seeds]
            for found in (plain, masked)
        )
        paired = paired_difference([a - b for a, b in zip(with_mask, without, strict=True)])
        rows.append(
            {
                **vars(condition),
                "plain": summarise(without).mean,
                "masked": summarise(with_mask).mean,
                "n": paired.n,
                **_interval("gain", paired),
            }
        )
    return pd.DataFrame(rows)


def map_scores(
    changes: Changes, records: Records, condition: Condition = CLEAN
) -> dict[str, dict[str, Sample]]:
    """What the masks cover, beside the untrained network's and maps that need no network.

    Returns:
        Name of a map -> score -> mean and interval over the seeds. Trivial maps see the images
        alone, so that they have no spread.
    """
    networks = [
        found["conditions"][str(condition)]
        for found in measured({**changes, "model": MASKED}, records).values()
    ]
    if not networks:
        return {}
    found = {}
    for kind in ("masks", "untrained"):
        for layer in networks[0][kind]:
            name = layer.partition("_")[0].upper() + (" untrained" if kind == "untrained" else "")
            found[name] = _samples([network[kind][layer] for network in networks])
    trivial = networks[0]["trivial"]
    return found | {name: _samples([scores]) for name, scores in trivial.items()}


def _samples(scores: list[Mapping[str, float]]) -> dict[str, Sample]:
    return {name: summarise([one[name] for one in scores]) for name in scores[0]}


def trained_on_noise(records: Records) -> list[dict]:
    """Networks trained and tested on a background, one entry for each of `TRAINED_ON`.

    Returns:
        Entries with `condition`; `gain`, with minus without the mask; and of the C1 mask on that
        background `focus`, the AUROC for ink minus that of the image's own brightness, and `snr`,
        the gain in signal to noise in decibels. Each a `Difference`; n is 0 where runs or
        measurements are missing.
    """
    entries = []
    for condition in TRAINED_ON:
        changes = {**BRIEF, **condition.fields}
        plain, masked = (runs_of({**changes, "model": model}, records) for model in (PLAIN, MASKED))
        found = [
            network["conditions"][str(condition)]
            for network in measured({**changes, "model": MASKED}, records).values()
        ]
        entries.append(
            {
                "condition": condition,
                "plain": summarise([100 * r["result"]["test_accuracy"] for r in plain.records]),
                "masked": summarise([100 * r["result"]["test_accuracy"] for r in masked.records]),
                "gain": difference(masked, plain),
                "focus": paired_difference([_focus(one) for one in found]),
                "snr": paired_difference(
                    [one["masks"]["c1_attention"]["snr_gain_db"] for one in found]
                ),
            }
        )
    return entries


def _focus(found: Mapping) -> float:
    mask, brightness = found["masks"]["c1_attention"], found["trivial"]["brightness"]
    return mask["ink_auroc"] - brightness["ink_auroc"]
