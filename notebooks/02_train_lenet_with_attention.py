# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. Train LeNet with attention
#
# **The question.** A paper adds an attention mask of 24 parameters to LeNet-5 and reports 99.3 %
# instead of 97.7 % on MNIST. Does the mask do that?
#
# **The answer.** No gain is found: 98.43 % without the mask and 98.40 % with it, the means of 20
# pairs of networks that differ in the mask alone.
#
# **You will** write the mask as a Keras layer, check one score by hand, build LeNet-5 with it and
# without it, train both, and see that the package gives the numbers of your own code. Then you
# read the full runs: 100 epochs, many seeds.
#
# **You need** Python, NumPy and the idea of a convolution. Run time: about three minutes on two
# cores, most of it for the live training.

# %%
import mnist_attention as ma  # first: it keeps TensorFlow quiet
from dataclasses import replace
import keras
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display

# %% nbmake={"mock": {"DATASET": "uci", "EPOCHS": 2}} tags=["parameters"]
DATASET = "mnist"
EPOCHS = 8

# %%
dataset = ma.load_dataset(DATASET, fallback=True)

# %% tags=["hide-input"]
banner = dataset.banner  # empty for MNIST
if banner:
    display(Markdown(f"> **These are the {banner}.** The text below speaks of MNIST."))

# %% [markdown]
# ## A feature map is a stack of pictures
#
# The first layer of LeNet-5, C1, slides six filters of 5x5 pixels over the digit. Each filter gives
# one picture: bright where the filter fits. Together they are the *feature map*, six numbers at
# each of 28x28 positions.

# %%
digit = ma.network_input(dataset.test_images[:1])[0, :, :, 0]  # 28x28 bytes -> 32x32 in [0, 1]
c1 = keras.layers.Conv2D(6, 5, activation="relu", name="c1")
c1(digit[None, :, :, None])  # builds the layer
start = ma.lenet5_attention(seed=0)  # the package's network: we borrow its random start
c1.set_weights(start.get_layer("c1").get_weights())
features = np.asarray(c1(digit[None, :, :, None]))
print("feature map", features.shape)

with ma.figures.style():
    figure, axes = plt.subplots(1, 7, figsize=(8.3, 1.7), layout="constrained")
    figure.suptitle("Six random filters make six pictures of one digit", x=0.01, ha="left")
    axes[0].imshow(digit, cmap="gray")
    axes[0].set_title("digit")
    for k in range(6):
        axes[k + 1].imshow(features[0, :, :, k], cmap="gray", vmin=0, vmax=features.max())
        axes[k + 1].set_title(f"feature {k}")
    for axis in axes:
        axis.axis("off")
ma.figures.show(
    figure, None, "A digit, and the six pictures that six random filters make of it.", banner
)

# %% [markdown]
# The filters are random, not trained yet, and already pick out different edges of the stroke. A
# picture that stays dark belongs to a filter that fits nowhere on this digit.
#
# ## Write the mask
#
# The paper's module (its Figure 3) computes one score for each position, from the features *at that
# position alone*, and multiplies all of them by it:
#
# $$s = \sigma(w \cdot x + b), \qquad \text{output} = s\,x.$$
#
# "$w \cdot x + b$ at every position" is a convolution of size 1x1 with one filter. So the layer is
# short:


# %%
class Mask(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.score = keras.layers.Conv2D(1, 1, activation="sigmoid", name="score")

    def build(self, shape):
        self.score.build(shape)

    def call(self, x):
        return x * self.score(x)


# %% [markdown]
# Run it on a tensor of 2x2 positions with three features each, and check one place by hand, the
# lower left one:

# %%
keras.utils.set_random_seed(0)  # the same initial weights each time this page runs
x = np.arange(12, dtype="float32").reshape(1, 2, 2, 3) / 10
mask = Mask()
outputs, scores = np.asarray(mask(x)), np.asarray(mask.score(x))
print("input", x.shape, " scores", scores.shape, " output", outputs.shape)

w, b = mask.score.get_weights()
z = x[0, 1, 0] @ w[0, 0, :, 0] + b[0]
by_hand = 1 / (1 + np.exp(-z))
print(f"w . x + b = {z:.4f}, score by hand {by_hand:.4f}, by the layer {scores[0, 1, 0, 0]:.4f}")
assert np.allclose(outputs[0, 1, 0], by_hand * x[0, 1, 0])

# %% [markdown]
# The paper leaves open how many scores a position gets and what bounds them. We take one score and
# a sigmoid: then the layer is the *spatial squeeze-and-excitation* block of
# [Roy et al. (2018)](https://arxiv.org/abs/1803.02579).
#
# ## Write LeNet-5
#
# The whole network, with the masks or without them. Beside each line is the shape of its output.


# %%
def lenet(masked: bool) -> keras.Model:
    layers = keras.layers
    image = x = keras.Input((32, 32, 1))
    x = layers.Conv2D(6, 5, activation="relu", name="c1")(x)  # 28 x 28 x 6
    x = Mask(name="c1_attention")(x) if masked else x  # 28 x 28 x 6
    x = layers.MaxPooling2D(2, name="s2")(x)  # 14 x 14 x 6
    x = layers.Conv2D(16, 5, activation="relu", name="c3")(x)  # 10 x 10 x 16
    x = Mask(name="c3_attention")(x) if masked else x  # 10 x 10 x 16
    x = layers.MaxPooling2D(2, name="s4")(x)  # 5 x 5 x 16
    x = layers.Flatten()(x)  # 400
    x = layers.Dense(120, activation="relu", name="c5")(x)  # 120
    x = layers.Dense(84, activation="relu", name="f6")(x)  # 84
    x = layers.Dense(10, name="output")(x)  # 10 logits: one number a digit, before the softmax
    return keras.Model(image, x)


# %% [markdown]
# C is a convolution, S a down-sampling, F a dense layer; the numbers count the layers, as LeCun did
# (C5 is dense here). The masks cost 24 parameters: 6 weights and a bias after C1, 16 weights and a
# bias after C3.
#
# A fair comparison starts both networks alike. They get the package's initial weights for seed 0:
# the layers that both networks have get the same ones.

# %%
plain, masked = lenet(masked=False), lenet(masked=True)
print(f"LeNet-5 {plain.count_params():,} parameters, with masks {masked.count_params():,}")
plain.set_weights(ma.lenet5(seed=0).get_weights())
masked.set_weights(start.get_weights())
assert np.array_equal(plain.get_layer("c3").kernel, masked.get_layer("c3").kernel)

# %% [markdown]
# The whole of it as a picture (the paper's Figures 2 and 3), with a real digit going through:

# %%
names = ("c1", "c1_attention", "s2", "c3", "c3_attention", "s4", "c5", "f6", "output")
steps = keras.Model(start.input, [start.get_layer(name).output for name in names])
values = dict(zip(names, steps(digit[None, :, :, None]), strict=True))
maps = ma.attention_maps(start, dataset.test_images[:1])

# %% tags=["hide-input"]
shown = {name: np.asarray(value)[0] for name, value in values.items() if "attention" not in name}
masks = {name.removesuffix("_attention"): scores[0] for name, scores in maps.items()}
figure = ma.figures.network(digit, shown, masks, title="The mask is a side branch")
alt = "LeNet-5 with the feature maps of a digit; after C1 and C3 a mask multiplies them."
ma.figures.show(figure, "02_network", alt, banner)

# %% [markdown]
# The network is not trained yet: off the digit every score is one half. On it the C1 scores go down
# to a quarter, by chance of the initial weights; the C3 scores stay near one half.
#
# ## The loss by hand (Eq. 1)
#
# The paper prints $-\sum_i \hat{y}_i \log(y_i)$. What is meant is the cross entropy of targets $t$
# (one for the right digit, else zero) and predicted probabilities $p$: $-\sum_i t_i \log p_i$. For
# two digits:

# %%
two, labels = dataset.test_images[:2], dataset.test_labels[:2].astype(int)
logits = np.asarray(plain(ma.network_input(two)))
p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
by_hand = -np.log(p[[0, 1], labels])

cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
by_keras = np.asarray(cross_entropy(labels, logits))
assert np.allclose(by_hand, by_keras, rtol=1e-5)
print("by hand", by_hand, " by Keras", by_keras, f" log 10 = {np.log(10):.4f}")

# %% [markdown]
# Before training the loss is near $\log 10$: the network gives every digit about one tenth.
#
# ## Compile and fit
#
# The paper's protocol: SGD at rate 0.01, batches of 96, digits flipped with probability 1/2 and
# shifted ("jittered"). `epoch_plan` fixes what is random in an epoch, as in
# [notebook 1](01_look_at_the_data.ipynb): the order, the flips, the shifts. `ma.PAPER` holds these
# settings, with the masked network as its model; `replace` makes a copy in which some are changed.

# %%
protocol = replace(ma.PAPER, dataset=dataset.name, epochs=EPOCHS, seed=0)
train_images, train_labels = dataset.train_images, dataset.train_labels.astype("int32")


def augmented(epoch: int):
    plan = ma.epoch_plan(protocol, epoch, len(train_labels))
    images = np.pad(train_images, ((0, 0), (4, 4), (4, 4)))[plan.order]  # room for the shift
    images[plan.flip] = images[plan.flip, :, ::-1]
    crops = [
        image[2 - down : 34 - down, 2 - right : 34 - right]
        for image, (down, right) in zip(images, plan.shift, strict=True)
    ]
    return np.stack(crops)[..., None] / np.float32(255), train_labels[plan.order]


# %%
test_images = ma.network_input(dataset.test_images)
test = (test_images, dataset.test_labels.astype("int32"))
accuracy = {"without mask": [], "with mask": []}

for name, model in (("without mask", plain), ("with mask", masked)):
    model.compile(
        optimizer=keras.optimizers.SGD(0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    for epoch in range(EPOCHS):
        images, labels = augmented(epoch)
        logs = model.fit(
            images, labels, batch_size=96, shuffle=False, validation_data=test, verbose=0
        )
        accuracy[name].append(logs.history["val_accuracy"][0])

# %% [markdown]
# `shuffle=False`, because the plan has already shuffled: otherwise the two networks would see
# different orders. One `fit` an epoch, because each epoch has its own images. The test images are
# `validation_data` only to watch them: nothing is chosen by them. (To choose, hold back training
# images, as [notebook 3](03_sweep_hyperparameters.ipynb) does.)

# %%
colours = {"without mask": ma.figures.PLAIN, "with mask": ma.figures.MASK}
with ma.figures.style():
    figure, axis = plt.subplots(figsize=(8.3, 3.2), layout="constrained")
    figure.suptitle("The masked network starts late", x=0.01, ha="left")
    for (name, values), above in zip(accuracy.items(), (4, -10), strict=True):
        percent, colour = 100 * np.array(values), colours[name]
        axis.plot(range(1, EPOCHS + 1), percent, color=colour, marker="o")
        end, place = (EPOCHS, percent[-1]), {"xytext": (10, above), "textcoords": "offset points"}
        axis.annotate(name, end, color=colour, weight="bold", **place)
    axis.set(xlabel="epoch", ylabel="test accuracy, %", xlim=(0.5, 1.25 * EPOCHS))
    axis.set_xticks(range(1, EPOCHS + 1))
ma.figures.show(figure, None, "Test accuracy over epochs: with the mask it starts lower.", banner)

# %% [markdown]
# Why late? Before training the mean score is near one half, so a mask passes half of the signal,
# and two masks in a row a quarter:

# %%
for name, scores in ma.attention_maps(start, dataset.test_images[:500]).items():
    print(f"{name}: mean score before training {scores.mean():.2f}")

# %% [markdown]
# The gradients that come back through the masks shrink in the same way. Plain SGD needs a few
# epochs to make up for it.
#
# ## The package gives the same numbers
#
# From here on we use the package: `AttentionMask1x1` is the layer, `lenet5_attention` the network,
# `train` the loop, with progress, saved states and a record. First the proof that they do what
# you just wrote. The layer and the network, given your weights:

# %%
layer, network = ma.AttentionMask1x1(), ma.lenet5_attention()
layer.build(x.shape)
layer.set_weights(mask.get_weights())
network.set_weights(masked.get_weights())
assert np.allclose(layer(x), outputs, atol=1e-6)
assert np.allclose(network(test_images[:100]), masked(test_images[:100]), atol=1e-4)

# %% [markdown]
# And your training of the masked network, done again by `train` (on a GPU the last digits may
# differ):

# %%
record = ma.train(protocol, dataset=dataset, verbose=False)
yours, packages = accuracy["with mask"], record["history"]["test_accuracy"]
print("yours    ", [f"{value:.4f}" for value in yours])
print("package's", [f"{value:.4f}" for value in packages])
assert np.allclose(yours, packages, atol=0.005)

# %% [markdown]
# ## A hundred epochs
#
# The paper trains for 100 epochs. That takes minutes a run, and we want many runs, so they are on
# record: one JSON file each in `results/`, with every epoch's accuracy. `read_records` reads them
# all.

# %%
records = ma.evidence.read_records()
title = "The mask starts late; in the end seeds differ more than the two networks do"
figure = ma.figures.learning_curves(records, title=title)
alt = "Test accuracy over 100 epochs, a line a seed: with the mask lower at first, then as high."
ma.figures.show(figure, "02_learning_curves", alt)

# %% [markdown]
# A thin line is one run, a thick one the mean. The lead of plain LeNet shrinks until two seeds of
# one network differ by more.
#
# ## Why one run decides nothing
#
# The two networks of a seed start alike and see the same batches, so their difference is the
# mask's. `runs_of({"model": "lenet5"}, records)` picks the runs of the paper's protocol with this
# one change, a run for each seed. The differences of all seeds:

# %%
plain_runs = ma.evidence.runs_of({"model": "lenet5"}, records)
masked_runs = ma.evidence.runs_of({"model": "lenet5_attention"}, records)
gains = ma.evidence.differences(masked_runs, plain_runs)  # seed -> points of test accuracy
print("\n".join(f"seed {seed:2}: {gain:+.2f} points" for seed, gain in gains.items()))

figure = ma.figures.hero(records)
alt = "The paper's line from 97.7 to 99.3 per cent is steep; our pairs are flat."
ma.figures.show(figure, "hero", alt)

# %% [markdown]
# Had we trained one pair only (the paper reports one number for each network and no spread), luck
# would have decided: some seeds say that the mask helps, others that it hurts. All pairs together:

# %% tags=["hide-input"]
Markdown(ma.evidence.finding(records))

# %% [markdown]
# ## Table 1
#
# The paper's five systems, test accuracy in percent. A system that has not been trained for all 100
# epochs has no number here; [the report](../REPORT.md#table-1) says how far it is.

# %% tags=["hide-input"]
Markdown(ma.evidence.markdown(ma.evidence.systems5_table(records)))

# %% [markdown]
# ## The mistakes that both make
#
# A record keeps the class that the network gave to each test image. These images are misread by
# both networks of seed 0. Above each: its label, and the answer of the network with the mask.

# %% tags=["hide-input"]
wrong = [
    ma.evidence.predictions_of(runs.records[0]) != dataset.test_labels
    for runs in (plain_runs, masked_runs)
    if runs.records and not banner
]
both = np.flatnonzero(np.all(wrong, axis=0)) if len(wrong) == 2 else np.array([], int)
answers = ma.evidence.predictions_of(masked_runs.records[0]) if len(both) else []
captions = [f"{dataset.test_labels[i]}, read as {answers[i]}" for i in both[:30]]
title = f"Some of the {len(both)} digits that both networks misread"
figure = ma.figures.image_grid(dataset.test_images[both[:30]], captions, title=title)
ma.figures.show(
    figure, "02_mistakes", "Test images that both networks misread, with label and answer.", banner
)

# %% [markdown]
# Look at the 2s that are read as 5: the flip of the augmentation turns one into something like the
# other ([notebook 1](01_look_at_the_data.ipynb)).
#
# ## What you have learnt
#
# - The mask is a 1x1 convolution, a sigmoid and a product: ten lines and 24 parameters.
# - It slows the start, and no gain is found at the end.
# - The paper's +1.6 points are larger than anything that a change of seed, or the mask, does here
#   after 100 epochs.
#
# ## Exercises
#
# Each changes your training, so leave out the part "The package gives the same numbers".
#
# 1. Start both masks near one instead of one half: after `masked.set_weights(...)` write
#    `masked.get_layer("c1_attention").score.bias.assign([3.0])`, and the same for C3. Does the late
#    start go away?
# 2. Let each feature have a score of its own: in `build`, before `self.score.build(shape)`, write
#    `self.score = keras.layers.Conv2D(shape[-1], 1, activation="sigmoid", name="score")`. Leave
#    out the check by hand. Instead of `masked.set_weights(...)` copy what both networks have:
#    `for name in ("c1", "c3", "c5", "f6", "output"):
#    masked.get_layer(name).set_weights(plain.get_layer(name).get_weights())`. How many parameters
#    does that cost? (`AttentionMask1x1(mask_channels=None)` is the package's.)
# 3. Count the 2s and 5s that `plain` misreads (`plain.predict(test_images).argmax(axis=1)`). Then
#    set its initial weights again, remove the flip from `augmented`, train it, and count again.
#
# ## Further reading
#
# - LeCun, Bottou, Bengio, Haffner: *Gradient-based learning applied to document recognition*,
#   Proceedings of the IEEE 86(11), 1998.
# - Roy, Navab, Wachinger: *Concurrent Spatial and Channel Squeeze & Excitation in Fully
#   Convolutional Networks*, 2018, [arXiv:1803.02579](https://arxiv.org/abs/1803.02579).
#
# Next: [3. Sweep the hyperparameters](03_sweep_hyperparameters.ipynb).
