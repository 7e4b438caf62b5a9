# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4. See the attention
#
# **The question.** The paper says that its mask focuses "on the important information of the input
# image", and shows no mask. What do the masks look like?
#
# **The answer.** The mask after C1 is a soft copy of the digit; the one after C3 is coarse and
# depends on the seed. Neither lies on the ink better than the image itself, which needs no network.
#
# **You will** take a mask out of a trained network, multiply it into the features by hand, lay it
# over the digit, compare seeds, try it on a bar and a dot, and score it beside maps that learned
# nothing.
#
# **You need** the mask of [notebook 2](02_train_lenet_with_attention.ipynb): one score for each
# position of a feature map. Run time: about half a minute.

# %%
from dataclasses import replace

import numpy as np
from IPython.display import Markdown, display

import mnist_attention as ma

# %% nbmake={"mock": {"DATASET": "uci", "EPOCHS": 1}} tags=["parameters"]
DATASET = "mnist"
EPOCHS = 5  # of a short training, where trained weights are missing

# %%
dataset = ma.load_dataset(DATASET, fallback=True)

# %% tags=["hide-input"]
banner = dataset.banner  # empty for MNIST
if banner:
    display(Markdown(f"> **These are the {banner}.** The text below speaks of MNIST."))

# %% [markdown]
# The folder `weights` has a LeNet-5 with masks that was trained by the paper's protocol for 100
# epochs, from seed 0.

# %%
protocol = replace(ma.PAPER, dataset=dataset.name, seed=0)
model, notice = ma.load_or_train_briefly(protocol, dataset, EPOCHS)
images, labels = dataset.test_images, dataset.test_labels

# %% tags=["hide-input"]
if notice:
    display(Markdown(f"> **NO TRAINED WEIGHTS FOUND.** The network below was {notice}, just now."))
banner = ", ".join(filter(None, (banner, notice)))

# %% [markdown]
# ## Features, mask, product
#
# Take the first seven of the test set through C1, then through the mask:

# %%
seven = images[labels == 7][0]
c1, mask = model.get_layer("c1"), model.get_layer("c1_attention")
features = c1(ma.network_input(seven[None]))
product, scores = mask(features, return_attention_scores=True)
features, scores, product = (np.asarray(value)[0] for value in (features, scores, product))
print("features", features.shape, " scores", scores.shape, " product", product.shape)
assert np.allclose(product, features * scores)

# %%
figure = ma.figures.product(features, scores, title="One mask is multiplied into all six features")
alt = "Six features of a seven, the same mask under each, and the six products, much alike."
ma.figures.show(figure, "04_product", alt, banner)

# %% [markdown]
# The products look much like the features. The mask is bright on the stroke and around it, and most
# of what it weakens is almost zero already. The exception is the strip above the bar: there feature
# 5 has a line, which is dimmed.
#
# ## The mask as numbers
#
# Along one row of the digit, which the stem of the seven crosses:

# %%
row = 14
print("column", *(f"{column:4}" for column in range(8, 22)))
print("ink   ", *(f"{value / 255:4.2f}" for value in seven[row, 8:22]))
print("mask  ", *(f"{value:4.2f}" for value in scores[row, 8:22, 0]))

figure = ma.figures.mask_along_row(
    seven, scores[..., 0], row, title="The mask follows the stroke, and does not fall to zero"
)
alt = "Ink and mask along row 14 of a seven: the mask is near 1 on the stroke, lower elsewhere."
ma.figures.show(figure, "04_mask_along_row", alt, banner)

# %% [markdown]
# Far from the stroke the curve is flat: every empty place sees only black and gets the same score.
#
# ## Onto the image
#
# The mask after C1 has 28x28 positions. Position $i$ sees the pixels $i-2$ to $i+2$ of the digit,
# so this mask lies on the image as it is.
#
# The mask after C3 has 10x10. Its position $i$ sees five positions of S2, from $i$ to $i+4$; these
# see the positions $2i$ to $2i+9$ of C1; and these the pixels $2i-2$ to $2i+11$. That is 14x14
# pixels, a quarter of the image, with their centre at $2i+4.5$:

# %%
place = np.arange(10)
first_pixel, last_pixel = 2 * place - 2, 2 * place + 11
centre = (first_pixel + last_pixel) / 2

# %% [markdown]
# To check this, invert one pixel and see which scores change:

# %%
damaged = seven.copy()
damaged[14, 14] = 255 - damaged[14, 14]
c3_scores = ma.attention_maps(model, np.stack([seven, damaged]))["c3_attention"][..., 0]
changed = c3_scores[0] != c3_scores[1]
sees = (first_pixel <= 14) & (last_pixel >= 14)
print("rows with a changed score:", place[changed.any(axis=1)], " rows that see it:", place[sees])
assert not changed[~sees].any()
assert not changed[:, ~sees].any()

# %% [markdown]
# To lay the mask over the image, put each score at the centre of what its position sees and
# interpolate in between, along the rows and then along the columns:


# %%
def enlarge(scores):  # 10x10 to 28x28
    wide = np.array([np.interp(np.arange(28), centre, row) for row in scores])
    return np.array([np.interp(np.arange(28), centre, column) for column in wide.T]).T


# %%
figure = ma.figures.enlargement(
    seven, c3_scores[0], enlarge(c3_scores[0]), centre, title="Where the mask after C3 looks"
)
alt = "A seven with a grid of dots; its C3 mask as 10x10 squares; the same mask on the image."
ma.figures.show(figure, "04_enlargement", alt, banner)

# %% [markdown]
# The dots are the centres. Outside of them the map repeats its border. Each dot sees 14x14 pixels,
# so expect no sharp outlines.
#
# From here on, one function gives both masks on the image:


# %%
def masks_of(model, images):
    maps = ma.attention_maps(model, images)  # name of the layer -> (n, height, width, 1)
    c1, c3 = maps["c1_attention"][..., 0], maps["c3_attention"][..., 0]
    return {"C1 mask": c1, "C3 mask": np.array([enlarge(scores) for scores in c3])}


# %% [markdown]
# ## Ten digits
#
# The first test image of each class. All masks share one scale, from 0 (nothing passes) to 1 (all
# passes); the line is the outline of the ink.

# %%
ten = images[[np.flatnonzero(labels == digit)[0] for digit in range(10)]]
masks = ("C1 mask", "C3 mask")
figure = ma.figures.image_grid(
    {"digit": ten, **masks_of(model, ten)},
    title="After C1 a soft copy of the digit, after C3 a coarse cloud around it",
    masks=masks,
    ink=ten,
)
alt = "Ten digits; their C1 masks, bright on the strokes; their C3 masks, bright in a wide area."
ma.figures.show(figure, "04_ten_digits", alt, banner)

# %% [markdown]
# The C1 mask is near 1 on the strokes and about 0.75 on the empty background. The C3 mask is near 1
# on most of the digit and on what it encloses, and lowest *above* strokes: over the bar of the
# seven, to the upper right of the zero.
#
# You can draw a digit of your own and watch both masks follow the pen: on the web site, or in a
# checkout, where `make site` builds the page as `build/site/draw.html`.
#
# ## Before and after training
#
# How much of this was learned? Compare three seeds, each before training and after 20 epochs:

# %%
three = ten[[2, 4, 7]]
rows = {"digit": [*three] * 3}
for layer in masks:
    rows |= {f"{layer} before": [], f"{layer} after": []}

for seed in range(3):
    short = replace(protocol, epochs=20, seed=seed)
    trained, _ = ma.load_or_train_briefly(short, dataset, EPOCHS)
    for when, network in {"before": ma.build_model(short), "after": trained}.items():
        for layer, found in masks_of(network, three).items():
            rows[f"{layer} {when}"].extend(found)

# %%
figure = ma.figures.image_grid(
    rows,
    ["", "seed 0", "", "", "seed 1", "", "", "seed 2", ""],
    title="Training makes the C1 masks alike; the C3 masks differ from seed to seed",
    masks=rows.keys() - {"digit"},
)
alt = "Three digits under three seeds: C1 masks alike after training, C3 masks not."
ma.figures.show(figure, "04_before_and_after", alt, banner)

# %% [markdown]
# Before training the scores are near one half, on the strokes of seed 0 down to a quarter. So the
# digit shows, in one seed darker than the rest, in the others as thin lines: any number that is
# computed from the features at a position shows where there are features. **A map in which you
# recognise the digit is no proof that anything was learned.**
#
# Training makes the C1 masks alike: bright on the strokes. The C3 masks, all near one half at
# first, become different ones.
#
# ## A horizontal bar, a vertical bar, a dot
#
# To see what a mask answers to, show it something simpler than a digit; at the end, nothing at all.

# %%
drawn = np.zeros((4, 28, 28), "float32")
drawn[0, 13:16, 4:24] = 1  # a horizontal bar
drawn[1, 4:24, 13:16] = 1  # a vertical bar
drawn[2, 12:16, 12:16] = 1  # a dot

figure = ma.figures.image_grid(
    {"shown": drawn, **masks_of(model, drawn)},
    ["horizontal bar", "vertical bar", "dot", "nothing"],
    title="The lowest scores are just above or beside a stroke, not where nothing is",
    masks=masks,
    ink=drawn,
    cell=1.4,
)
alt = "A horizontal bar, a vertical bar, a dot and an empty image, with their C1 and C3 masks."
ma.figures.show(figure, "04_bars", alt, banner)

# %% [markdown]
# The lowest scores are not where nothing is, but just above a stroke or beside it. So the mask
# after C3 does not tell ink from background: it tells one arrangement of strokes from another.
#
# ## The average mask of each class
#
# Averaged over all test images of a class, what is special to one writer is gone:

# %%
everything = masks_of(model, images)
rows = {"digit": images / 255, **everything}
means = {name: [rows[name][labels == k].mean(axis=0) for k in range(10)] for name in rows}

figure = ma.figures.image_grid(
    means, title="The average C1 mask is the average digit, blurred", masks=masks
)
alt = "The average image of each digit, and below it the average C1 mask and C3 mask."
ma.figures.show(figure, "04_class_means", alt, banner)

# %% [markdown]
# The C1 mask knows ink, not classes. The C3 mask is lowest above the bar of the seven and to the
# upper right of 0, 2, 3, 8 and 9, and low on both sides of the one.
#
# ## The mistakes
#
# Does the mask look elsewhere when the network errs?

# %%
answers = model.predict(ma.network_input(images), batch_size=500, verbose=0).argmax(axis=1)
wrong, right = np.flatnonzero(answers != labels), np.flatnonzero(answers == labels)
print(f"{len(wrong)} of {len(labels):,} test images are misread")

# %%
ink = images > 127
for name, found in everything.items():
    on_ink = [f"{found[of][ink[of]].mean():.3f}" for of in (right, wrong)]
    print(f"{name}, mean score on ink: read right {on_ink[0]}, misread {on_ink[1]}")

# %%
shown = images[wrong[:10]]
figure = ma.figures.image_grid(
    {"digit": shown, **masks_of(model, shown)},
    [f"{labels[i]}, read\nas {answers[i]}" for i in wrong[:10]],
    title="The C1 masks follow the strokes of misread digits too",
    masks=masks,
    ink=shown,
)
alt = "Ten misread digits with their C1 and C3 masks; the C1 masks follow the strokes."
ma.figures.show(figure, "04_mistakes", alt, banner)

# %% [markdown]
# The masks follow the misread digits as they follow the others: nothing here says that the network
# errs because it looks elsewhere.
#
# ## Is it on the ink?
#
# Pictures persuade; a measure can fail. Take one pixel of ink and one of background at random: how
# often is the mask higher on the ink? This share is the *AUROC*; one half is chance, one is
# perfect. A tie counts one half. For the seven:

# %%
on_seven = seven > 127
for name, found in {**masks_of(model, seven[None]), "the image itself": seven[None] / 255}.items():
    on, off = found[0][on_seven], found[0][~on_seven]
    auroc = (on[:, None] > off).mean() + (on[:, None] == off).mean() / 2
    print(f"{name}: {auroc:.3f}")

# %% [markdown]
# The image itself ranks all ink above all background, as it must: ink *is* brightness. That is the
# yardstick. Below, means over 2,000 test images and over all measured seeds, with half the width of
# the 95 % interval. The best in each measure that all maps have is bold.
#
# - *AUROC for ink*: as above.
# - *peak on ink*: in how many images the highest point of the map is on ink.
# - *mass on ink*: the share of the map's sum that lies on ink.
# - *rank on ink*: take the highest pixels, as many as there is ink; the share of them on ink.
# - *signal to noise*: what the mask adds to the ratio of feature energy on and off ink
#   ([notebook 6](06_does_it_filter_noise.ipynb)). It needs features, so only masks have it.
#
# Beside the masks stand the same masks before training (*untrained*), and maps without a network:
# the image (*brightness*), a Gaussian in the middle that is the same for all images (*centre*),
# the image's *edges*, *random* numbers.

# %% tags=["hide-input"]
records = ma.evidence.read_records()
measured = ma.evidence.scores_table(records)


def in_bold(table):
    table = table.set_index("map")
    numbers = table.drop(columns="n").apply(lambda column: column.str.split().str[0].astype(float))
    numbers = numbers.dropna(axis="columns")  # every map has these measures
    best = numbers.eq(numbers.max()).reindex(columns=table.columns, fill_value=False)
    return numbers, table.mask(best, "**" + table + "**").reset_index()


if len(measured):
    numbers, table = in_bold(measured)
    display(Markdown(ma.evidence.markdown(table)))
    won = (numbers.idxmax() == "brightness").sum()
    lead = numbers.columns[numbers.loc["C1"] > numbers.loc["edges"]]
    what_wins = (
        f"**What wins: the image itself**, in {won} of the {numbers.shape[1]} measures that all "
        f"maps have. The C1 mask is ahead of the edges in: {', '.join(lead) or 'none'}."
    )
Markdown(what_wins if len(measured) else "No network was measured yet.")

# %% [markdown]
# In AUROC, peak and rank the image is perfect by definition, so there a mask can at best equal it.
# In mass no mask is far above random numbers: because it never falls to zero, most of its sum lies
# on the background. And the mask after C3 ranks ink worse than a blob in the middle that never
# looks at the digit.
#
# The trained C1 mask is also better than the same mask before training. That does not show that the
# mask itself learned: one with fixed weights improves too when the features below it are trained.
# What it is good for, [notebook 5](05_is_it_attention.ipynb) asks. On black, brightness gives the
# ink away; [notebook 6](06_does_it_filter_noise.ipynb) puts something behind the digits.
#
# ## What you have learnt
#
# - The C1 mask is a soft copy of the digit. Most of what it weakens is almost zero already.
# - The C3 mask is coarse, answers to arrangements of strokes, and differs from seed to seed.
# - Three controls keep a picture honest: one colour scale, the untrained network, and a map that
#   needs no network.
#
# ## Exercises
#
# 1. Add a ring and a cross to `drawn`. Where is the C3 mask lowest? And `255 - seven`: which side
#    does the C1 mask take for the digit?
# 2. Draw the masks *before* training, `masks_of(ma.build_model(protocol), ten)`, each on its own
#    scale from its minimum to its maximum (`(mask - mask.min()) / np.ptp(mask)`). How convincing
#    they look!
# 3. `ma.evidence.scores_table(records, changes={"epochs": 20})` has two more measures, *deletion*
#    (small is good) and *insertion* (large is good): the probability of the true class while pixels
#    go or come in the order of the map. Which map wins these?
#
# ## Further reading
#
# - Adebayo and others: *Sanity checks for saliency maps*, 2018,
#   [arXiv:1810.03292](https://arxiv.org/abs/1810.03292): why the untrained network is a control.
# - Jetley, Lord, Lee, Torr: *Learn to pay attention*, 2018,
#   [arXiv:1804.02391](https://arxiv.org/abs/1804.02391): masks that ask a question of the image.
#
# Next: [5. Is it attention?](05_is_it_attention.ipynb).
