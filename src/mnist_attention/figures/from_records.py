"""Figures of what the records say: each asks `evidence` for its numbers, and draws them.

Runs that were cut short, and runs on other digits than MNIST, are never drawn.
"""

import itertools
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..data import TRAIN_SIZE
from ..evidence import ablations, attention
from ..evidence import runs as evidence
from ..evidence.runs import Records, value_of, whole_runs
from ..noise import BACKGROUND_CONDITIONS, CLEAN
from ..protocol import PAPER as PROTOCOL
from ..protocol import SHORT
from .plots import Curve, curves, forest, pairs
from .style import MASK, save

_PAIR = (attention.PLAIN, attention.MASKED)
_NETWORKS = ("LeNet", "LeNet+Attention")  # as the paper's tables name them
_EARLY = 20  # epochs drawn apart: curves then change by hundredths of what they did before
_LARGEST_EFFECT = 5  # points that the axis of the ablations shows
_DOTS = "small: a seed, large: their mean"


# What is asked of evidence


def _pairs(records: Records) -> list[list[dict]]:
    """The records of LeNet without and with the mask, of the seeds that both have."""
    both = evidence.pairs(*attention.plain_and_masked({}, records)).values()
    return [*map(list, zip(*both, strict=True))] or [[], []]


def _history(runs: Sequence[dict]) -> np.ndarray:
    """Test accuracy in percent after each epoch, a row a run; NaN where one has ended."""
    lines = [record["history"]["test_accuracy"] for record in runs]
    epochs = [*itertools.zip_longest(*lines, fillvalue=np.nan)]
    return 100 * np.array(epochs, float).reshape(len(epochs), len(lines)).T


# Accuracy


def hero(records: Records, *, title: str | None = None) -> Figure:
    """The finding: the paper's gain as a steep line, our pairs as flat ones."""
    ours = [[value_of(record) for record in runs] for runs in _pairs(records)]
    paper = tuple(evidence.reported_value(name) for name in _NETWORKS)
    if title is None:
        title = "The paper: the mask lifts LeNet from {:.1f} to {:.1f} %.".format(*paper)
        if ours[0]:
            title += " Here: from {:.2f} to {:.2f} %.".format(*map(np.mean, ours))
    return pairs(*ours, paper, title=title)


def learning_curves(records: Records, *, title: str = "") -> Figure:
    """Test accuracy of all pairs: the first epochs, and the others enlarged."""
    panels = _early_and_late(dict(zip(_NETWORKS, map(_history, _pairs(records)), strict=True)))
    levels = {f"paper, {name}": evidence.reported_value(name) for name in _NETWORKS}
    return curves(panels, title=title, levels=levels, limits=[(0, 100), (96, 99.6)])


def mask_minus_plain(records: Records, *, title: str = "") -> Figure:
    """What the mask is worth after each epoch, a thin line a pair: first epochs, and the others."""
    plain, masked = map(_history, _pairs(records))
    name, gain = f"mean of {len(plain)}", evidence.reported_gain()
    return curves(
        _early_and_late({name: masked - plain}),
        title=title,
        y="with minus without the mask,\npoints of test accuracy",
        levels={f"the paper\n{gain:+g}": gain},
        limits=[None, (-2.5, 2.5)],
        colours={name: MASK},
    )


def _early_and_late(lines: dict[str, np.ndarray]) -> dict[str, dict[str, Curve]]:
    """Two panels of curves over the epochs: until `_EARLY`, and from there on."""

    def part(of: slice) -> dict[str, Curve]:
        return {
            name: Curve(np.arange(1, 1 + values.shape[1])[of], values[:, of])
            for name, values in lines.items()
        }

    return {
        f"the first {_EARLY} epochs": part(slice(_EARLY)),
        "after that, enlarged": part(slice(_EARLY, None)),
    }


def paper_table(records: Records, number: int, *, title: str = "") -> Figure:
    """One of the paper's tables, 1 to 4: our mean with its 95 % interval, the paper's number.

    A panel each for training and test accuracy, as far as the paper reports them. Rows without
    finished runs are named below.
    """
    table = evidence.reported()
    panels: dict[str, dict] = {}
    said: dict[str, dict] = {}
    lacking: dict[str, str] = {}
    for entry in table[table.table == number].itertuples():
        runs = evidence.runs_of(evidence.setting_of(entry.row), records)
        panel = entry.metric.replace("train_", "training ").replace("test_", "test ")
        name = entry.row.replace("_", " ").replace("=", " ")
        if lack := runs.lack(seeds=1):
            lacking[name] = f"{name} ({lack})"
        else:
            panels.setdefault(panel, {})[name] = evidence.sample(runs, entry.metric)
            said.setdefault(panel, {})[name] = entry.value_percent
    label = "accuracy, %"
    if lacking:
        label += "\nnot finished: " + ", ".join(lacking.values())
    return forest(panels, title=title, label=label, paper=said, form=".2f", equal=None)


def accuracy_over_steps(records: Records, *, title: str = "") -> Figure:
    """Test accuracy over steps instead of epochs, a curve a batch size."""
    panels: dict[str, dict] = {"over epochs": {}, "over steps, in thousands": {}}
    table = evidence.reported()
    for row in table[table.table == 3].row:
        size = evidence.setting_of(row)["batch_size"]
        values = _history(whole_runs({"batch_size": size}, records).records)
        if values.size:
            mean, epochs = values.mean(axis=0), np.arange(1, 1 + values.shape[1])
            steps = np.ceil(TRAIN_SIZE["mnist"] / size) * epochs / 1000
            for panel, places in zip(panels.values(), (epochs, steps), strict=True):
                panel[f"batch {size}"] = Curve(places, mean)
    shades = ("#000000", "#CC79A7", MASK, "#009E73", "#B8A000")
    colours = dict(zip(panels["over epochs"], shades, strict=False))
    y = "test accuracy, mean of the seeds, %"
    return curves(panels, title=title, x="", y=y, limits=(90, 99), colours=colours)


def ablation_forest(records: Records, *, title: str = "") -> Figure:
    """What each choice that the paper leaves open is worth, a panel for each length of training.

    Options with fewer runs than a verdict needs are left out; those beyond the axis, among them all
    whose runs are stuck at chance, are named below.
    """
    effects = {
        (f"{row.choice}: {row.option}", row.epochs): row.effect
        for row in ablations.effects(records)
        if row.metric == "test accuracy" and not row.lack
    }
    drawn = {key: effect for key, effect in effects.items() if abs(effect.mean) <= _LARGEST_EFFECT}
    names = dict.fromkeys(name for name, _ in drawn)
    panels = {
        f"after {epochs} epochs": {name: drawn.get((name, epochs), ()) for name in names}
        for epochs in (SHORT.epochs, PROTOCOL.epochs)
    }
    limits = (-_LARGEST_EFFECT, _LARGEST_EFFECT)
    figure = forest(panels, title=title, limits=limits, missing="")
    beyond = {
        f"{name} ({epochs} epochs)" if name in names else name
        for name, epochs in effects.keys() - drawn.keys()
    }
    if beyond:
        listed = "; ".join(sorted(beyond))
        note = f"Gaps: too few runs. Not drawn, because beyond the axes: {listed}"
        figure.supxlabel("\n".join(textwrap.wrap(note, 110)), x=0.01, ha="left", fontsize=9)
    return figure


def redraw(records: Records) -> None:
    """Draw the figures of README and REPORT again, into the folder of figures."""
    save(hero(records), "hero")
    title = "The mask starts late and gains nothing"
    save(mask_minus_plain(records, title=title), "report_mask_minus_plain")
    title = "At the paper's rate, momentum and leaving out flips are shown to help; nothing else is"
    save(ablation_forest(records, title=title), "report_ablations")


# What the mask does


def interventions(records: Records, *, title: str = "") -> Figure:
    """What replacing the trained masks changes in the accuracy of LeNet+Attention, by seed."""
    changed = attention.changed_by_seed({}, records)
    names = {**attention.MOVED, "ones": "ones: no mask at all"}
    rows = {words: changed.get(name, []) for name, words in names.items()}
    label = f"change of test accuracy in points; {_DOTS}"
    return forest({"": rows}, title=title, label=label, join=True)


def controls(records: Records, *, title: str = "") -> Figure:
    """Accuracy of LeNet, with the mask, and with what could stand in its place; seeds joined."""
    names = {attention.PLAIN: "LeNet", **attention.BLOCK_NAMES}
    found = {
        name: whole_runs({**attention.SHORT_RUNS, "model": model}, records).by_seed
        for model, name in names.items()
    }
    some = [set(runs) for runs in found.values() if runs]
    seeds = sorted(set.intersection(*some)) if some else []
    rows = {n: [value_of(runs[s]) for s in seeds if s in runs] for n, runs in found.items()}
    return forest(
        {"": rows},
        title=title,
        label=f"test accuracy after {SHORT.epochs} epochs, %; {_DOTS}",
        form=".2f",
        equal=None,
        join=True,
        colours=dict.fromkeys(attention.CONTROLS.values(), "#009E73"),
    )


def reinitialised(records: Records, *, title: str = "") -> Figure:
    """How far masks survive while weights are re-initialised from the output down; by seed."""
    layers = attention.FROM_THE_TOP
    panels = {}
    learned = attention.LEARNED_MAPS.items()
    titles = {mask: title for title, (kind, mask) in learned if kind == "masks"}
    for mask, drawn in attention.reinitialised(attention.SHORT_RUNS, records).items():
        # One line for each seed and draw, whether or not a seed has several draws.
        lines = np.transpose([drawn[name] for name in layers]).reshape(-1, len(layers))
        panels[f"{titles[mask]} mask"] = {"": Curve(range(len(layers)), lines, mean=False)}
    return curves(
        panels,
        title=title,
        x="re-initialised from the output down to",
        y="rank correlation\nwith the trained mask",
        ticks={
            place: name.upper().replace("_ATTENTION", "\nmask") for place, name in enumerate(layers)
        },
        limits=(-1.05, 1.05),
        colours={"": MASK},
    )


# Noise


def accuracy_over_strength(records: Records, *, title: str = "") -> Figure:
    """Accuracy on five backgrounds over their strength, with the mask and without; by seed."""
    found = {
        name: [one["conditions"] for one in attention.measured({"model": model}, records).values()]
        for name, model in zip(("without the mask", "with the mask"), _PAIR, strict=True)
    }
    panels: dict[str, dict] = {}
    for kind, gamma in dict.fromkeys((c.name, c.gamma) for c in BACKGROUND_CONDITIONS):
        steps = [CLEAN] + [c for c in BACKGROUND_CONDITIONS if (c.name, c.gamma) == (kind, gamma)]
        panels[f"{kind}, {gamma:g}" if kind == "gaussian" else kind] = {
            name: Curve(
                [c.strength for c in steps],
                [[100 * one[str(c)]["accuracy"] for c in steps] for one in networks],
            )
            for name, networks in found.items()
            if networks
        }
    ticks = {0: "0", 0.5: "½", 1: "1"}
    return curves(panels, title=title, x="strength", limits=(0, 100), ticks=ticks, height=2.9)


def decibels_and_accuracy(records: Records, *, title: str = "") -> Figure:
    """Networks trained on a background: signal to noise and accuracy that the mask adds."""
    parts = {"snr": "signal to noise, decibels", "gain": "test accuracy, points"}
    entries = attention.trained_on_noise(records)
    panels = {
        words: {str(entry["condition"]): entry[part] for entry in entries}
        for part, words in parts.items()
    }
    return forest(panels, title=title, label="gain by the mask", equal=0)
