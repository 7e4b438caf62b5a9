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
# # 4. See the attention
#
# The paper says that its mask "is able to only focus on the important information of the input
# image" and to "filter out background or noise". It shows no mask. This notebook does.
#
# **You will** take the masks out of a trained LeNet-5, lay them over the digits, and compare them
# with the masks of the same network before training.
#
# **You will learn** to read such maps with care: on one colour scale, with the numbers beside them,
# with failures, and with the untrained network as a control.
#
# **You need** the idea of the mask: a number per position of a feature map, by which the features
# there are multiplied (notebook 2). Run time: about half a minute.

# %%
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from scipy import stats

from mnist_attention import PAPER, attention_maps, build_model, figures, load_dataset
from mnist_attention.data import ink, network_input
from mnist_attention.evidence import report
from mnist_attention.evidence import runs as evidence
from mnist_attention.evidence.attention import SHORT_RUNS, mask_quality
from mnist_attention.figures import attention
from mnist_attention.probes.masks import maps_on_image
from mnist_attention.probes.measure import load_or_train_briefly, load_trained
from mnist_attention.probes.scores import centres, upsample
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
    display(Markdown(f"> **These are the {banner}.** The text below speaks of MNIST."))

# %% [markdown]
# ## The network, before and after training
#
# Both networks come from one protocol. The untrained one has its initial weights, fixed by the
# seed. The trained one reads its weights from the folder `weights`, named after the run. It is that
# of seed 0, taken before anything was trained; it turned out to be the best of ten.

# %%
protocol = replace(PAPER, dataset=dataset.name, seed=0)
untrained = build_model(protocol)
trained, notice = load_or_train_briefly(protocol, dataset, EPOCHS)

# %%
if notice:
    display(Markdown(f"> **NO TRAINED WEIGHTS FOUND.** All that follows was {notice}, just now."))
banner = ", ".join(filter(None, (banner, notice)))
show = partial(figures.show, banner=banner)

# %% [markdown]
# A short live check that the weights are what they should be: all test images, classified now.

# %%
predictions = predict_classes(trained, dataset.test_images)
wrong = np.flatnonzero(predictions != dataset.test_labels)
accuracy = 1 - len(wrong) / len(predictions)
print(f"{accuracy:.2%} of {len(predictions):,} test images are right, {len(wrong)} are wrong")

# %% [markdown]
# ## What a mask is, as numbers
#
# We look at ten fixed digits: the first test image of each class. `attention_maps` returns the
# scores of every mask in the model.

# %%
first = [np.flatnonzero(dataset.test_labels == digit)[0] for digit in range(10)]
ten = dataset.test_images[first]
maps = attention_maps(trained, ten)
for name, scores in maps.items():
    print(f"{name}: shape {scores.shape}, from {scores.min():.3f} to {scores.max():.3f}")

# %% [markdown]
# One number per position, between 0 and 1, for all feature channels alike. Row 14 of the C1 mask
# of the 7, as raw values, runs through the stroke:

# %%
print("pixels:", *(f"{value / 255:4.2f}" for value in ten[7, 14, 8:22]))
print("mask:  ", *(f"{value:4.2f}" for value in maps["c1_attention"][7, 14, 8:22, 0]))

# %% [markdown]
# ## Onto the image
#
# The C1 mask has 28x28 positions. Position (i, j) sees the 5x5 pixels around pixel (i, j) of the
# digit, so this mask lies on the image as it is. The C3 mask has 10x10: position i sees 14 pixels
# whose centre is 2 i + 4.5. We enlarge it bilinearly, with each value at the centre of what it
# sees.

# %%
enlarged = upsample(maps["c3_attention"])
show(
    attention.enlargement(
        ten[7], maps["c3_attention"][7, ..., 0], enlarged[7, ..., 0], centres(side=10)
    ),
    "04_enlargement",
    alt="A 7 with a 10 by 10 grid of dots on its inner part; its C3 mask as 10 by 10 squares; the "
    "same mask enlarged to the image, with the outline of the 7.",
)

# %% [markdown]
# The dots are the centres. They leave out the outer five pixels, where the enlarged map repeats its
# border. Each dot sees a patch of 14x14 pixels, a quarter of the image: expect no sharp outlines.
#
# `maps_on_image` does all this at once, for every mask of a model.
#
# ## Ten digits
#
# All maps share one scale from 0, nothing passes, to 1, all passes. The line is the outline of the
# ink (pixel > 0.5).

# %%
after = maps_on_image(trained, ten)
captions = [
    f"{digit}" if digit == predictions[index] else f"{digit} read as {predictions[index]}"
    for digit, index in enumerate(first)
]
show(
    attention.masks(ten, after, captions),
    "04_ten_digits",
    alt="Ten digits; below each its C1 mask, close to 1 on the strokes and lower but far from 0 on "
    "the background; and its C3 mask, high around the whole digit, lowest above or beside it.",
)

# %% [markdown]
# **The C1 mask** is close to 1 on the strokes and a pixel or two around them. The empty background
# is one even green: weaker, but far from 0. Thin darker seams run above some strokes.
#
# **The C3 mask** is close to 1 on most of the digit and on what it encloses. Its lowest values
# are not where the image is emptiest but just above the digit: over the bar of the 7, to the
# upper right of the 0. An experiment makes it plain: one horizontal bar, rows 13 to 15, and the
# C3 mask in a column through its middle, by the row at which each position looks.

# %%
bar = np.zeros((1, 28, 28))
bar[0, 13:16, 4:24] = 1
column = attention_maps(trained, bar)["c3_attention"][0, :, 5, 0]
pd.DataFrame([column], columns=centres(10), index=["C3 mask"]).round(2)

# %% [markdown]
# The mask is lowest just *above* the bar, far lower than where nothing is near, and highest on
# the bar and below it. So it does not tell ink from background: it answers to where a stroke lies
# in the patch that it sees.
#
# ## Before and after training
#
# What of this was learned? The untrained network, with the very weights from which the training
# started, is the control.

# %%
before = maps_on_image(untrained, ten)
rows = {
    f"{layer}\n{when}": maps[layer]
    for layer in after
    for when, maps in (("untrained", before), ("trained", after))
}
show(
    attention.masks(ten, rows, captions),
    "04_before_and_after",
    alt="The same ten digits. Untrained, the C1 mask is slightly darker on the strokes and the C3 "
    "mask is even; trained, both are brightest on the strokes.",
)

# %% [markdown]
# Before training C1 is 1/2 wherever the image is empty, and C3 is close to 1/2 everywhere. And yet
# the untrained C1 mask already shows the digit, only darker than its background. Whatever is
# computed from the features at each position shows where there are features. **A digit that can be
# recognised in a map is no proof that anything was learned.**
#
# What training changed is the sign (ink now lies above the background), the level (from 1/2 to near
# 1) and, at C3, the contrast.
#
# ## What the mask says about nothing
#
# On an empty image every position sees the same, so each mask is one number.

# %%
nothing = np.zeros((1, 28, 28))
for name, scores in attention_maps(trained, nothing).items():
    print(f"{name} of an empty image: from {scores.min():.3f} to {scores.max():.3f}")

# %% [markdown]
# That is what the mask leaves of a background far from any stroke. And what is there to be held
# back? On black, the six C1 features are their biases behind the ReLU.

# %%
on_black = np.maximum(np.asarray(trained.get_layer("c1").bias), 0)
print("C1 features on black:       ", *(f"{value:5.2f}" for value in on_black))

# %%
import keras

before_mask = keras.Model(trained.input, trained.get_layer("c1").output)
highest = np.asarray(before_mask(network_input(ten))).max(axis=(0, 1, 2))
print("highest on the ten digits:  ", *(f"{value:5.2f}" for value in highest))

# %% [markdown]
# Next to nothing. The claim that the mask filters out background can hardly be tested on MNIST:
# its background is black, and a network with or without a mask sees nothing there.
#
# ## The numbers behind the pictures
#
# Ten pictures are ten pictures. Here are the masks of all test images, before and after training,
# apart on ink and on background.

# %%
inked = ink(dataset.test_images)
everything = {
    f"{layer} {when}": scores
    for when, model in (("untrained", untrained), ("trained", trained))
    for layer, scores in maps_on_image(model, dataset.test_images).items()
}

# %%
split = {name: (scores[inked], scores[~inked]) for name, scores in everything.items()}
summary = pd.DataFrame(
    {
        (name, where): [part.mean(), part.std(), part.min(), part.max()]
        for name, parts in split.items()
        for where, part in zip(("ink", "background"), parts, strict=True)
    },
    index=["mean", "standard deviation", "lowest", "highest"],
).T
summary.round(3)

# %%
show(
    attention.on_and_off_ink(split),
    "04_on_and_off_ink",
    alt="Four histograms of mask values on ink and background. Untrained, C1 and C3 stay near 0.5; "
    "trained, ink gathers at 1 while background spreads, with a peak below 0.8.",
)

# %%
mean = summary["mean"]
display(
    Markdown(
        "\n".join(
            f"- **{name}**: mean {mean[name, 'ink']:.3f} on ink, {mean[name, 'background']:.3f} on "
            f"background; background passes at {mean[name, 'background'] / mean[name, 'ink']:.0%} "
            "of the strength of ink."
            for name in everything
        )
    )
)

# %% [markdown]
# Each histogram is in percent of its own pixels, on a logarithmic axis. After training nearly all
# ink lies at the right end. The background of C1 has its peak at the value of an empty image, and a
# tail up to 1: the surroundings of the strokes. The background of C3 is spread over most of the
# scale, and a good part of it is let through as fully as the ink.
#
# ## The mistakes
#
# Does the mask look elsewhere when the network errs? The first ten wrong test images:

# %%
failures = wrong[:10]
show(
    attention.masks(
        dataset.test_images[failures],
        maps_on_image(trained, dataset.test_images[failures]),
        [f"{dataset.test_labels[index]} read as {predictions[index]}" for index in failures],
    ),
    "04_mistakes",
    alt="Ten misclassified digits with their C1 and C3 masks, which look like those of the others.",
)

# %%
is_wrong = predictions != dataset.test_labels
means = pd.DataFrame(
    {
        (name, where): [
            everything[f"{name} trained"][of_these[:, None, None] & pixels].mean()
            for of_these in (~is_wrong, is_wrong)
        ]
        for name in after
        for where, pixels in (("ink", inked), ("background", ~inked))
    },
    index=["right", "wrong"],
)
means.round(3)

# %%
gap = (means.loc["right"] - means.loc["wrong"]).abs().max()
display(Markdown(f"Between right and wrong images the means differ by at most {gap:.3f}."))

# %% [markdown]
# In the pictures, too, the masks follow the misread digits as they follow the others. Nothing here
# suggests that the network errs because it looks elsewhere. So what does it confuse?

# %%
pairs = zip(dataset.test_labels[wrong], predictions[wrong], strict=True)
confusions = pd.Series([f"{label} read as {read}" for label, read in pairs])
confusions.value_counts().head(6).rename_axis("mistake").reset_index(name="images")

# %%
mirrored_pairs = [f"{a} read as {b}" for a, b in ((2, 5), (5, 2), (2, 6), (6, 2))]
two_with_5_or_6 = confusions.isin(mirrored_pairs)
display(
    Markdown(
        "Notebook 1 found that a mirrored 2 often resembles a 5 or a 6, and these a 2. Of the 90 "
        "ways to take one digit for another, those four make up "
        f"{two_with_5_or_6.mean():.0%} of the mistakes. Half of the training images were mirrored, "
        "so the network has met both ways of writing."
    )
)

# %% [markdown]
# ## The mean mask of each class
#
# One mask is one image's. Averaged over all test images of a class, what belongs to single
# handwritings is gone. Above each mask the mean image of the class, with the outline of its ink.


# %%
def class_means(stack: np.ndarray) -> np.ndarray:
    """The mean over the test images of each class: (n, 28, 28) to (10, 28, 28)."""
    return np.stack([stack[dataset.test_labels == digit].mean(axis=0) for digit in range(10)])


# %%
means_of_masks = {name: class_means(everything[f"{name} trained"]) for name in after}
show(
    attention.masks(class_means(dataset.test_images / 255), means_of_masks, [*"0123456789"]),
    "04_class_means",
    alt="The mean image of each class; below it the mean C1 mask, a blurred copy of it, and the "
    "mean C3 mask, high on and below the strokes and low above them.",
)

# %% [markdown]
# The mean C1 mask is a blurred copy of the class: it has learned ink, not classes. The mean C3 mask
# is high on and below the strokes and low above bars and curves; beside the upright 1 it is low
# too.
#
# ## How the masks grow
#
# The same run, seed 0, stopped after some of its epochs. Epoch 0 is the untrained network.

# %%
stages = {0: untrained}
for epochs in (1, 5, 20, 100):
    network = load_trained(replace(protocol, epochs=epochs), dataset)
    if network is not None:
        stages[epochs] = network
print("epochs with weights at hand:", *stages)

# %%
growth = {epochs: maps_on_image(network, ten) for epochs, network in stages.items()}
for layer in after:
    rows = {f"epoch {epochs}": found[layer] for epochs, found in growth.items()}
    alt = f"The {layer} masks of ten digits, one row for each stage of training."
    display(show(attention.masks(ten, rows, captions), f"04_growth_{layer.lower()}", alt))

# %%
stage_accuracy = {}
for epochs, network in stages.items():
    right = predict_classes(network, dataset.test_images) == dataset.test_labels
    stage_accuracy[f"epoch {epochs}"] = f"{right.mean():.1%}"
pd.DataFrame([stage_accuracy], index=["test accuracy"])

# %% [markdown]
# After one epoch the masks have hardly moved, and the network has not begun to read: on C1 the ink
# is still darker than the rest, as the initial weights happen to have it. After five epochs that is
# turned round and the main pattern is there on both layers. Later the masks change little to the
# eye, while the network still learns to read.
#
# ## The best and the worst seed
#
# Does a better network have a better mask? The records name the seeds with the highest and the
# lowest test accuracy; their weights are in the same folder.

# %%
records, _ = read_records(RESULTS)
full = evidence.runs_of({}, records)
ranked = sorted(full.records, key=lambda record: record["result"]["test_accuracy"])
chosen = {"worst": ranked[0], "best": ranked[-1]} if len(ranked) > 1 else {}

# %%
seeds = {}
for name, record in chosen.items():
    seed, accuracy = record["protocol"]["seed"], record["result"]["test_accuracy"]
    network = load_trained(replace(protocol, seed=seed), dataset)
    if network is not None:
        seeds[name] = network
        print(f"{name} of {len(ranked)}: seed {seed}, {accuracy:.2%}")

# %%
if len(seeds) < 2:
    display(Markdown("> **MISSING**: the weights of the best and of the worst seed."))
else:
    found = {name: maps_on_image(network, ten) for name, network in seeds.items()}
    rows = {f"{layer}\n{name}": found[name][layer] for layer in after for name in found}
    alt = "The C1 and C3 masks of ten digits in the worst and in the best of all seeds."
    display(show(attention.masks(ten, rows, [*"0123456789"]), "04_best_and_worst", alt))

# %% [markdown]
# Two seeds are an anecdote. Over all seeds, the rank correlation of test accuracy with how well a
# mask ranks ink above background:

# %%
quality = mask_quality({}, records)
masks_scored = quality.columns.drop("accuracy") if len(quality) >= evidence.ENOUGH_SEEDS else ()
if not len(masks_scored):
    display(Markdown("> **MISSING**: too few networks were measured."))

# %%
for layer in masks_scored:
    found = stats.spearmanr(quality["accuracy"], quality[layer])
    print(
        f"{layer}: {found.statistic:+.2f} over {len(quality)} seeds (p = {found.pvalue:.2f}); "
        f"AUROC from {quality[layer].min():.3f} to {quality[layer].max():.3f}"
    )

# %% [markdown]
# So few seeds, and so near each other in accuracy, would show only a strong relation. And see how
# far the masks of networks that read equally well lie apart.
#
# ## The scores, beside maps that learned nothing
#
# Pictures persuade; scores can fail. Each compares a map, enlarged to the image, with the ink:
#
# - **AUROC for ink**: how often the map is higher at a pixel of ink than at one of background; 0.5
#   is chance.
# - **mass on ink**: the share of the map's sum that lies on ink.
# - **rank on ink**: of as many pixels as there are ink, the highest ones, the share on ink.
# - **peak on ink**: in how many images the highest pixel is ink.
# - **signal to noise**: the mean squared feature on ink over that off ink, after the mask against
#   before it, in decibels; +3 dB is twice.
# - **deletion**: the probability that the network gives the true class, averaged while pixels are
#   taken out in the order of the map, the highest first. Small if the map knows what is needed.
# - **insertion**: the same while they are put into an empty image. Large if it knows.
#
# Below the masks stand those of the untrained network, and maps that need none: the image's own
# brightness, its edges, a Gaussian in the middle, and random numbers. Means over seeds, with half
# the width of the 95 % interval.

# %%
scores = report.scores_table(records, changes=SHORT_RUNS)
Markdown(report.markdown(scores) if len(scores) else "> **MISSING**: no network was measured yet.")

# %% [markdown]
# Read the table from the bottom up. On a black background the image's brightness has AUROC, rank
# and peak at 1 by definition: in these three a mask can at best equal it. A blob in the middle,
# that never looks at the image, does better on ink than the C3 mask. Mass, deletion and insertion
# are open. Notebook 6 puts something behind the digits.
#
# These networks were trained for 20 epochs, as the controls of notebook 5 were. The scores that do
# not query the network, of more seeds and of the paper's 100 epochs:

# %%
long = report.scores_table(records)
Markdown(report.markdown(long) if len(long) else "> **MISSING**: no such network was measured yet.")

# %% [markdown]
# ## What we have seen, and what not
#
# - The C1 mask is a soft copy of the digit: strokes pass whole, the empty background at about three
#   quarters. It weakens what is next to nothing already.
# - The C3 mask is coarse and lets most of the image pass. What it holds back most is not the
#   background as such but places above and beside the strokes.
# - These are pictures of one trained network. That a map lies on the ink does not show that the
#   mask helps: the brightness of the image itself lies on the ink as well, and ranks it higher.
#   Notebook 5 asks what the mask is good for, notebook 6 puts a background behind the digits.
#
# ## On your own
#
# - Set `protocol` to `replace(PAPER, mask_activation="softmax")` and train it for a few epochs. Its
#   scores sum to 1 over the positions: which colour scale do such masks need?
# - `mask_channels=None` gives one mask per feature. Do the six C1 masks agree on where to look?
# - Invert an image (`255 - image`). What does the mask do with a white background?
# - Draw the maps each on its own scale, from its minimum to its maximum. How convincing they look!
#
# ## Further reading
#
# - Roy, Navab, Wachinger: Concurrent spatial and channel squeeze & excitation in fully
#   convolutional networks, 2018 ([arXiv:1803.02579](https://arxiv.org/abs/1803.02579)): the same
#   mask, under another name.
# - Adebayo and others: Sanity checks for saliency maps, 2018
#   ([arXiv:1810.03292](https://arxiv.org/abs/1810.03292)): why the untrained network is a control.
# - Jetley, Lord, Lee, Torr: Learn to pay attention, 2018
#   ([arXiv:1804.02391](https://arxiv.org/abs/1804.02391)): masks that ask a question of the image.
#
# Next: [5. Is it attention?](05_is_it_attention.ipynb).
