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
# # 2. Train LeNet with attention
#
# **What you will do.** Try the paper's attention mask on a small tensor, put it into LeNet-5,
# train the network with and without it for a few epochs, then read the records of the full runs.
#
# **What you will learn.** What the mask computes and what it costs; what the loss of Eq. 1 is;
# how two networks are compared fairly; what a hundred epochs make of them.
#
# **What you need.** A little Python and the idea of a convolution. The run takes about two minutes
# on a laptop's processor, most of it for the short live training.

# %%
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import get_type_hints

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from mnist_attention import PAPER, AttentionMask1x1, build_model, figures, load_dataset, train
from mnist_attention.data import epoch_plan, network_input
from mnist_attention.evidence import costs, report
from mnist_attention.evidence import runs as evidence
from mnist_attention.evidence.claims import verdict
from mnist_attention.evidence.runs import plural
from mnist_attention.figures import architecture, effects, networks, tables, training
from mnist_attention.probes.masks import attention_maps
from mnist_attention.records import read_records
from mnist_attention.storage.paths import RESULTS
from mnist_attention.training import compile_model

# %% tags=["parameters"] nbmake={"mock": {"DATASET": "uci", "EPOCHS": 1}}
DATASET = "mnist"
EPOCHS = 2

# %%
dataset = load_dataset(DATASET, fallback=True)
show = partial(figures.show, banner=dataset.banner)
if dataset.banner:
    display(Markdown(f"> **These are the {dataset.banner}.** The text below speaks of MNIST."))

# %% [markdown]
# ## The layer on a small tensor
#
# Two "images", 4x4 positions, three features at each position. The layer returns as many features
# as it was given, and on request the mask it used: one score for each position.

# %%
import keras

keras.utils.set_random_seed(0)  # the same initial weights each time this notebook runs

# %%
x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
layer = AttentionMask1x1()
outputs, scores = layer(x, return_attention_scores=True)

# %%
print("input  ", x.shape)
print("scores ", tuple(scores.shape))
print("outputs", tuple(outputs.shape))

# %% [markdown]
# The outputs are the inputs times the scores, and nothing else:

# %%
bool(np.all(np.asarray(outputs) == x * np.asarray(scores)))

# %% [markdown]
# A score is one small sum: a 1x1 convolution weighs the features *of that position alone*, adds a
# bias, and a sigmoid puts the sum between 0 and 1. One position by hand:

# %%
kernel, bias = (np.asarray(weight) for weight in layer.get_weights())
logit = x[0, 1, 2] @ kernel[0, 0] + bias
print("by hand", 1 / (1 + np.exp(-logit)), "layer", np.asarray(scores)[0, 1, 2])

# %% [markdown]
# The paper does not say how many channels the mask has, nor which function bounds it. We take one
# channel and a sigmoid. That layer is known: it is the *spatial squeeze-and-excitation* block of
# [Roy et al. (2018)](https://arxiv.org/abs/1803.02579). `mask_channels=None` makes one mask for
# each feature instead:

# %%
_, per_feature = AttentionMask1x1(mask_channels=None)(x, return_attention_scores=True)
print("scores ", tuple(per_feature.shape))

# %% [markdown]
# ## The module on a digit (the paper's Figure 3)
#
# Now the mask behind LeNet's first convolution, C1, before any training. We take the features that
# C1 finds in a test digit, and ask the mask for its scores.

# %%
model = build_model(PAPER)
features = model.get_layer("c1")(network_input(dataset.test_images[:1]))
mask = model.get_layer("c1_attention")
outputs, scores = mask(features, return_attention_scores=True)

# %%
maps = [np.asarray(value)[0] for value in (features, scores, outputs)]
operation = f"1x1 convolution\nand {mask.activation},\n{mask.count_params()} parameters"
alt = "A stack of six feature maps, the first in sight; the mask; a stack of their products."
show(architecture.mask_module(*maps, operation), "02_mask_module", alt)

# %% [markdown]
# Left, the six feature maps of C1. Above, the mask: one value a position, on a fixed scale from 0
# to 1. Right, each feature map times that mask. An untrained mask stays near one half: where all
# features are 0, as on the empty paper, the sum is 0 and the sigmoid of 0 is 0.5.

# %% [markdown]
# ## The whole network (the paper's Figure 2)
#
# The figure walks through `model.layers`: names, shapes and parameter counts are the code's.

# %%
layers = architecture.layer_rows(model)
alt = "The layers of LeNet-5 from left to right, with a mask behind C1 and one behind C3."
figures.show(architecture.network(layers), "02_network", alt)

# %% [markdown]
# Each stack has as many maps as the layer has channels, at their true height and width; vectors are
# bars at an eighth of that scale. An orange stack is what comes out behind a mask; the mask itself
# is a single map, and changes no shape. Masks sit behind the convolutions and before the pooling,
# where a mask on C1 has one score per pixel of the digit. The paper does not say where they are:
# `Protocol(mask_placement=...)` names the other places one could read.

# %% [markdown]
# ## What the mask costs

# %%
plain = architecture.layer_rows(build_model(replace(PAPER, model="lenet5")))
counts = pd.DataFrame(
    {
        "LeNet": {row.name: row.parameters for row in plain},
        "LeNet+Attention": {row.name: row.parameters for row in layers},
    },
    index=[row.name for row in layers if row.parameters],
)
counts.loc["sum"] = counts.sum()
counts.astype("Int64").fillna(0)

# %%
before, after = counts.loc["sum"]
Markdown(
    f"The masks add **{after - before:.0f} parameters** to {before:,.0f}, "
    f"{(after - before) / before:.3%} more. Whatever they change, it is not because of their size."
)

# %% [markdown]
# ## The loss (Eq. 1)
#
# The paper prints the cross entropy as $-\sum_i \hat{y}_i \log(y_i)$ and calls $\hat{y}$ the
# network's output. Read so, it would take the logarithm of targets, most of which are 0. The hats
# are swapped; what is meant, with targets $t$ and predicted probabilities $p$ of ten classes, is
#
# $$L(t, p) = -\sum_{i} t_i \log(p_i).$$
#
# By hand, for two training digits and the untrained network:

# %%
logits = np.asarray(model(network_input(dataset.train_images[:2])))
labels = dataset.train_labels[:2].astype(int)
predictions = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
targets = np.eye(10)[labels]

# %%
by_hand = -(targets * np.log(predictions)).sum(axis=1)
loss = compile_model(model, PAPER, steps=1).loss  # what `train` minimises
by_keras = [float(loss(labels[i : i + 1], logits[i : i + 1])) for i in range(2)]

# %%
np.testing.assert_allclose(by_hand, by_keras, rtol=1e-5)
pd.DataFrame({"label": labels, "by hand": by_hand, "Keras": by_keras})

# %% [markdown]
# Both are near $\log 10 = 2.303$, the loss of somebody who gives every class one tenth: before
# training the network knows nothing. Keras takes logits instead of probabilities because the
# logarithm and the exponential then cancel without overflow.

# %% [markdown]
# ## The protocol
#
# Every choice of a run is one field of `Protocol`. `PAPER` holds the paper's values where it states
# them, and our reading where it is silent.

# %%
fields = get_type_hints(type(PAPER), include_extras=True)
rows = [
    {"field": name, "value": getattr(PAPER, name), "comment": hint.__metadata__[0]}
    for name, hint in fields.items()
]
Markdown(report.markdown(pd.DataFrame(rows).astype(str)))

# %% [markdown]
# A comparison of one run with another is fair only if they differ in nothing but the mask. At the
# same seed both networks start with the same weights,

# %%
with_mask, without = build_model(PAPER), build_model(replace(PAPER, model="lenet5"))
same = {
    layer.name: bool(np.all(layer.kernel == with_mask.get_layer(layer.name).kernel))
    for layer in without.layers
    if layer.weights
}
pd.DataFrame([same], index=["same initial kernel"])

# %% [markdown]
# and see the same images in the same order, flipped and shifted alike: `epoch_plan` depends on the
# seed and the epoch, not on the model. Another epoch or another seed has another order.

# %%
plans = {
    f"{model}, seed {seed}, epoch {epoch}": epoch_plan(
        replace(PAPER, model=model, seed=seed), epoch
    ).order[:8]
    for model, seed, epoch in (
        ("lenet5", 0, 0),
        ("lenet5_attention", 0, 0),
        ("lenet5_attention", 0, 1),
        ("lenet5_attention", 1, 0),
    )
}
pd.DataFrame.from_dict(plans, orient="index").rename_axis(columns="the first images, by number")

# %% [markdown]
# ## A short run, live
#
# The same protocol with fewer epochs, once without the mask and once with it.

# %%
NAMES = {"lenet5": "LeNet", "lenet5_attention": "LeNet+Attention"}
live = replace(PAPER, dataset=dataset.name, epochs=EPOCHS)

# %%
short = {
    name: train(replace(live, model=model), dataset=dataset, verbose=False)
    for model, name in NAMES.items()
}

# %%
curves = {name: [record["history"]] for name, record in short.items()}
alt = "Loss, training accuracy and test accuracy of both networks over the epochs just run."
show(training.learning_curves(curves), None, alt)

# %%
results = [
    f"{name} reaches **{record['result']['test_accuracy']:.1%}** of the test images"
    for name, record in short.items()
]
Markdown(f"After {plural(EPOCHS, 'epoch')}, seed {live.seed}: " + "; ".join(results) + ".")

# %% [markdown]
# Do not judge the mask by so short a run. Before training each mask is near one half,

# %%
untrained = attention_maps(with_mask, dataset.test_images[:500])
pd.Series({name: scores.mean() for name, scores in untrained.items()}, name="mean score")

# %% [markdown]
# and two of them in a row leave about a quarter of the signal. The gradients that come back through
# them shrink likewise, and plain SGD does not make up for it: a masked network starts more slowly.
#
# ## The full runs
#
# From here on nothing is trained. `results/` keeps one record a run; we take those of the paper's
# protocol, 100 epochs, with and without the mask, all seeds that are there.

# %%
records, problems = read_records(RESULTS)
found = {name: evidence.runs_of({"model": model}, records) for model, name in NAMES.items()}
full = {name: runs for name, runs in found.items() if runs.done == PAPER.epochs}
print(f"{len(records)} records", *problems, sep="\n")

# %%
seeds = [f"{name}, {plural(len(runs.records), 'seed')}" for name, runs in full.items()]
missing = "none yet. `mnist-attention study lenets` makes them"
Markdown(f"Full runs on record: {'; '.join(seeds) or missing}.")

# %%
if full:
    figure = training.learning_curves(
        {name: [record["history"] for record in runs.records] for name, runs in full.items()},
        {name: evidence.reported_value(name) / 100 for name in full},
    )
    alt = "Loss, training accuracy and test accuracy of both networks over 100 epochs."
    display(figures.show(figure, "02_learning_curves", alt))

# %% [markdown]
# Left, the loss on the augmented training images, averaged over the epoch while the weights move.
# Middle, the accuracy on those same images; right, on the clean test images at the end of each
# epoch. The accuracy axes are stretched towards 100 %, or the last fifty epochs would be one flat
# line. Dotted: where the paper ends. The training curves may lie *below* the test curve: mirrored
# digits are harder than clean ones, and some have become another digit (notebook 1).

# %% [markdown]
# ## Table 1, ours beside the paper's
#
# Mean over seeds, with half the width of its 95 % interval where there are at least two seeds. A
# row without runs says so. In the picture the paper's numbers are hollow and ours are filled; a
# network that was cut short has none.

# %%
Markdown(report.markdown(report.paper_table(records, 1)))

# %%
alt = "Test accuracy of five networks: the paper's hollow; ours, filled, of those trained in full."
figures.show(tables.table(tables.points(records, 1)), "02_table1", alt)

# %% [markdown]
# What follows for the paper's main claim, by a rule in code? The two networks of one seed start
# alike and see the same batches, so that their difference is the mask's, and we judge these
# differences:
#
# - The *sign-flip test*: if the mask did nothing, each difference could as well have had the other
#   sign. p is the share of all patterns of signs whose mean is at least as far from nil as ours.
# - The interval is a *bootstrap* (BCa): means of pairs drawn again and again from those we have.
# - Less than 0.1 points, ten test images, counts as nil. Whether a gain of as much can be *ruled
#   out* is the question of a one-sided t test.

# %%
Markdown(report.finding(records))

# %% [markdown]
# Each point is one pair; grey is what counts as nil.

# %%
alt = "One point a pair of networks: test accuracy with minus without the mask; mean and interval."
figures.show(effects.forest_of_pairs(records), "02_forest_of_pairs", alt)

# %% [markdown]
# ## The whole of Table 1, and what it costs
#
# The paper names more systems than it measures. The rows below its own are a second ResNet, the
# four deep networks *trained properly* (momentum, and an initialisation for rectified units; all
# else alike), and methods that need no network. 100 epochs of the deep ones take a GPU; where a row
# was cut short it says after how many epochs, and its accuracy is that of a beginning, not of an
# end. Multiply-accumulates are counted from the layers. The machines differed, and had other work
# too: the times tell orders of magnitude.

# %%
Markdown(report.markdown(report.systems_table(records)))

# %%
systems = costs.systems(records)
alt = "Test accuracy over multiply-accumulates per image, one point a network; lines: no network."
figures.show(networks.accuracy_over_cost(systems), "02_accuracy_over_cost", alt)

# %% [markdown]
# The smallest networks are on the left, and the axis is stretched towards 100 %. Blue: trained as
# the paper says. Vermilion, with a thick outline: trained properly. Dotted lines: no network.
# Hollow: cut short. Where a deep network stays near one in ten, plain SGD has not moved it yet:
# look at its proper twin before blaming its size. The classical methods see the clean digits only,
# the networks see half of theirs mirrored. That k-nearest neighbours get every training image right
# says nothing: each finds itself.
#
# ## Does ResNet overfit?
#
# The paper says that its ResNet is worse *because* a large network overfits. Then its training
# accuracy would be high and its test accuracy low: in the picture, of the first seed of each, a
# diamond (all clean training images, at the end) far above the end of the line of test accuracy.

# %%
curves = {system.name: system.runs for system in systems if system.multiply_accumulates}
alt = "One panel a network: training and test accuracy over the epochs."
figures.show(networks.training_and_test(curves), "02_training_and_test", alt)

# %%
judged = verdict("C5", records)
Markdown(f"The paper says that {judged.text}. Here: **{judged.verdict}**: {judged.sentence}.")

# %% [markdown]
# ## What the networks get wrong
#
# A record keeps what the trained network said of every test image, so nothing is run again. We take
# the first seed of each.

# %%
can_judge = bool(full) and not dataset.banner
said = {name: evidence.predictions_of(runs.records[0]) for name, runs in full.items()}
if not can_judge:
    display(Markdown("Needs a full run on record, and MNIST: nothing to show here."))

# %%
if can_judge:
    figure = training.confusion(dataset.test_labels, said)
    alt = "For each network a 10 by 10 matrix: true digit down, predicted digit across."
    display(show(figure, "02_confusion", alt))

# %%
for name, predicted in said.items() if can_judge else ():
    wrong = predicted != dataset.test_labels
    pairs = Counter(zip(dataset.test_labels[wrong], predicted[wrong], strict=True))
    often = ", ".join(f"{t} for {p} ({n} times)" for (t, p), n in pairs.most_common(4))
    display(Markdown(f"{name} gets {wrong.sum()} wrong. Most often it takes {often}."))

# %% [markdown]
# Rows are true digits, columns what the network said; a perfect network would fill the diagonal
# alone. Look at pairs that a mirror exchanges, such as 2 and 5: because of the flip, the network
# saw half of all training 2s mirrored, and still labelled 2. Now the images themselves:

# %%
if can_judge:
    figure = training.mistakes(dataset.test_images, dataset.test_labels, said)
    alt = "Test images that a network got wrong, with the true digit and what each network said."
    display(show(figure, "02_mistakes", alt))

# %%
if can_judge:
    wrong = np.array([predicted != dataset.test_labels for predicted in said.values()])
    count = f"At least one network misreads {wrong.any(axis=0).sum()} images; all of them misread "
    count += f"{wrong.all(axis=0).sum()}. Shown are the first, at most forty."
    display(Markdown(count))

# %% [markdown]
# Above each image: the true digit, then what each network said. Some are hard for people too.
#
# Is one of the two networks of a seed better on these very images than luck can explain? McNemar's
# test looks at the images that only one of them gets right. It is about these trained networks, not
# about the mask: another seed is another pair, and may favour the other side.

# %%
if can_judge and len(full) == 2:
    tests = evidence.disagreements(*full.values(), dataset.test_labels)
    tests.columns = [*(f"only {name} is right" for name in full), "p, McNemar"]
    display(tests.round(4))

# %% [markdown]
# ## Labels that people doubt
#
# Of 15 test images most of five raters did not confirm the label ([Northcutt and others,
# 2021](https://arxiv.org/abs/2103.14749)). Where at least three agree on another digit we take
# theirs; the other doubtful images do not count. As a record keeps every prediction, nothing is
# trained again.

# %%
if can_judge:
    labels = evidence.corrected_labels(dataset)
    given, dropped = dataset.test_labels, labels < 0
    relabelled = (labels != given) & ~dropped
    print(f"{relabelled.sum()} test images relabelled, {dropped.sum()} left out")

# %%
if can_judge:
    again = {name: evidence.relabelled(runs, labels) for name, runs in full.items()}
    scores = {"as given": full, "corrected": again}
    rows = {
        kind: {name: report.cell(runs) for name, runs in scored.items()}
        for kind, scored in scores.items()
    }
    display(pd.DataFrame(rows).rename_axis("test accuracy in percent"))

# %%
if can_judge and len(full) == 2:
    for kind, scored in scores.items():
        plain, masked = scored.values()
        gain = effects.in_points(evidence.difference(masked, plain))
        display(Markdown(f"With labels {kind} the mask is worth {gain} points, paired by seed."))

# %% [markdown]
# ## On your own
#
# - Give the live run ten epochs (`EPOCHS`). Does the masked network catch up?
# - Let the mask start near one instead of one half: build the model with
#   `AttentionMask1x1(bias_initializer=...)` (see `lenet5(behind=...)`). What happens to its slow
#   start?
# - Train with `replace(live, flip=False)`. Which confusions go away?
# - Put the mask into a network of your own. Which shapes does it accept?
#
# ## Further reading
#
# - LeCun, Bottou, Bengio, Haffner: *Gradient-based learning applied to document recognition*,
#   Proceedings of the IEEE 86(11), 1998, where LeNet-5 comes from.
# - Roy, Navab, Wachinger: *Concurrent Spatial and Channel Squeeze & Excitation in Fully
#   Convolutional Networks*, 2018, [arXiv:1803.02579](https://arxiv.org/abs/1803.02579).
#
# Next: [3. Sweep the hyperparameters](03_sweep_hyperparameters.ipynb).
