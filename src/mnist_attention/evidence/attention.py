"""What records and measurements say of the question: does the mask attend, or does it just gate?

Accuracies are in percent, differences in percentage points, gains in signal to noise in decibels.
Differences are paired by seed. Reads no Keras.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import pandas as pd

from ..noise import (
    BACKGROUND_CONDITIONS,
    CLEAN,
    CONTROL_CONDITION,
    CORRUPTION_CONDITIONS,
    TRAINING_CONDITIONS,
    Condition,
)
from ..probes.scores import short_name
from ..protocol import SHORT, ModelName, choices
from .runs import ENOUGH_SEEDS, Changes, Runs, difference, protocol_of, runs_of, sample
from .statistics import MARGIN, ONE_SIDE, Difference, Sample, paired_difference, summarise

Records = list[dict]
SHORT_RUNS: Changes = {"epochs": SHORT.epochs}
"""Setting of the controls and of training on noise: the paper's protocol, but shorter."""

ON_NOISE: Changes = {**SHORT_RUNS, **CONTROL_CONDITION.fields}
"""Setting in which the controls were trained on noise."""

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

BLOCK_NAMES = {MASKED: "the mask", **CONTROLS}
"""The mask and its controls: network -> what stands behind C1 and C3."""

assert {PLAIN, *BLOCK_NAMES} == {name for name in choices(ModelName) if name.startswith("lenet5")}


# Controls


def whole_runs(changes: Changes, records: Records) -> Runs:
    """The runs of a setting, none where they were cut short."""
    runs = runs_of(changes, records)
    return dataclasses.replace(runs, records=()) if runs.done < runs.asked else runs


def controls(records: Records, changes: Changes = SHORT_RUNS) -> pd.DataFrame:
    """The mask and its controls against LeNet-5 alone.

    Args:
        records: Any records.
        changes: The setting that all were trained in, `BRIEF` or `ON_NOISE`.

    Returns:
        One row a network. Columns network, n (paired seeds), accuracy (mean; NaN without pairs),
        gain, gain_low, gain_high, gain_shown (over LeNet-5, 95 % interval, `Difference.direction`),
        under, under_low, under_high, under_shown (the mask minus this one). Runs that were cut
        short are not used.
    """
    plain, masked = (whole_runs({**changes, "model": model}, records) for model in (PLAIN, MASKED))
    rows = []
    for model, name in BLOCK_NAMES.items():
        runs = whole_runs({**changes, "model": model}, records)
        gain = difference(runs, plain)
        under = difference(masked, runs) if model != MASKED else Difference(0)
        rows.append(
            {
                "network": name,
                "n": gain.n,
                "accuracy": sample(runs).mean if gain.n else math.nan,
                **_interval("gain", gain),
                "gain_shown": gain.direction,
                **_interval("under", under),
                "under_shown": under.direction,
            }
        )
    return pd.DataFrame(rows)


def _interval(name: str, paired: Difference) -> dict[str, float]:
    return {name: paired.mean, f"{name}_low": paired.low, f"{name}_high": paired.high}


# Measurements


def measured(changes: Changes, records: Records) -> dict[int, dict]:
    """Seed -> what was measured of the network of a setting, of full length."""
    return {
        protocol_of(record)["seed"]: record["measured"]
        for record in whole_runs(changes, records).records
        if "measured" in record
    }


def changed_by_seed(changes: Changes, records: Records) -> dict[str, list[float]]:
    """Intervention -> what it changes in the accuracy of each seed, in points."""
    networks = measured({**changes, "model": MASKED}, records).values()
    names = next(iter(networks))["interventions"] if networks else ()
    return {
        name: [
            100 * (found["interventions"][name] - found["conditions"][str(CLEAN)]["accuracy"])
            for found in networks
        ]
        for name in names
    }


FROM_THE_TOP = ("output", "f6", "c5", "c3_attention", "c3", "c1_attention", "c1")
"""Layers in the order in which their weights are drawn anew; a record's keys are sorted."""


def reinitialised(changes: Changes, records: Records) -> dict[str, dict[str, list[float]]]:
    """How far maps survive when weights are drawn anew.

    Returns:
        Mask layer -> layer down to which the weights are drawn anew, from the top -> rank
        correlation with the trained map, of each seed. Empty without measurements.
    """
    found = [one["randomised"] for one in measured({**changes, "model": MASKED}, records).values()]
    masks = sorted(found[0][FROM_THE_TOP[0]]) if found else ()
    return {
        mask: {drawn: [one[drawn][mask] for one in found] for drawn in FROM_THE_TOP}
        for mask in masks
    }


def gains_on_noise(
    model: str,
    trained: Changes,
    records: Records,
    conditions: Sequence[Condition],
    over: str = PLAIN,
) -> dict[Condition, Difference]:
    """What a network gains over another on disturbed test digits, in points, paired by seed.

    Args:
        model: The network.
        trained: The setting that both were trained in.
        records: With their measurements.
        conditions: How the test digits are disturbed.
        over: The other network, by default LeNet-5 alone.
    """
    base, other = (measured({**trained, "model": name}, records) for name in (over, model))
    return {
        condition: paired_difference(
            [
                100 * (_accuracy(other[seed], condition) - _accuracy(base[seed], condition))
                for seed in sorted(base.keys() & other.keys())
            ]
        )
        for condition in conditions
    }


def _accuracy(found: Mapping, condition: Condition) -> float:
    return found["conditions"][str(condition)]["accuracy"]


def robustness(changes: Changes, records: Records) -> pd.DataFrame:
    """Networks on test digits that are disturbed as their training digits were not.

    Args:
        changes: The setting that both networks were trained in.
        records: With their measurements.

    Returns:
        One row a condition. Columns name, strength, gamma, plain, masked (mean accuracies), n,
        gain, gain_low, gain_high, p_value, shown (with minus without the mask; the last is
        `Difference.direction`).
    """
    plain, masked = (measured({**changes, "model": model}, records) for model in (PLAIN, MASKED))
    seeds = sorted(plain.keys() & masked.keys())
    conditions = (CLEAN, *BACKGROUND_CONDITIONS, *CORRUPTION_CONDITIONS) if seeds else ()
    return pd.DataFrame(
        {
            **vars(condition),
            **{
                name: summarise([100 * _accuracy(found[seed], condition) for seed in seeds]).mean
                for name, found in (("plain", plain), ("masked", masked))
            },
            "n": gain.n,
            **_interval("gain", gain),
            "p_value": gain.p_value,
            "shown": gain.direction,
        }
        for condition, gain in gains_on_noise(MASKED, changes, records, conditions).items()
    )


def map_scores(
    changes: Changes, records: Records, condition: Condition = CLEAN
) -> dict[str, dict[str, Sample]]:
    """What the masks cover, beside the untrained network's and maps that need no network.

    Returns:
        Name of a map -> score -> mean and interval over the seeds. How trivial maps cover the ink
        has no spread, as they see the images alone; deletion and insertion, of clean digits only,
        depend on the network too. A score that was not measured of all seeds, or is no number, is
        left out.
    """
    networks = [
        _scores_by_map(found, condition)
        for found in measured({**changes, "model": MASKED}, records).values()
    ]
    shown: dict[str, dict[str, Sample]] = {}
    for name, scores in networks[0].items() if networks else ():
        shown[name] = {}
        for score in scores:
            values = [one[name][score] for one in networks if one[name].get(score) is not None]
            if len(values) == len(networks):
                varies = name.startswith("C") or score in AREAS
                shown[name][score] = summarise(values if varies else values[:1])
    return shown


def mask_quality(changes: Changes, records: Records) -> pd.DataFrame:
    """Of each network with the mask: how well it reads clean digits and its masks rank their ink.

    Returns:
        One row a seed. Columns accuracy (a fraction) and, for each mask, "C1" or "C3", its AUROC
        for ink. Empty without measurements.
    """
    rows = {}
    for seed, found in measured({**changes, "model": MASKED}, records).items():
        clean = found["conditions"][str(CLEAN)]
        ranked = {short_name(layer): of["ink_auroc"] for layer, of in clean["masks"].items()}
        rows[seed] = {"accuracy": clean["accuracy"], **ranked}
    return pd.DataFrame.from_dict(rows, orient="index", columns=None if rows else ["accuracy"])


AREAS = ("deletion", "insertion")
"""Scores of a map that ask the trained network."""


def _scores_by_map(found: Mapping, condition: Condition) -> dict[str, dict[str, float]]:
    """Of one network: "C1", "C1 untrained" or name of a trivial map -> score -> value."""
    covered = found["conditions"][str(condition)]
    areas = found.get("perturbation", {}) if condition == CLEAN else {}
    if not covered["trivial"].keys() <= areas.keys():
        areas = {}  # on other images, of the masks alone: how networks were measured at first
    shown = {}
    for kind, suffix in (("masks", ""), ("untrained", " untrained"), ("trivial", "")):
        for name, scores in covered[kind].items():
            title = name if kind == "trivial" else short_name(name) + suffix
            shown[title] = {**scores, **areas.get(name + suffix, {})}
    return shown


def trained_on_noise(records: Records) -> list[dict]:
    """Networks trained and tested on a background, one entry for each of `TRAINING_CONDITIONS`.

    Returns:
        Entries with `condition`; `gain`, with minus without the mask; and of the C1 mask on that
        background `focus`, the AUROC for ink minus that of the image's own brightness, and `snr`,
        the gain in signal to noise in decibels. Each a `Difference`; n is 0 where runs or
        measurements are missing.
    """
    entries = []
    for condition in TRAINING_CONDITIONS:
        changes = {**SHORT_RUNS, **condition.fields}
        plain, masked = (
            whole_runs({**changes, "model": model}, records) for model in (PLAIN, MASKED)
        )
        found = [
            network["conditions"][str(condition)]
            for network in measured({**changes, "model": MASKED}, records).values()
        ]
        entries.append(
            {
                "condition": condition,
                "plain": sample(plain),
                "masked": sample(masked),
                "gain": difference(masked, plain),
                "focus": paired_difference([_focus(one) for one in found]),
                "snr": paired_difference(
                    [gain for one in found if (gain := _snr_gain(one)) is not None]
                ),
            }
        )
    return entries


def _snr_gain(found: Mapping) -> float | None:
    """`None`, as JSON keeps what is no number, where a mask leaves neither signal nor noise."""
    return found["masks"]["c1_attention"]["snr_gain_db"]


def _focus(found: Mapping) -> float:
    mask, brightness = found["masks"]["c1_attention"], found["trivial"]["brightness"]
    return mask["ink_auroc"] - brightness["ink_auroc"]


# Attention, or just gating?


MOVED = {
    "mean": "its own mean at every place",
    "another image": "the mask of another image",
    "shuffled": "its own values at other places",
}
"""Interventions that leave the strength of a mask and take away where it looks."""

PLACELESS = {
    PLAIN: "nothing in its place",
    **{model: name for model, name in CONTROLS.items() if model != "lenet5_cbam"},
}
"""Networks that learn no mask over places: all controls but CBAM, which attends itself."""

Standing = Literal["beaten", "as good", "open", "missing"]


def rivals(records: Records) -> dict[str, Difference]:
    """What the mask must beat if it attends -> the mask minus that, in points.

    First what the mask itself becomes when it looks elsewhere (`MOVED`, in networks trained as the
    paper says), then what was trained in its place (`PLACELESS`): LeNet-5 alone as the paper says,
    the controls under `BRIEF`. n is 0 where runs or measurements are missing.
    """
    changed = changed_by_seed({}, records)
    return {
        **{
            words: paired_difference([-points for points in changed.get(name, ())])
            for name, words in MOVED.items()
        },
        **{
            words: _lead(model, {} if model == PLAIN else SHORT_RUNS, records)
            for model, words in PLACELESS.items()
        },
    }


def _lead(model: str, changes: Changes, records: Records) -> Difference:
    masked, other = (whole_runs({**changes, "model": m}, records) for m in (MASKED, model))
    return difference(masked, other)


def level(rival: str) -> float:
    """Level at which a rival is shown to be as good.

    LeNet-5 alone is the paper's own comparison, and is tested as claim C3 is. Of the other eight
    one is enough for the opposite of attention, so that together they have as much (Bonferroni):
    all nine err one time in twenty at most.
    """
    others = len(MOVED) + len(PLACELESS) - 1
    return ONE_SIDE if rival == PLACELESS[PLAIN] else ONE_SIDE / others


def standings(leads: Mapping[str, Difference]) -> dict[str, Standing]:
    """What the leads of the mask over its rivals show.

    Args:
        leads: As `rivals` gives them.

    Returns:
        Rival -> "missing" with fewer than three seeds; "beaten" if the mask is shown to be better;
        "as good" if the rival is shown to be worse by less than `inference.MARGIN`, if at all (a
        one-sided t test of non-inferiority at its `level`); "open" if the seeds differ too much to
        tell.
    """
    return {rival: _standing(rival, lead) for rival, lead in leads.items()}


def _standing(rival: str, lead: Difference) -> Standing:
    if lead.n < ENOUGH_SEEDS:
        return "missing"
    if lead.p_below(MARGIN) < level(rival):
        return "as good"
    return "beaten" if lead.direction > 0 else "open"


def attention_or_gating(records: Records) -> str:
    """The answer in a sentence.

    Attention: every rival is beaten. Then it counts where the mask looks, and no network without
    such a mask does as well. Not attention: at least one rival is as good, so that what it shares
    with the mask is enough: a gate, or, if it is LeNet-5 alone, not even that. Otherwise not yet
    decided; nothing is while a rival is missing. "Attention" needs all tests to succeed, so that
    none has to be corrected for the others; the opposite needs one of nine, hence `level`.
    """
    found = standings(rivals(records))
    named = {
        state: "; ".join(name for name, stands in found.items() if stands == state)
        for state in get_args(Standing)
    }
    if named["missing"]:
        return f"Not yet decided: no comparison yet with {named['missing']}."
    if named["as good"]:
        looks = all(found[name] == "beaten" for name in MOVED.values())
        used = " It has come to rely on where its mask looks, but need not look to do as well."
        idle = found[PLACELESS[PLAIN]] == "as good"
        answer = "It is not attention that counts, nor a gate" if idle else "It is just gating"
        return f"{answer}: the network does as well with {named['as good']}." + used * looks
    if named["open"]:
        return f"Not yet decided: the seeds differ too much to tell the mask from {named['open']}."
    return (
        "It is attention: the network does worse without the mask, with anything simpler in its "
        "place, and with a mask that looks elsewhere."
    )
