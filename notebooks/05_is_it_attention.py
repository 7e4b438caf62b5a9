# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5. Is it attention?
#
# **The question.** Has the network learned *where to look*, and does it read digits better for it?
#
# **The answer.** It leans on its mask: cover the mask, and accuracy falls, by about three points on
# average. But a network that is trained without one reads as well, to within 0.1 points: it
# got used to a gate, and gains nothing by it.
#
# **You will** replace the mask of a trained network by four other things, put other blocks in its
# place, take the training out of the network layer by layer, and compare the masks of five seeds.
#
# **You need** [notebook 4](04_see_the_attention.ipynb). Run time: about a minute; all training is
# on record, the masks are changed live.

# %%
import mnist_attention as ma  # first: it keeps TensorFlow quiet
from dataclasses import replace
import numpy as np
from IPython.display import Markdown, display
from scipy.stats import rankdata
from mnist_attention.probes.masks import maps_on_image

# %% nbmake={"mock": {"DATASET": "uci", "EPOCHS": 1, "SEEDS": 2}} tags=["parameters"]
DATASET = "mnist"
EPOCHS = 5  # of the training that stands in where there are no trained weights
SEEDS = 5

# %%
dataset = ma.load_dataset(DATASET, fallback=True)
records = ma.evidence.read_records()
protocol = replace(ma.PAPER, dataset=dataset.name, seed=0)
model, notice = ma.load_or_train_briefly(protocol, dataset, EPOCHS)

# %% tags=["hide-input"]
banner = ", ".join(filter(None, (dataset.banner, notice)))  # empty for MNIST and full training
if dataset.banner:
    display(Markdown(f"> **These are the {dataset.banner}.** The text below speaks of MNIST."))
if notice:
    display(Markdown(f"> **NO TRAINED WEIGHTS FOUND.** What is live was {notice}, just now."))

# %% [markdown]
# ## What would have to be true
#
# `outputs = x * sigmoid(w . x + b)`: read without its name, that is a *gate*. Each position's
# features are scaled by a number made from these very features. *Attention* claims more than that,
# and the claim can be tested:
#
# 1. The trained network needs its mask *at its place*.
# 2. A network with a mask does better than one that has something simpler there, or nothing.
#
# The first alone is not enough: a network gets used to whatever it was trained with.
#
# ## Cover the mask
#
# Run the trained network layer by layer, and change only what is multiplied onto the features:


# %%
def run(images, change):
    x = ma.network_input(images)
    for layer in model.layers[1:]:  # the first is the input
        if layer.name in ("c1_attention", "c3_attention"):
            _, scores = layer(x, return_attention_scores=True)
            x = x * change(np.asarray(scores))
        else:
            x = layer(x)
    return np.argmax(x, axis=1)


# %% [markdown]
# The mask itself and four replacements, made of scores `s` of shape (images, height, width, 1).
# *Its mean* makes it flat; *another image's* and *shuffled* put it elsewhere. These three keep its
# mean over the images. *Ones* takes it away.


# %%
def shuffle(s):
    order = np.random.default_rng(0).permutation(s.shape[1] * s.shape[2])
    return s.reshape(len(s), -1)[:, order].reshape(s.shape)


CHANGES = {
    "its own": lambda s: s,
    "its mean": lambda s: np.full_like(s, s.mean(axis=(1, 2), keepdims=True)),
    "another image's": lambda s: np.roll(s, 1, axis=0),
    "shuffled": shuffle,
    "ones": np.ones_like,
}

# %% [markdown]
# The C1 masks of ten digits become:

# %%
first = [np.flatnonzero(dataset.test_labels == digit)[0] for digit in range(10)]
ten = dataset.test_images[first]
own = ma.attention_maps(model, ten)["c1_attention"]
rows = {name: change(own)[..., 0] for name, change in CHANGES.items()}

# %% tags=["hide-input"]
title = "Four things take the place of a mask; none is where the stroke is"
figure = ma.figures.image_grid({"digit": ten, **rows}, title=title, masks=rows)
alt = "Ten digits; below each its C1 mask, the mean of it, another digit's, it shuffled, and ones."
ma.figures.show(figure, None, alt, banner)

# %% [markdown]
# Only its own mask follows the digit. The accuracy on all test images becomes:

# %%
accuracy = {
    name: np.mean(run(dataset.test_images, change) == dataset.test_labels)
    for name, change in CHANGES.items()
}
for name, value in accuracy.items():
    print(f"{name:16} {value:.2%}")

# %% [markdown]
# So this network needs its mask where it is. Is it typical? The same was measured for every seed
# of the paper's protocol. For this one, the record and your code must agree:

# %%
recorded = ma.evidence.runs_of({}, records).by_seed[0]["measured"]["interventions"]
assert banner or np.isclose(accuracy["its mean"], recorded["mean"], atol=0.001)
assert banner or np.isclose(accuracy["shuffled"], recorded["shuffled"], atol=0.001)

# %% [markdown]
# All seeds:

# %%
title = "Move the mask, and most networks read worse: some hardly, some by over ten points"
figure = ma.figures.interventions(records, title=title)
alt = "Change of accuracy under four replaced masks, a line a seed: from near zero to far below."
ma.figures.show(figure, "05_interventions", alt)

# %% tags=["hide-input"]
Markdown(ma.evidence.moved_text(records))

# %% [markdown]
# The mean and the ones cost about the same: it is the places that count, not the strength. And the
# seeds lie far apart: networks of nearly the same accuracy lean on their masks to very different
# degrees. Nothing in the loss rewards a network for leaning on its mask.
#
# So the first condition holds for most networks of 100 epochs, and for some of them barely.
#
# ## But train without
#
# Take the mask away *before* training, and the network learns to do without. After the paper's 100
# epochs, test accuracy is:

# %% tags=["hide-input"]
Markdown(ma.evidence.finding(records))

# %% [markdown]
# What else could stand there? Here are six blocks, each at C1 and at C3 like the mask. `s` is one
# score for each position, `a` one for each feature.
#
# | in its place | computes | learns where? |
# | --- | --- | --- |
# | the mask | `x * s`, `s = sigmoid(w . x + b)` | yes |
# | one half everywhere | `x * 0.5`, the score that a mask starts from | no |
# | masks that are not trained | `x * s`, `w` and `b` at their initial values | no |
# | 1x1 convolution, no product | mixes the features of each position | no |
# | swish | `x * sigmoid(x)`, each feature gates itself | no |
# | squeeze-and-excitation | `x * a`, `a` from the mean of each feature | no, *which* |
# | CBAM | `x * a * s`, `s` from 7x7 neighbourhoods | yes |
#
# They and the pair were trained for 20 epochs each, with the same seeds:

# %%
title = "After 20 epochs the mask is one gate among others, and behind LeNet without any"
figure = ma.figures.controls(records, title=title)
alt = "Accuracy of LeNet, of the mask and of six other blocks, a line a seed: most of them overlap."
ma.figures.show(figure, "05_controls", alt)

# %% tags=["hide-input"]
Markdown(ma.evidence.markdown(ma.evidence.controls_table(records)))

# %% [markdown]
# After 20 epochs the mask still suffers from its late start ([notebook
# 2](02_train_lenet_with_attention.ipynb)), as does everything that halves the signal. It does beat
# *one half everywhere*, so it is more than a smaller scale, and it beats squeeze-and-excitation and
# CBAM. But masks that were never trained, and start just as late, come out about where trained ones
# do; and LeNet alone is ahead. The second condition fails.
#
# ## Which maps notice what was learned?
#
# A picture of what a network has learned must change when that is gone. Re-initialise its layers
# from the output down, and look at its masks after each:

# %%
FROM_THE_TOP = ("output", "f6", "c5", "c3_attention", "c3", "c1_attention", "c1")
untrained = ma.lenet5_attention(seed=1)
network = ma.lenet5_attention(seed=1)
network.set_weights(model.get_weights())
stages = {"trained": ma.attention_maps(network, ten)}

# %%
for name in FROM_THE_TOP:
    network.get_layer(name).set_weights(untrained.get_layer(name).get_weights())
    stages[name] = ma.attention_maps(network, ten)

# %%
ROWS = {  # row of the picture -> the mask, and the layer down to which the weights are new
    "C1, trained": ("c1", "trained"),
    "C1, down to C3": ("c1", "c3"),
    "C1, down to C1 mask": ("c1", "c1_attention"),
    "C1, down to C1": ("c1", "c1"),
    "C3, trained": ("c3", "trained"),
    "C3, down to C5": ("c3", "c5"),
    "C3, down to C3 mask": ("c3", "c3_attention"),
    "C3, down to C3": ("c3", "c3"),
}
rows = {row: stages[stage][f"{mask}_attention"][..., 0] for row, (mask, stage) in ROWS.items()}

# %% tags=["hide-input"]
title = "A mask stays as it is until its own layer is re-initialised"
figure = ma.figures.image_grid({"digit": ten, **rows}, title=title, masks=rows)
alt = "Ten digits; their C1 and C3 masks as trained, unchanged with upper layers re-initialised."
ma.figures.show(figure, None, alt, banner)

# %% [markdown]
# The same as a number, the *rank correlation* of a mask with the trained one: 1 is the same order
# of pixels, 0 none, -1 the same picture as a negative. Each line is a network of 20 epochs with one
# of five draws of new weights.

# %%
title = "Masks change only once their own layer is re-initialised; some become their negative"
figure = ma.figures.reinitialised(records, title=title)
alt = "Correlation with the trained mask: 1 down to its own layer, then scattered, many negative."
ma.figures.show(figure, "05_randomised", alt)

# %% [markdown]
# The flat part holds by construction. A mask is computed forwards, from the features below it; what
# the network makes of the digit is decided above. So **a mask explains no answer**: put nonsense
# there, and it stays the same picture.
#
# Once its own layer is new, mind the size and not only the sign. Near -1 the picture is not gone:
# it is the negative. Weights that learned nothing still draw the digit, for they too are applied to
# features of the digit. What they cannot know is which to let through, ink or paper.
#
# ## Do seeds agree where to look?
#
# If there is a right place to look, networks that differ in the seed alone should find it. Compare
# the masks of five seeds, before training and after 20 epochs of it. `maps_on_image` is `masks_of`
# of notebook 4: "C1" and "C3" -> the masks at 28x28.

# %%
of_seed = [replace(protocol, seed=seed, epochs=20) for seed in range(SEEDS)]
loaded = [ma.load_or_train_briefly(each, dataset, EPOCHS) for each in of_seed]
some = dataset.test_images[:500]
before = [maps_on_image(ma.build_model(each), some) for each in of_seed]
after = [maps_on_image(network, some) for network, _ in loaded]


# %%
def agreement(a, b):  # the rank correlation of two maps, averaged over the images
    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (a, b)]
    return np.mean([np.corrcoef(one, other)[0, 1] for one, other in zip(*ranks, strict=True)])


def agreements(maps, mask):
    return np.array([[agreement(a[mask], b[mask]) for b in maps] for a in maps])


tables = {
    "C1 before training": agreements(before, "C1"),
    "C1 after": agreements(after, "C1"),
    "C3 after": agreements(after, "C3"),
}

# %% tags=["hide-input"]
briefly = ", ".join(dict.fromkeys(filter(None, (dataset.banner, *(note for _, note in loaded)))))
title = "Training leads the C1 masks of all seeds to one picture, but not their C3 masks"
shown = {name: table.round(1) + 0.0 for name, table in tables.items()}  # 0.0 for -0.0
figure = ma.figures.heat_map(shown, range(SEEDS), title=title, label="seed")
alt = "Three tables of rank correlations between the masks of the seeds: mixed, all high, mixed."
ma.figures.show(figure, None, alt, briefly)

# %% [markdown]
# Before training the seeds contradict each other. After it, their C1 masks agree, about as much as
# each does with something simple: the brightness of the image, which needs no network.

# %%
for mask in ("C1", "C3"):
    ink = [agreement(maps[mask], some / 255) for maps in after]
    kept = [agreement(a[mask], b[mask]) for a, b in zip(after, before, strict=True)]
    print(f"{mask} with brightness {min(ink):+.2f} to {max(ink):+.2f}, ", end="")
    print(f"with its own start {min(kept):+.2f} to {max(kept):+.2f}")

# %% [markdown]
# Some seeds start with masks that let ink through, and keep them; others start with the negative,
# and training turns it over: hence correlations of both signs with their own start. The network
# learned "ink here" after C1. (Masks with fixed weights turn over too: the features below them
# change.) After C3, whose features are shapes and not ink, some seeds are alike and others go
# against each other.
#
# ## And where there is nothing to learn?
#
# Did the *labels* move the masks, or would any training do? Some networks were trained as long on
# the same images with labels dealt out at random. Does the mask rank ink above paper (*AUROC* of
# [notebook 4](04_see_the_attention.ipynb): 1 is always, 0.5 is chance)?

# %% tags=["hide-input"]
Markdown(ma.evidence.markdown(ma.evidence.labels_table(records)))

# %% [markdown]
# With random labels the masks stay as chance made them: some seeds rank ink high, others low, as
# before training. So the images alone did not turn the masks. That is weak evidence for the labels:
# in 20 epochs these networks learn nothing, not even the random labels, and answer every image with
# the same digit. Their weights hardly had a reason to move.
#
# ## The answer
#
# The rule is code. The mask is compared with nine controls: three are the mask itself, moved, in
# networks of 20 epochs (above you saw those of 100); one is LeNet-5 alone, after 100 epochs; five
# are the blocks above that learn no mask over places, after 20. It is attention if it beats all of
# them. It is not, if one of them is shown to be as good, that is, worse by less than one test image
# in a thousand. Otherwise it is undecided.

# %% tags=["hide-input"]
Markdown(ma.evidence.answer(records))

# %% [markdown]
# Nine tests give nine chances of a false finding, so they share the level of 0.05 (by Holm's
# correction: the smallest p value must be below 0.05 / 9, the next below 0.05 / 8, and so on). [The
# report](../REPORT.md) has the statistics, and the choices that the paper leaves open: other places
# and activations, a mask for each feature. It holds for LeNet-5 on MNIST: digits on black, where
# there is little to look away from. [Notebook 6](06_does_it_filter_noise.ipynb) puts something
# there.
#
# ## What you have learnt
#
# - That a trained network needs a part does not show that the part is of use: train without it.
# - A gate at every position is no attention yet; other gates, and none, do as well.
# - A forward mask says what the features below it are like, not why an answer was given.
#
# ## Exercises
#
# 1. In `run`, change only one of the two masks. Which does the network lean on?
# 2. Take LeNet-5 without a mask, `ma.load_or_train_briefly(replace(protocol, model="lenet5"),
#    dataset, EPOCHS)[0]`, and in a copy of `run` replace one of its six C1 features by its mean.
#    How much accuracy goes? Would you call that feature attention?
# 3. Give each digit the mask of another digit of the *same* class. Is that better than any other
#    image's?
#
# ## Further reading
#
# - Adebayo and others: *Sanity checks for saliency maps*, 2018,
#   [arXiv:1810.03292](https://arxiv.org/abs/1810.03292): layers re-initialised from the top, and
#   random labels.
# - Jain, Wallace: *Attention is not explanation*, 2019,
#   [arXiv:1902.10186](https://arxiv.org/abs/1902.10186), and Wiegreffe, Pinter: *Attention is not
#   not explanation*, 2019, [arXiv:1908.04626](https://arxiv.org/abs/1908.04626).
# - Hu, Shen, Sun: *Squeeze-and-excitation networks*, 2018,
#   [arXiv:1709.01507](https://arxiv.org/abs/1709.01507); Woo and others: *CBAM*, 2018,
#   [arXiv:1807.06521](https://arxiv.org/abs/1807.06521).
#
# Next: [6. Does it filter noise?](06_does_it_filter_noise.ipynb).
