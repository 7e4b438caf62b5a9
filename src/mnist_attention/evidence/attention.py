"""Controls, measurements and the question: does the mask attend?

Accuracies are in percent, differences, paired by seed, in points, signal to noise in decibels.
"""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from ..noise import (
    BACKGROUND_CONDITIONS,
    CLEAN,
    CONTROL_CONDITION,
    CORRUPTION_CONDITIONS,
    TRAINING_CONDITIONS,
    Condition,
)
from ..protocol import SHORT
from . import statistics
from .runs import ENOUGH_SEEDS, Changes, Records, Runs, difference, pairs, value_of, whole_runs
from .statistics import LEVEL, MARGIN, Difference, Sample, paired_difference, summarise

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
"""Control network -> what it has in place of the mask."""

BLOCK_NAMES = {MASKED: "the mask", **CONTROLS}
"""The mask and its controls: network -> what it has after C1 and C3."""


def plain_and_masked(changes: Changes, records: Records) -> list[Runs]:
    """The runs of a setting without and with the mask, none where they were cut short."""
    return [whole_runs({**changes, "model": model}, records) for model in (PLAIN, MASKED)]


def measured(changes: Changes, records: Records) -> dict[int, dict]:
    """Seed -> what was measured of the network of a setting, of full length."""
    found = whole_runs(changes, records).by_seed
    return {seed: run["measured"] for seed, run in found.items() if "measured" in run}


def _number(found: Mapping, *keys: str) -> float:
    """A number deep in a measurement; NaN where it was not measured."""
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return math.nan if found is None else found


def _accuracy(found: Mapping, condition: Condition) -> float:
    return _number(found, "conditions", str(condition), "accuracy")


def changed_by_seed(changes: Changes, records: Records) -> dict[str, list[float]]:
    """Intervention -> what it changes in the accuracy of each seed, in points."""
    changed: dict[str, list[float]] = {}
    for found in measured({**changes, "model": MASKED}, records).values():
        for name, accuracy in found.get("interventions", {}).items():
            changed.setdefault(name, []).append(100 * (accuracy - _accuracy(found, CLEAN)))
    return changed


FROM_THE_TOP = ("output", "f6", "c5", "c3_attention", "c3", "c1_attention", "c1")
"""Layers in the order in which their weights are re-initialised; a record's keys are sorted."""


def reinitialised(changes: Changes, records: Records) -> dict[str, dict[str, list]]:
    """How far maps survive when weights are re-initialised.

    Returns:
        Mask layer -> layer down to which weights are re-initialised, from the top -> rank
        correlation with the trained map: for each seed a list, one number a draw.
    """
    networks = measured({**changes, "model": MASKED}, records).values()
    found = [one["reinitialised_draws"] for one in networks if "reinitialised_draws" in one]
    masks = sorted(found[0][FROM_THE_TOP[0]]) if found else ()
    return {
        mask: {name: [one[name][mask] for one in found] for name in FROM_THE_TOP} for mask in masks
    }


def robustness(changes: Changes, records: Records) -> pd.DataFrame:
    """Compare networks on test digits that are disturbed as their training digits were not.

    Returns:
        One row a condition. Columns condition, name, strength, gamma, plain, masked (mean
        accuracies), n and gain (with minus without the mask, a `Difference`). Empty without pairs.
    """
    plain, masked = (measured({**changes, "model": model}, records) for model in (PLAIN, MASKED))
    pairs = [(plain[seed], masked[seed]) for seed in sorted(plain.keys() & masked.keys())]
    rows = []
    for condition in (CLEAN, *BACKGROUND_CONDITIONS, *CORRUPTION_CONDITIONS) if pairs else ():
        values = [[100 * _accuracy(found, condition) for found in pair] for pair in pairs]
        means = dict(zip(("plain", "masked"), np.mean(values, axis=0), strict=True))
        gain = paired_difference(np.diff(values)[:, 0])
        named = {"condition": condition, **vars(condition)}
        rows.append({**named, **means, "n": gain.n, "gain": gain})
    return pd.DataFrame(rows)


LEARNED_MAPS = {
    "C1": ("masks", "c1_attention"),
    "C3": ("masks", "c3_attention"),
    "C1 untrained": ("untrained", "c1_attention"),
    "C3 untrained": ("untrained", "c3_attention"),
}
"""Title of a mask -> where it is in a measurement. Other maps see the image alone."""


def map_scores(changes: Changes, records: Records) -> dict[str, dict[str, Sample]]:
    """Scores of the masks on clean digits, beside those of untrained masks and of trivial maps.

    Returns:
        Title of a map -> score -> mean and interval over the seeds. The scores of trivial maps
        have no spread, as they see the images alone; deletion and insertion depend on the network
        too. A score that was not measured of all seeds is left out.
    """
    found = measured({**changes, "model": MASKED}, records).values()
    networks = [_scores_by_map(each) for each in found]
    shown: dict[str, dict[str, Sample]] = {}
    for title, scores in networks[0].items() if networks else ():
        shown[title] = {}
        for score in scores:
            values = [_number(one, title, score) for one in networks]
            if not any(map(math.isnan, values)):
                varies = title in LEARNED_MAPS or score in ("deletion", "insertion")
                shown[title][score] = summarise(values if varies else values[:1])
    return shown


def _scores_by_map(found: Mapping) -> dict[str, dict[str, float]]:
    """Of one network: "C1", "C1 untrained" or name of a trivial map -> score -> value."""
    covered = found["conditions"][str(CLEAN)]
    trivial, areas = covered.get("trivial", {}), found.get("perturbation", {})
    if not trivial.keys() <= areas.keys():
        areas = {}  # on other images, of the masks alone: how networks were measured at first
    learned = {
        title: {**covered[kind][layer], **areas.get(layer + " untrained" * (kind != "masks"), {})}
        for title, (kind, layer) in LEARNED_MAPS.items()
        if layer in covered.get(kind, {})
    }
    return learned | {name: {**scores, **areas.get(name, {})} for name, scores in trivial.items()}


def trained_on_noise(records: Records) -> list[dict]:
    """Networks trained and tested on a background, one entry for each of `TRAINING_CONDITIONS`.

    Returns:
        Entries with `condition`; the measured records `with_mask`, those of `pairs`; `plain` and
        `masked`, the accuracies of all pairs without and with the mask, each a `Sample`; and as
        `Difference`: `gain`, with minus without the mask; of the C1 mask on that background `over`,
        its AUROC for ink minus that of other maps, by name: Sobel edges, a Gaussian in the centre,
        the mask of the untrained network; `over_others`, the same of maps that are not judged: the
        image's own brightness, and the frozen mask of a network that was trained around it; `snr`,
        the gain in signal to noise in decibels; `snr_over_untrained` and `snr_over_frozen`, the
        same minus the gain of these masks. n is 0 where runs or measurements are missing.
    """
    return [_trained_on(condition, records) for condition in TRAINING_CONDITIONS]


def _trained_on(condition: Condition, records: Records) -> dict:
    changes = {**SHORT_RUNS, **condition.fields}
    plain, masked = plain_and_masked(changes, records)

    def scores(score: str, kind: str = "masks", name: str = "c1_attention", model: str = MASKED):
        """Seed -> score of a map on the background; by default of the trained C1 mask."""
        found = measured({**changes, "model": model}, records)
        place = "conditions", str(condition), kind, name, score
        return {seed: _number(one, *place) for seed, one in found.items()}

    def minus(first: dict[int, float], second: dict[int, float]) -> Difference:
        return paired_difference([first[seed] - second[seed] for seed in first if seed in second])

    auroc, snr = scores("ink_auroc"), scores("snr_gain_db")
    both = pairs(plain, masked).values()  # more networks may have the mask
    edges, centre, brightness = (
        minus(auroc, scores("ink_auroc", "trivial", name))
        for name in ("edges", "centre", "brightness")
    )
    untrained = minus(auroc, scores("ink_auroc", "untrained"))
    frozen = minus(auroc, scores("ink_auroc", model="lenet5_frozen"))
    return {
        "condition": condition,
        "plain": summarise([value_of(run) for run, _ in both]),
        "masked": summarise([value_of(run) for _, run in both]),
        "pairs": [run for pair in both for run in pair],
        "with_mask": [run for run in masked.records if "measured" in run],
        "gain": difference(masked, plain),
        "over": {"edges": edges, "centre": centre, "untrained": untrained},
        "over_others": {"brightness": brightness, "frozen": frozen},
        "snr": paired_difference([*snr.values()]),
        "snr_over_untrained": minus(snr, scores("snr_gain_db", "untrained")),
        "snr_over_frozen": minus(snr, scores("snr_gain_db", model="lenet5_frozen")),
    }


# Does the mask attend?


MOVED = {
    "mean": "its own mean at every place",
    "another image": "the mask of another image",
    "shuffled": "its own values at other places",
}
"""Interventions that keep the strength of a mask and change where it looks."""

PLACELESS = {
    PLAIN: "nothing in its place",
    **{model: name for model, name in CONTROLS.items() if model != "lenet5_cbam"},
}
"""Networks that learn no mask over places: all controls but CBAM, which attends itself."""

Standing = Literal["beaten", "as good", "open", "missing"]
Answer = Literal["yes", "no", "undecided"]


def rivals(records: Records) -> dict[str, Difference]:
    """What the mask must beat if it attends -> the mask minus that, in points.

    What the trained mask becomes when it looks elsewhere (`MOVED`), and what was trained in its
    place (`PLACELESS`). LeNet-5 alone is compared at 100 epochs, the other eight at 20.
    """
    changed = changed_by_seed(SHORT_RUNS, records)
    leads = {
        words: paired_difference([-points for points in changed.get(name, ())])
        for name, words in MOVED.items()
    }
    for model, words in PLACELESS.items():
        changes = {} if model == PLAIN else SHORT_RUNS
        masked, other = (whole_runs({**changes, "model": m}, records) for m in (MASKED, model))
        leads[words] = difference(masked, other)
    return leads


def standings(
    leads: Mapping[str, Difference], *, shared: bool = True, sides: int = 1
) -> dict[str, Standing]:
    """What the leads of the mask over its `rivals` show.

    With `shared`, all tests share one error rate (Holm); else each has 0.05 of its own.

    Returns:
        Rival -> "missing" with fewer than three seeds; "as good" if the mask is shown to be better
        by less than `MARGIN`, if at all (t test with so many `sides`); "beaten" if it is shown to
        be better (two-sided, see `Difference.sign_p`); "open" if neither is shown.
    """
    correct = statistics.holm if shared else list
    better = correct([lead.sign_p for lead in leads.values()])
    no_better = correct([sides * lead.p_below(MARGIN) for lead in leads.values()])
    found: dict[str, Standing] = {}
    for (rival, lead), p_better, p_no_better in zip(leads.items(), better, no_better, strict=True):
        if lead.n < ENOUGH_SEEDS:
            found[rival] = "missing"
        elif p_no_better < LEVEL:
            found[rival] = "as good"
        else:
            found[rival] = "beaten" if lead.direction_at(p_better) > 0 else "open"
    return found


def attends(found: Mapping[str, Standing]) -> Answer:
    """Whether the mask attends, by its `standings`: it must beat every rival.

    One that is as good is enough for "no". Nothing is decided while a rival is missing.
    """
    if "missing" in found.values():
        return "undecided"
    if "as good" in found.values():
        return "no"
    return "undecided" if "open" in found.values() else "yes"
