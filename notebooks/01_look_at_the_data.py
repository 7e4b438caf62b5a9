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
# # 1. Look at the data
#
# The paper proposes an attention mask for LeNet-5 and tests it on MNIST. Before any network is
# built, this notebook looks at what the network will be given.
#
# **You will** see the digits and their pixel values, count them, watch what the paper's data
# augmentation does to them, and work the local binary pattern of the paper's Figure 1 by hand.
#
# **You will learn** that the data is not quite what the paper says it is, and that one of its two
# augmentations turns some digits into others.
#
# **You need** to know what a NumPy array is. Run time: about half a minute.

# %%
from functools import partial

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from mnist_attention import PAPER, augment, figures, load_dataset
from mnist_attention.data import augmentation_table, epoch_plan, network_input
from mnist_attention.figures import digits

# %% tags=["parameters"] nbmake={"mock": {"DATASET": "uci"}}
DATASET = "mnist"

# %%
dataset = load_dataset(DATASET, fallback=True)
show = partial(figures.show, banner=dataset.banner)
if dataset.banner:
    display(Markdown(f"> **These are the {dataset.banner}.** The text below speaks of MNIST."))

# %% [markdown]
# ## How many are there?
#
# The paper, Section 3.1: "This dataset contains 80,000 handwriting digital examples", 60,000 for
# training and 20,000 for testing. Here is what MNIST holds.

# %%
ours = [len(dataset.train_labels), len(dataset.test_labels)]
sizes = pd.DataFrame({"training": [60_000, ours[0]], "test": [20_000, ours[1]]})
sizes.index = ["the paper", f"here ({dataset.name})"]
sizes.assign(total=sizes.sum(axis=1)).map("{:,}".format)

# %% [markdown]
# MNIST has had 60,000 + 10,000 images since 1998. A test set of 20,000 does not exist in it, so the
# paper's count cannot be right for MNIST as published; whether it is a slip of the pen or another
# set of images was used, we cannot know. Everything here is measured on all 10,000 test images.

# %%
counts = {
    "training": np.bincount(dataset.train_labels, minlength=10),
    "test": np.bincount(dataset.test_labels, minlength=10),
}
show(
    digits.class_counts(counts),
    "01_class_counts",
    alt="Two bar charts, training and test: images of each digit from 0 to 9, all roughly equal.",
)

# %%
train = counts["training"]
rarest, commonest = train.argmin(), train.argmax()
always = counts["test"].max() / counts["test"].sum()
display(
    Markdown(
        f"The classes are nearly balanced: {train[rarest]:,} images of a {rarest}, "
        f"{train[commonest]:,} of a {commonest}. Always guessing the commonest test digit would be "
        f"right {always:.1%} of the time, so accuracy is a fair measure."
    )
)

# %% [markdown]
# ## Samples of each class
#
# The paper's Figure 4 shows examples of each class. Ours: the first twelve training images of
# each digit, in the order of the data set, chosen by nobody.

# %%
show(
    digits.samples(dataset.train_images, dataset.train_labels),
    "01_samples",
    alt="Ten rows of twelve handwritten digits, one row for each digit from 0 to 9.",
)

# %% [markdown]
# Slant, thickness and size differ a lot within a row. And some digits come close to another row:
# the eleventh 7 has the foot of a 2, and the twelfth 9 could be a 7.
#
# ## One digit in detail
#
# The lower half of the paper's Figure 4 shows one digit as numbers. A pixel is one byte: 0 is
# background, 255 full ink.

# %%
digit = dataset.train_images[0]
show(
    digits.pixel_values(digit),
    "01_pixel_values",
    alt=f"The first training image, a {dataset.train_labels[0]}, as 28 by 28 squares, each with "
    "its value from 0 to 255 written on it.",
)

# %%
print(f"label {dataset.train_labels[0]}, shape {digit.shape}, type {digit.dtype}")
print(f"values from {digit.min()} to {digit.max()}, {np.mean(digit == 0):.0%} of them are 0")

# %% [markdown]
# LeNet-5 takes 32x32 pixels, so that a stroke at the border still lies in the middle of some
# 5x5 filter. We divide by 255 and add two pixels of background on each side.

# %%
batch = network_input(dataset.train_images[:1])
print(f"shape {batch.shape}, type {batch.dtype}, values from {batch.min():g} to {batch.max():g}")

# %% [markdown]
# ## Many ways to write a seven
#
# The paper finds "large intra-class variation": it is hard to see that several sevens are the same
# digit. Let us look for the most different ones. We sort the sevens by their distance from the
# average seven and take thirty at even steps, from the most to the least typical.

# %%
sevens = dataset.train_images[dataset.train_labels == 7] / 255
distance = np.linalg.norm(sevens - sevens.mean(axis=0), axis=(1, 2))
even_steps = np.linspace(0, len(sevens) - 1, 30).astype(int)
chosen = np.argsort(distance, kind="stable")[even_steps]

# %%
show(
    digits.gallery(sevens[chosen], [f"{value:.1f}" for value in distance[chosen]]),
    "01_sevens",
    alt="Thirty sevens: mostly plain ones in the first row; crossed, hooked and very thick ones in "
    "the last.",
)

# %% [markdown]
# Above each seven stands its distance from the average seven (Euclidean, pixels in [0, 1]). The
# last row has bars through the stem, hooks that make an n of the 7, and strokes two or three
# times as thick.
#
# How large is this variation beside the difference between digits? We take 1,000 images and
# measure the distance of each seven to all of them, digit by digit.

# %%
from scipy.spatial.distance import cdist

images = dataset.train_images[:1000].reshape(-1, 784) / 255
labels = dataset.train_labels[:1000]
distances = cdist(images[labels == 7], images)
distances[distances == 0] = np.nan  # a seven's distance to itself

# %%
medians = np.array([np.nanmedian(distances[:, labels == digit]) for digit in range(10)])
pd.DataFrame([medians], columns=range(10), index=["median distance"]).round(2)

# %%
nearest = np.where(np.arange(10) == 7, np.inf, medians).argmin()
among_sevens = distances[:, labels == 7]
further = np.mean(among_sevens[~np.isnan(among_sevens)] > medians[nearest])
display(
    Markdown(
        f"Two sevens are {medians[7]:.1f} apart (median), a seven and a {nearest} are "
        f"{medians[nearest]:.1f} apart. {further:.0%} of the pairs of sevens differ more than the "
        f"typical pair of a seven and a {nearest}. The paper's remark holds: as pixels, digits of "
        "one class can vary as much as digits of two classes."
    )
)

# %% [markdown]
# ## What the augmentation does
#
# The paper augments its training images by "horizontal flip and image jittering", and says no more.
# We mirror each image with probability 1/2 and, as jitter, shift it by up to two pixels. All of
# an epoch's draws are fixed by its seed, in a *plan* that can be looked at.

# %%
plan = epoch_plan(PAPER, epoch=0, size=len(dataset.train_images))
print(f"mirrored: {plan.flip.mean():.1%} of the images of epoch 0")
print(f"shifts down and right: from {plan.shift.min()} to {plan.shift.max()} pixels")

# %% [markdown]
# Here is one training image as the network meets it in the first ten epochs; the two numbers are
# the rows down and the columns right by which it is moved.

# %%
plans = [epoch_plan(PAPER, epoch, size=len(dataset.train_images)) for epoch in range(10)]
rows = [np.flatnonzero(plan.order == 0)[0] for plan in plans]
flip = np.array([plan.flip[row] for plan, row in zip(plans, rows, strict=True)])
shift = np.array([plan.shift[row] for plan, row in zip(plans, rows, strict=True)])

# %%
table = augmentation_table(dataset.train_images[:1], PAPER.shift)
seen = np.asarray(augment(table, np.zeros(10), flip, shift))[..., 0]
captions = [
    f"epoch {epoch}\n{'mirrored' if flipped else 'as stored'}, {down:+d} {right:+d}"
    for epoch, (flipped, (down, right)) in enumerate(zip(flip, shift, strict=True))
]

# %%
show(
    digits.gallery(seen, captions, columns=5),
    "01_augmented",
    alt="The same digit ten times, once an epoch, each time shifted by up to two pixels; some of "
    "them are mirrored left to right.",
)

# %% [markdown]
# There are 2 x 25 = 50 versions of each image, so in 100 epochs each comes up twice on average. The
# shift is harmless: a moved 4 is still a 4. The mirror is not: nobody writes a 4 like that.
#
# ## Which digits survive the mirror?

# %%
first = [np.flatnonzero(dataset.test_labels == digit)[0] for digit in range(10)]
stored = dataset.test_images[first]
table, still = augmentation_table(stored, 0), np.zeros((10, 2), "int32")
mirrored = np.asarray(augment(table, np.arange(10), np.ones(10, bool), still))[..., 0]

# %%
show(
    digits.comparison(
        {"as stored": network_input(stored)[..., 0], "mirrored": mirrored},
        [f"labelled {digit}" for digit in range(10)],
    ),
    "01_mirrored",
    alt="The first test image of each digit, and below it its mirror image with the same label.",
)

# %% [markdown]
# To the eye, the mirrored 0, 1 and 8 are still a 0, a 1 and an 8. The mirrored 5 can be read as a
# 2, and the mirrored 2 has something of a 6. The mirrored 3, 4, 6, 7 and 9 belong to no class at
# all; the 9 has become the letter P. All of them keep their label.
#
# Eyes differ, so let us also ask the pixels. For 2,000 test digits we look up the most similar of
# 10,000 training digits, once for the digit as it is stored and once for its mirror image.

# %%
from sklearn.neighbors import KNeighborsClassifier

known = dataset.train_images[:10_000].reshape(-1, 784).astype("float32")
lookup = KNeighborsClassifier(n_neighbors=1).fit(known, dataset.train_labels[:10_000])


# %%
def resembled(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Percent of the images of each digit (rows) that are most similar to each digit (columns)."""
    found = lookup.predict(images.reshape(-1, 784).astype("float32"))
    table = pd.crosstab(labels, found, normalize="index")
    return 100 * table.reindex(index=range(10), columns=range(10), fill_value=0).to_numpy()


# %%
asked, truth = dataset.test_images[:2000], dataset.test_labels[:2000]
shares = {
    "as stored": resembled(asked, truth),
    "mirrored": resembled(asked[:, :, ::-1], truth),
}

# %%
show(
    digits.look_alikes(shares),
    "01_look_alikes",
    alt="Two tables of percentages. As stored nearly all digits resemble their own class; "
    "mirrored, most 2, 3, 5, 6 and 7 resemble another digit.",
)

# %%
kept = np.diag(shares["mirrored"])
lost = [digit for digit in range(10) if kept[digit] < 50]
others = shares["mirrored"] - np.diag(kept)
becomes = "; ".join(
    f"{digit} → {others[digit].argmax()} ({others[digit].max():.0f} %)" for digit in lost
)
display(
    Markdown(
        f"As stored, {np.diag(shares['as stored']).mean():.0f} % resemble their own class most. "
        f"Mirrored, {kept.mean():.0f} % do. Below one half fall "
        f"{', '.join(map(str, lost))}, with these most frequent look-alikes: {becomes}."
    )
)

# %% [markdown]
# Each row of the right-hand table says what the mirrored images of one digit look like. Similarity
# of pixels is a crude judge: it lets most mirrored 4s and 9s pass, which no reader would. What it
# does show is that the flip moves half of the classes onto the ground of others while their labels
# stay. The network can still learn them, as a second way to write each digit; whether that costs
# accuracy is a question for training runs.
#
# ## The local binary pattern
#
# The paper's Figure 1 explains an older way to describe an image. A *local binary pattern* (LBP)
# compares a pixel with its eight neighbours: a neighbour that is at least as bright counts 1, a
# darker one 0. The eight bits, read as a binary number, describe the surroundings of the pixel.
# The figure is lost; its text gives the bits, 11110001, but not the grey values.
#
# It also does not say in which order the neighbours are read. We number them clockwise from the top
# left, with weights 1, 2, 4, ..., 128.

# %%
WEIGHTS = np.array([[1, 2, 4], [128, 0, 8], [64, 32, 16]])
images = dataset.train_images[:500]
patches = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
at_least = patches >= patches[..., 1:2, 1:2]
codes = (at_least * WEIGHTS).sum(axis=(-2, -1))
print(f"images, rows and columns of the centres: {codes.shape}")

# %% [markdown]
# Now we look in real digits for the paper's pattern, and take the patch with the most different
# grey values.

# %%
found = np.argwhere(codes == 0b11110001)
variety = [len(np.unique(patches[tuple(place)])) for place in found]
number, row, column = found[np.argmax(variety)]
patch = patches[number, row, column]
print(f"{len(found)} patches; the one shown is in image {number}, a {dataset.train_labels[number]}")

# %%
show(
    digits.worked_pattern(patch, WEIGHTS),
    "01_local_binary_pattern",
    alt="Four 3 by 3 tables: grey values; which neighbours are at least as bright as the centre; "
    "the powers of two; their product, which sums to 241, binary 11110001.",
)

# %% [markdown]
# From left to right: the grey values; 1 where a neighbour is at least as bright as the centre; the
# weight of each place; and the weights of the ones, which add up to 241, in binary 11110001.
#
# **Does scikit-image agree?** `multiblock_lbp` with blocks of one pixel looks at the same eight
# pixels, but gives the highest weight to the top left: the same bits in reverse.

# %%
from skimage.feature import local_binary_pattern, multiblock_lbp
from skimage.transform import integral_image

theirs = multiblock_lbp(integral_image(images[number]), row, column, 1, 1)
print(f"ours {codes[number, row, column]:08b}, theirs reversed {f'{theirs:08b}'[::-1]}")

# %% [markdown]
# `local_binary_pattern` starts at the right-hand neighbour, goes round counter-clockwise, and puts
# its samples *on a circle* of radius 1. The four direct neighbours are pixels; the four diagonal
# ones are interpolated between pixels. So with the same weights four bits must agree everywhere,
# and the other four need not.

# %%
weights_there = np.array([[8, 4, 2], [16, 0, 1], [32, 64, 128]])
reordered = (at_least[number] * weights_there).sum(axis=(-2, -1))
circular = local_binary_pattern(images[number], P=8, R=1).astype(int)
different = reordered ^ circular[1:-1, 1:-1]
print(f"pixels whose direct neighbours differ:   {np.count_nonzero(different & 0b01010101)} of 676")
print(f"pixels whose diagonal neighbours differ: {np.count_nonzero(different & 0b10101010)} of 676")
square, circle = reordered[row, column], circular[row + 1, column + 1]
print(f"the patch above: {square:08b} on the square, {circle:08b} on the circle")

# %%
show(
    digits.pattern_image(images[number], circular, (row + 1, column + 1)),
    "01_pattern_image",
    alt="A digit and its local binary patterns: the empty background is uniformly 255, the codes "
    "change quickly along the strokes. The patch worked above is framed.",
)

# %% [markdown]
# The frame marks the patch worked above. The background has code 255 throughout: where all is
# equal, every neighbour is "at least as bright". Along the strokes the code tells on which side
# the ink lies. It knows nothing of how strong a contrast is: one grey level counts as much as
# 255. The paper names such hand-made features only to leave them behind: its network learns its
# own.
#
# ## On your own
#
# - Replace the sevens by another digit. Which class varies most, and which least?
# - Mirror top to bottom instead, or turn by 180°. Which digits survive? Where does a 6 go now?
# - Use `>` instead of `>=` in the pattern. What becomes of the background, and why?
#
# ## Further reading
#
# - LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition,
#   Proc. IEEE 86(11), 1998: where MNIST and LeNet-5 come from.
# - Yadav, Bottou: Cold case: the lost MNIST digits, 2019
#   ([arXiv:1905.10498](https://arxiv.org/abs/1905.10498)): the test digits that MNIST left out.
# - Ojala, Pietikäinen, Mäenpää: Multiresolution gray-scale and rotation invariant texture
#   classification with local binary patterns, IEEE TPAMI 24(7), 2002: the pattern on a circle.
#
# Next: [2. Train LeNet with attention](02_train_lenet_with_attention.ipynb).
