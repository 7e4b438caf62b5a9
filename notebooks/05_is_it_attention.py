# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5. Is it attention?
#
# Notebook 4 showed masks that lie on the digits. That is what the word "attention" makes one
# expect, and it is no proof. This notebook puts the mask on trial.
#
# **You will** see what each choice is worth that the paper leaves open, hold the mask against
# simpler things in its place, move it away from its image and watch the accuracy, and test whether
# its maps show what the network has learned.
#
# **You will learn** what a claim of attention needs as evidence, and how a rule in code answers it
# in one sentence.
#
# **You need** notebook 4. Run time: about a minute. All training is on record; the replacing of
# masks and the comparing of maps are live.

# %%
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from mnist_attention import PAPER, attention_maps, build_model, figures, load_dataset
from mnist_attention.data import brightness
from mnist_attention.evidence import ablations, attention, report
from mnist_attention.evidence import runs as evidence
from mnist_attention.figures import attention as pictures
from mnist_attention.figures import controls, effects
from mnist_attention.probes.interventions import INTERVENTIONS, intervene, reinitialise_from_the_top
from mnist_attention.probes.masks import maps_on_image
from mnist_attention.probes.measure import COMPARED, agreement, load_or_train_briefly, load_trained
from mnist_attention.probes.scores import mask_on_image
from mnist_attention.records import read_records
from mnist_attention.storage.paths import RESULTS
from mnist_attention.training import predict_classes

# %% tags=["parameters"] nbmake={"mock": {"DATASET": "uci", "EPOCHS": 1}}
DATASET = "mnist"
EPOCHS = 5  # of the short training that stands in where there are no trained weights

# %%
dataset = load_dataset(DATASET, fallback=True)
banner = dataset.banner
if banner:
    display(Markdown(f"> **These are the {banner}.** What is on record is about MNIST."))

# %%
records, problems = read_records(RESULTS)
print(f"{len(records)} records", *problems, sep="\n")

# %% [markdown]
# ## What would have to be true
#
# The mask computes `outputs = x * sigmoid(conv1x1(x))`. Read without its name, that is a *gate*:
# each position's features, times a number made from these very features. Gates are older than
# attention, and many things called by other names do the same. The word *attention* says more: that
# the network has learned *where to look*, and is better for it. If so, then
#
# 1. **it counts where the mask looks**: with the same mask at other places, or with another image's
#    mask, the trained network gets worse;
# 2. **looking is what helps**: networks that have something simpler in the mask's place, something
#    that learns no mask over places, do worse.
#
# The first is about the trained network, the second about training. The first alone is not enough:
# a network gets used to whatever it was trained with, and taking *anything* away may harm it.
#
# ## First, what we assumed
#
# The paper leaves much open. Is our mask a poor one, would it shine in another place, or with
# another activation? The ledger holds our reading of each open choice against the other readings:
# accuracy with the option minus accuracy with ours, paired by seed. Where LeNet without a mask was
# trained alike, a column says what the mask is worth under the option.

# %%
alt = "For each open choice and option the difference in accuracy to ours, with its interval."
figures.show(effects.forest_of_ledger(records), "05_ledger", alt)

# %%
Markdown(report.markdown(report.ledger_table(records)))

# %%
ledger = ablations.ledger(records)
lacking = ledger[ledger.lack != ""]
open_still = [f"{row.choice}, {row.option} ({row.lack})" for row in lacking.itertuples()]
Markdown(f"Options without enough runs: {'; '.join(open_still) or 'none'}.")

# %%
gained = ledger.dropna(subset="gain")
is_mask = gained.choice.str.contains("mask")
kinds = {"Other masks": gained[is_mask], "Other ways of training": gained[~is_mask]}
for kind, rows in kinds.items():
    better = rows[rows.gain_shown > 0].option.unique()
    print(f"{kind}, each beside LeNet alone trained alike: {rows.option.nunique()}.")
    print(f"    Shown to be better with a mask: {', '.join(better) or 'none'}.")

# %% [markdown]
# The last column says after how many epochs an option and ours were compared. "Guess" counts runs
# that had not begun to learn by then. With a softmax mask, sigmoid units or narrow weights the
# first steps are so small that 20 epochs might tell nothing of 100; but after 100 they guess as
# well. The last two rows are no options of the network but ways to report the same runs: a paper
# that is silent on them leaves its numbers open by as much. One interval in twenty is expected to
# miss, and there are more than twenty: do not read much into one. Nor into a very short one of
# three seeds: three differences can lie close together by luck.
#
# What gains most after 100 epochs goes against the paper's text, which has flips. With shifts alone
# the network with the mask reaches what the paper reports for it. So does LeNet-5 alone, trained
# alike: the column *option over LeNet alone* says what is left for the mask.
#
# ## The controls
#
# Seven networks, alike in all but what stands behind C1 and C3. With the same seed they start with
# the same weights elsewhere and see the same batches.

# %%
LEFT = {
    attention.MASKED: "all of it",
    "lenet5_constant": "the smaller scale",
    "lenet5_frozen": "the product, with masks that learned nothing",
    "lenet5_convolution": "weights of their own, no product",
    "lenet5_swish": "the product, no weights",
    "lenet5_squeeze": "which features count, not where",
    "lenet5_cbam": "which features count, and where, seen with the surroundings",
}


# %%
def added(model: str) -> dict[str, int]:
    """How many parameters a network has more than LeNet-5, and how many of them it trains."""
    network, plain = (build_model(replace(PAPER, model=m)) for m in (model, attention.PLAIN))
    fixed = sum(int(np.prod(weight.shape)) for weight in network.non_trainable_weights)
    more = network.count_params() - plain.count_params()
    return {"parameters added": more, "trained": more - fixed}


# %%
names = attention.BLOCK_NAMES
table = pd.DataFrame(
    {"behind C1 and C3": names[model], "what is left of the mask": left, **added(model)}
    for model, left in LEFT.items()
)
Markdown(report.markdown(table.astype(str)))

# %% [markdown]
# All controls but CBAM do what the mask would do if it were *not* attention: scale, gate, add
# weights. CBAM is the fair rival, attention as its authors mean it: it sees a neighbourhood, where
# the paper's mask sees a single position. What they reach after 20 epochs:

# %%
Markdown(report.markdown(report.controls_table(records)))

# %%
alt = "Accuracy of the mask and of six controls minus LeNet-5 alone, with intervals."
figures.show(controls.forest_of_controls(records), "05_controls", alt)

# %%
found = attention.controls(records)
worse = found.network[found.gain_shown < 0]
beaten = found.network[found.under_shown > 0]
print("Shown to be worse than LeNet-5 alone:", "; ".join(worse) or "none")
print("Shown to be worse than the mask:", "; ".join(beaten) or "none")

# %%
lacking = found[found.n < evidence.ENOUGH_SEEDS].network
if len(lacking):
    needed = f"Fewer than {evidence.ENOUGH_SEEDS} pairs of networks are on record for:"
    display(Markdown(f"{needed} {'; '.join(lacking)}."))

# %% [markdown]
# ## Moving the mask
#
# Now the trained network itself. It keeps every weight; only what is multiplied onto its features
# is replaced, behind C1 and C3 alike, while it is tested:
#
# - **mean**: the mask's mean over its positions. The strength stays, the places go.
# - **another image**: the mask of another digit. It looks like a mask, but not at this image.
# - **shuffled**: the mask's own values at other places.
# - **ones**: no mask. The strength goes too.

# %%
protocol = replace(PAPER, dataset=dataset.name, seed=0)
trained, notice = load_or_train_briefly(protocol, dataset, EPOCHS)

# %%
if notice:
    display(Markdown(f"> **NO TRAINED WEIGHTS FOUND.** What is live was {notice}, just now."))
show = partial(figures.show, banner=", ".join(filter(None, (banner, notice))))

# %% [markdown]
# What it means, on the first test image of each class:

# %%
first = [np.flatnonzero(dataset.test_labels == digit)[0] for digit in range(10)]
ten = dataset.test_images[first]
own = attention_maps(trained, ten)["c1_attention"]
rows = {"its own": mask_on_image(own)}
for name, change in INTERVENTIONS.items():
    rows[name.replace(" ", "\n")] = mask_on_image(np.asarray(change(own)))
show(
    pictures.masks(ten, rows, [*"0123456789"]),
    "05_replaced_masks",
    alt="Ten digits and their C1 masks; below, what replaces them: their mean everywhere, the mask "
    "of the digit before, their values scattered, and ones.",
)

# %% [markdown]
# And what it does to the answers, live, on all test images:

# %%
right = predict_classes(trained, dataset.test_images) == dataset.test_labels
answers = {"its own": right}
for name in INTERVENTIONS:
    predicted = predict_classes(intervene(trained, name), dataset.test_images)
    answers[name] = predicted == dataset.test_labels

# %%
live = pd.DataFrame(
    {
        "test accuracy": {name: f"{now.mean():.2%}" for name, now in answers.items()},
        "no longer right": {name: int(np.sum(right & ~now)) for name, now in answers.items()},
        "right only now": {name: int(np.sum(~right & now)) for name, now in answers.items()},
    }
)
live.rename_axis("mask")

# %% [markdown]
# That is one network. The same has been measured of every network with the mask that is on record
# at full length. A small dot is one seed:

# %%
alt = "Change of accuracy when the masks are replaced: one dot a seed, their mean and interval."
figures.show(controls.forest_of_interventions(records), "05_interventions", alt)

# %%
Markdown(report.moved_text(records))

# %% [markdown]
# Two things to read here. Compare *mean* with *ones*: both take the places away, only one changes
# the strength. Where they cost the same, strength is not what counts. And look at how far the seeds
# lie apart: networks of nearly the same accuracy can rely on their masks to very different degrees.
# Nothing in the training asks for it.
#
# ## Sanity: does a map show what was learned?
#
# A picture of what a network has learned must change when what it has learned is gone. So we draw
# its weights anew, layer by layer from the output down, and compare the maps with those of the
# trained network: Spearman's rank correlation over the pixels, mean over the images. 1 is the same
# order of pixels, 0 none, -1 the same picture with light and dark exchanged.

# %%
alt = "Rank correlation of C1 and C3 masks with the trained ones, as weights are drawn anew."
figures.show(controls.cascade(records), "05_randomised", alt)

# %%
for mask, drawn in attention.reinitialised({}, records).items():
    layers = attention.FROM_THE_TOP
    above = [value for layer in layers[: layers.index(mask)] for value in drawn[layer]]
    print(f"{mask}: all exactly 1 above its own layer: {set(above) == {1.0}}")

# %% [markdown]
# And as pictures, live: the masks of ten digits as trained, and with the weights drawn anew down to
# the layer that is named.

# %%
stages = {"trained": maps_on_image(trained, ten)}
for drawn, network in reinitialise_from_the_top(trained):
    stages[drawn] = maps_on_image(network, ten)

# %%
DOWN_TO = {"C1": ("c3", "c1_attention", "c1"), "C3": ("c5", "c3_attention", "c3")}
rows = {}
for layer, drawn in DOWN_TO.items():
    rows[f"{layer}\ntrained"] = stages["trained"][layer]
    rows |= {f"{layer}, to\n{name}": stages[name][layer] for name in drawn}
show(
    pictures.masks(ten, rows, [*"0123456789"]),
    "05_drawn_anew",
    alt="Ten digits; their C1 masks as trained, unchanged with C3 drawn anew, then as negatives, "
    "then nearly even; their C3 masks, unchanged above their own layer, then other patches.",
)

# %% [markdown]
# Beware of the flat part of the curves. This test was made for maps that are computed backwards,
# from the output to the image. The mask is computed *forwards*, from the features below it: it
# cannot know anything of the layers above, so above its own layer the curve is 1 by construction.
# What the network makes of the digit is decided up there, and the mask is blind to it: a map of the
# mask is no explanation of the answer. The test says something from the mask's own layer downward
# only.
#
# There, look at the size and not only at the sign. A correlation near -1 does not mean that the
# picture is gone: it is the same picture as a negative. At C1, weights that learned nothing still
# draw the digit, for they too are applied to features of the digit. What they cannot know is which
# of the two, ink or background, should be let through.
#
# ## Sanity: nothing to learn
#
# The second test of the kind: train on labels that were dealt out at random. Whatever maps such a
# network has, they show nothing about digits. What its masks cover, beside the same training with
# the right labels:

# %%
LABELS = {
    "right labels": attention.SHORT_RUNS,
    "permuted labels": {**attention.SHORT_RUNS, "permuted_labels": True},
}
covered = {name: attention.map_scores(changes, records) for name, changes in LABELS.items()}

# %%
lacking = [name for name, scores in covered.items() if not scores]
if lacking:
    display(Markdown(f"No network trained on {' and '.join(lacking)} was measured yet."))

# %%
rows = [
    {
        "trained on": labels,
        "mask": layer,
        **{report.SCORE_NAMES[name]: f"{score.mean:.3f}" for name, score in maps[layer].items()},
        "n": next(iter(maps[layer].values())).n,
    }
    for labels, maps in covered.items()
    for layer in ("C1", "C3")
    if maps and not lacking
]
if rows:
    display(Markdown(report.markdown(pd.DataFrame(rows).astype(str))))

# %%
dealt = attention.whole_runs(LABELS["permuted labels"], records)
for record in dealt.records:
    fitted = record["result"]["train_accuracy"]
    print(f"seed {record['protocol']['seed']}: {fitted:.1%} of the permuted labels were learned")

# %% [markdown]
# The same in pictures, on ten digits: masks of a network that had the right labels, and of one that
# had permuted ones.

# %%
kept = {
    name: load_trained(replace(protocol, **changes), dataset) for name, changes in LABELS.items()
}
lacking = [name for name, network in kept.items() if network is None]
if lacking:
    display(Markdown(f"> **MISSING**: the weights of networks with {' and '.join(lacking)}."))

# %%
seen = {} if lacking else {name: maps_on_image(network, ten) for name, network in kept.items()}
rows = {
    "\n".join((layer, *name.split())): maps[layer]
    for layer in ("C1", "C3")
    for name, maps in seen.items()
}
if rows:
    alt = "Ten digits and their C1 and C3 masks, trained on permuted labels and on the right ones."
    display(show(pictures.masks(ten, rows, [*"0123456789"]), "05_permuted", alt))

# %% [markdown]
# Where masks score alike with right and with permuted labels, the score is no sign of having
# learned digits. But mind how many of the permuted labels were learned: no more than the share of
# the most frequent digit. These networks give one answer to every image and have stayed near their
# start, so that this test adds nothing to the untrained network. One that learned permuted labels
# by heart would.
#
# ## Sanity: do the seeds agree?
#
# If there is a right place to look, networks that differ in nothing but the seed should find it.
# We compare the maps of five seeds, trained like the controls, on the same test digits, live. In
# the last two columns: each network's maps before its training, and the brightness of the image,
# which needs no network.

# %%
of_seed = {seed: replace(protocol, seed=seed, **attention.SHORT_RUNS) for seed in range(5)}
kept = {seed: load_trained(brief, dataset) for seed, brief in of_seed.items()}
networks = {seed: network for seed, network in kept.items() if network is not None}

# %%
lacking = ", ".join(str(seed) for seed in of_seed if seed not in networks)
if lacking:
    display(Markdown(f"> **MISSING**: the weights of seeds {lacking}, trained for 20 epochs."))
networks = networks or {0: trained}  # where there are no weights at all: from just now
some = dataset.test_images[:COMPARED]

# %%
after = {seed: maps_on_image(network, some) for seed, network in networks.items()}
before = {seed: maps_on_image(build_model(of_seed[seed]), some) for seed in networks}


# %%
def agreements(layer: str) -> pd.DataFrame:
    """Rank correlation of each seed's maps with those of all, its untrained ones, brightness."""
    others = {f"seed {seed}": lambda _, seed=seed: after[seed][layer] for seed in after}
    others["untrained"] = lambda seed: before[seed][layer]
    others["brightness"] = lambda _: brightness(some)
    rows = {
        f"seed {seed}": {
            name: agreement(after[seed][layer], of(seed)) for name, of in others.items()
        }
        for seed in after
    }
    return pd.DataFrame.from_dict(rows, orient="index")


# %%
tables = {layer: agreements(layer) for layer in ("C1", "C3")}
show(
    controls.agreements({f"{layer} masks": table for layer, table in tables.items()}),
    "05_agreement",
    alt="Rank correlations of the masks of each seed with those of the others, with the untrained "
    "network's, and with the brightness of the image; C1 at the left, C3 at the right.",
)

# %%
for layer, table in tables.items():
    between = [table.loc[f"seed {a}", f"seed {b}"] for a, b in combinations(networks, 2)]
    pairs = f"between seeds {np.mean(between):+.2f}, " if between else ""
    untrained, bright = table["untrained"].mean(), table["brightness"].mean()
    print(f"{layer}: {pairs}with their untrained {untrained:+.2f}, with brightness {bright:+.2f}")
    by_brightness = [np.prod(two) for two in combinations(table["brightness"], 2)]
    if by_brightness:
        print(f"    expected between seeds of brightness alone {np.mean(by_brightness):+.2f}")

# %% [markdown]
# Two maps that both follow the brightness of the image agree with each other for that reason alone:
# they show where there is ink, and one does not need attention to see that. If their correlations
# with brightness are $r$ and $s$, and they share nothing else, they agree at about $r s$. What goes
# beyond is shared beyond brightness. On C1 the seeds agree on more than that. On C3 it depends on
# the pair: some are alike, others nearly opposite, so that there is no one right place to look.
#
# ## The answer
#
# The rule, as it stands in `attention.attention_or_gating`: the mask is held against nine rivals.
# Three are the mask itself, looking elsewhere (its mean, another image's, its values shuffled), and
# a fourth is LeNet-5 alone, all in networks trained as the paper says. Five are networks with a
# control that learns no mask over places, trained for 20 epochs beside one that has the mask: every
# control but CBAM.
#
# - A rival is **as good** if it is shown not to be worse by the shaded margin (a one-sided t test
#   of *non-inferiority*). LeNet-5 alone is the paper's own comparison, and is tested at the level
#   of 0.025 that its claim C3 is tested at. Of the others one is enough for an answer, so each of
#   the eight gets an eighth of that (Bonferroni).
# - It is **beaten** if the mask is shown to be better (sign-flip test; below six seeds the t
#   interval).
# - It is **open** if the seeds differ too much to tell, and **missing** below three seeds.
#
# It is attention if all are beaten. It is not if at least one is as good: just a gate, or, if that
# one is LeNet-5 alone, not even a gate that is of use. Otherwise it is not yet decided.
#
# The rule was revised after results were known. Its first form took LeNet-5 alone from trainings of
# 20 epochs, in which the mask starts late, and an interval beside nil for proof; its answer was
# that the mask is a gate at most. And the level matters: were all nine rivals to share 0.025 alike,
# nothing would be decided yet.

# %%
alt = "The mask minus each of nine rivals in points, with intervals, and whether it is beaten."
figures.show(controls.forest_of_rivals(records), "05_rivals", alt)

# %%
Markdown(f"**{attention.attention_or_gating(records)}**")

# %% [markdown]
# How far this sentence reaches: it is about LeNet-5 on MNIST, digits on a black background, where
# there is little to look away from. The next notebook puts something there. A gate may be useful
# without being a look; whether this one is useful, the row *nothing in its place* says.
#
# ## On your own
#
# - Replace only one of the two masks: make a copy of the loop in `interventions.intervene` that
#   spares `c1_attention`. Which mask does a network rely on?
# - Give each 3 the mask of another 3. Is another image's mask so bad because it is of another
#   *class*?
# - Take a digit that is read wrongly. Is there, among a thousand others, a mask that puts it right?
# - Add a control of your own to `controls.BLOCKS`, with one line in `protocol.ModelName`.
#
# ## Further reading
#
# - Adebayo and others: Sanity checks for saliency maps, 2018
#   ([arXiv:1810.03292](https://arxiv.org/abs/1810.03292)): random weights and random labels.
# - Jain, Wallace: Attention is not explanation, 2019
#   ([arXiv:1902.10186](https://arxiv.org/abs/1902.10186)), and Wiegreffe, Pinter: Attention is not
#   not explanation, 2019 ([arXiv:1908.04626](https://arxiv.org/abs/1908.04626)): moving the weights
#   of attention, and what follows from it.
# - Hu, Shen, Sun: Squeeze-and-excitation networks, 2018
#   ([arXiv:1709.01507](https://arxiv.org/abs/1709.01507)); Woo and others: CBAM, 2018
#   ([arXiv:1807.06521](https://arxiv.org/abs/1807.06521)): the rivals with a name.
# - Dauphin and others: Language modeling with gated convolutional networks, 2017
#   ([arXiv:1612.08083](https://arxiv.org/abs/1612.08083)): gates, called gates.
#
# Next: [6. Does it filter noise?](06_does_it_filter_noise.ipynb).
