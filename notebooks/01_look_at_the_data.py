# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. Look at the data
#
# **The question.** A paper trains LeNet-5 with an attention mask on MNIST. What does the network
# get to see?
#
# **The answer.** 70,000 digits of 28x28 pixels, not 80,000 as the paper says; and half of all
# training digits mirrored, which turns a 5 into something like a 2 and leaves its label.
#
# **You will** read a digit as numbers, see what makes four sevens one class, write the paper's two
# augmentations, count what the flip does, and work out a local binary pattern by hand.
#
# **You need** Python and NumPy. Run time: about half a minute.

# %%
import mnist_attention as ma  # first: it keeps TensorFlow quiet
import keras
import numpy as np
from IPython.display import Markdown, display

# %% nbmake={"mock": {"DATASET": "uci"}} tags=["parameters"]
DATASET = "mnist"

# %%
dataset = ma.load_dataset(DATASET, fallback=True)
images, labels = dataset.train_images, dataset.train_labels

# %% tags=["hide-input"]
banner = dataset.banner  # empty for MNIST
if banner:
    display(Markdown(f"> **These are the {banner}.** The text below speaks of MNIST."))

# %% [markdown]
# ## One digit as numbers
#
# An image is a square of bytes: 0 is empty paper, 255 is full ink. We show ink white, as it is
# stored (the paper's Figure 4, lower half).

# %%
print(f"shape {images[0].shape}, type {images[0].dtype}, label {labels[0]}")
figure = ma.figures.digit_as_numbers(images[0], title="A digit is a square of numbers")
alt = "A digit, and a part of it written out as numbers from 0 to 255."
ma.figures.show(figure, "01_digit_as_numbers", alt, banner)

# %% [markdown]
# Most numbers are 0: a digit is a few bright strokes on a large empty square.
#
# ## How many are there?
#
# The paper writes of "80,000 handwriting digital examples", 60,000 to train and 20,000 to test.

# %%
for name, split in {"train": labels, "test": dataset.test_labels}.items():
    print(f"{name:5} {len(split):6,}  of each digit {np.bincount(split)}")

# %% [markdown]
# MNIST has 60,000 and 10,000. A test set of 20,000 does not exist. The paper's description of the
# data ("size-normalized and centered", "784 features") closely follows the notes of a well-known
# set of TensorFlow examples, whose text has 10,000 test images. So the text is weak evidence that
# the authors had 20,000, or that they used the vectors and the range from 0 to 1 that it also
# mentions.
#
# ## Each class
#
# The first ten training images of each digit (the paper's Figure 4, upper half):

# %%
rows = {str(digit): images[labels == digit][:10] for digit in range(10)}
figure = ma.figures.image_grid(
    rows, title="Slant and thickness differ; size and place hardly do", cell=0.8
)
alt = "Ten rows of handwritten digits, one row for each digit from 0 to 9."
ma.figures.show(figure, "01_samples", alt, banner)

# %% [markdown]
# Every digit has been scaled to the same box and centred; how it is written is up to the writer.
#
# ## Four sevens
#
# The paper finds that sevens differ so much that one hardly sees that they belong together. Sort
# all sevens by their distance from the average seven and take four, from typical to odd:

# %%
sevens = images[labels == 7] / 255
distance = np.linalg.norm(sevens - sevens.mean(axis=0), axis=(1, 2))
four = np.argsort(distance)[np.linspace(0, len(sevens) - 1, 4).astype(int)]
captions = [f"distance {distance[k]:.1f}" for k in four]

# %%
figure = ma.figures.image_grid(
    [sevens.mean(axis=0), *sevens[four]],
    ["the average seven", *captions],
    title="Four sevens, from typical to odd: far apart as pixels, one class",
    columns=5,
)
alt = "The average seven, and four sevens that differ more and more from it."
ma.figures.show(figure, "01_sevens", alt, banner)

# %% [markdown]
# A long hook, a round top, a thick pen: as pixels they are far apart. What makes them one class is
# the arrangement: a stroke to the right, then one down.
#
# ## What 784 numbers lose
#
# "Each image is flattened and transformed into a one-dimensional NUMPY array of 784 features." As
# a list, a digit is the same data in any order, as long as the order is the same for all digits:

# %%
order = np.random.default_rng(0).permutation(784)
shuffled = images[:5].reshape(-1, 784)[:, order].reshape(-1, 28, 28)
pairs = {"pixels in place": images[:5], "the same, reordered": shuffled}
figure = ma.figures.image_grid(pairs, title="The same 784 numbers, with and without neighbours")
alt = "Five digits, and the same five with their pixels reordered: noise to the eye."
ma.figures.show(figure, "01_shuffled", alt, banner)

# %% [markdown]
# A list does not know which pixels are neighbours. A convolution does, and a mask that says
# *where* to look needs places: both need the square.
#
# ## Write the flip
#
# The paper augments its training images by "horizontal flip, and image jittering". The flip is one
# line. Here is the first test image of each digit and its mirror image:

# %%
first = [np.flatnonzero(dataset.test_labels == digit)[0] for digit in range(10)]
stored = dataset.test_images[first]
mirrored = stored[:, :, ::-1]

# %%
rows = {"as stored": stored, "mirrored": mirrored}
figure = ma.figures.image_grid(rows, title="A mirrored 5 looks like a 2, and keeps its label")
alt = "Each digit and its mirror image: 0, 1 and 8 survive, the others do not."
ma.figures.show(figure, "01_mirrored", alt, banner)

# %% [markdown]
# To the eye 0, 1 and 8 survive, and a mirrored 5 is a 2. What does a network make of them? Ask one
# that has never seen a mirrored digit. We train LeNet-5 for one epoch on digits as they are. With
# momentum each step continues the last ones, so one epoch is enough; [notebook
# 2](02_train_lenet_with_attention.ipynb) explains the network and the loss.

# %%
keras.utils.set_random_seed(0)  # the same order of the images each time this page runs
prepare = ma.network_input  # 28x28 bytes -> 32x32 in [0, 1]
model = ma.lenet5(seed=0)
model.compile(
    optimizer=keras.optimizers.SGD(0.05, momentum=0.9),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
history = model.fit(prepare(images), labels, batch_size=96, epochs=1, verbose=0)

# %%
test_images, test_labels = dataset.test_images, dataset.test_labels
answers = {
    name: model.predict(prepare(digits), batch_size=500, verbose=0).argmax(axis=1)
    for name, digits in {"stored": test_images, "mirrored": test_images[:, :, ::-1]}.items()
}
for name, read in answers.items():
    print(f"{name:9} {np.mean(read == test_labels):.1%} read as their label")

# %%
for digit in range(10):
    counts = np.bincount(answers["mirrored"][test_labels == digit], minlength=10)
    shares = ", ".join(f"{d} ({counts[d] / counts.sum():.0%})" for d in np.argsort(-counts)[:3])
    print(f"a mirrored {digit} is read as {shares}")

# %% [markdown]
# Most mirrored digits are other digits to it: a 5 or a 6 is mostly a 2, a 3 or a 9 mostly an 8. So
# the augmentation teaches a network a second way to write most digits, and some of these second
# ways are how other digits are written. That costs accuracy: [the report](../REPORT.md) measures
# how much.
#
# ## Write the shift
#
# "Jittering" is not explained. We read it as a shift by up to two pixels in each direction: pad
# the digit with zeros, then cut out 32x32 pixels at another place.


# %%
def shift(image: np.ndarray, down: int, right: int) -> np.ndarray:
    padded = np.pad(image, 4)  # 28 + 8 = 36
    return padded[2 - down : 34 - down, 2 - right : 34 - right]


assert shift(images[0], 0, 0).shape == (32, 32)
assert (shift(images[0], 1, 0)[3:31, 2:30] == images[0]).all()

# %% [markdown]
# On this 32x32 canvas no pixel of the digit is lost.
#
# ## An epoch of the plan
#
# Which images are flipped, how far each is shifted, and in which order they come is sampled again
# in every epoch. `ma.PAPER` is a `Protocol`: all settings of a run, here the paper's and seed 0.
# `epoch_plan` gives the plan of one epoch: `order` has the numbers of the images, `flip` and
# `shift` what happens to each, in that order. So two networks can see exactly the same images:

# %%
size = len(images)
plans = [ma.epoch_plan(ma.PAPER, epoch, size) for epoch in range(10)]
print(f"epoch 0: first images {plans[0].order[:5]}, flipped {plans[0].flip.mean():.1%}")


# %%
def seen(number: int, plan) -> np.ndarray:
    row = np.flatnonzero(plan.order == number)[0]
    image = images[number][:, ::-1] if plan.flip[row] else images[number]
    return shift(image, *plan.shift[row])


figure = ma.figures.image_grid(
    [seen(0, plan) for plan in plans],
    [f"epoch {epoch}" for epoch in range(10)],
    title="One training image looks different from epoch to epoch",
)
alt = "The same digit ten times, moved by a pixel or two, some of them mirrored."
ma.figures.show(figure, "01_augmented", alt, banner)

# %% [markdown]
# In this way 60,000 images serve for 100 epochs.
#
# ## The local binary pattern by hand
#
# The paper's Figure 1 explains an older way to describe an image. A *local binary pattern* compares
# a pixel with its eight neighbours: at least as bright counts 1, darker counts 0. Its example is
# the pattern 11110001. We go clockwise from the upper left, with weights 1, 2, 4 to 128, so the
# first bit stands last in the binary number (the paper does not give the order), and look for that
# pattern in real digits.

# %%
WEIGHTS = np.array([[1, 2, 4], [128, 0, 8], [64, 32, 16]])


def pattern(image):
    padded = np.pad(image, 1)
    codes = np.zeros(image.shape, int)
    for down in range(3):
        for right in range(3):
            neighbour = padded[down : down + 28, right : right + 28]
            codes += WEIGHTS[down, right] * (neighbour >= image)
    return codes


codes = np.array([pattern(image) for image in images[:500]])


# %%
def greys(number, row, column):  # how many different greys the patch has
    return len(np.unique(np.pad(images[number], 1)[row : row + 3, column : column + 3]))


found = np.argwhere(codes == 0b11110001)
number, *centre = max(found, key=lambda place: greys(*place))
print(f"code {codes[number, centre[0], centre[1]]:08b} in image {number}, a {labels[number]}")

# %%
figure = ma.figures.local_binary_pattern(
    images[number], codes[number], tuple(centre), WEIGHTS, title="Eight comparisons make one number"
)
alt = "A digit with a framed patch of 3 by 3 pixels; its grey values, bits and code 11110001."
ma.figures.show(figure, "01_local_binary_pattern", alt, banner)

# %% [markdown]
# The code says on which side of a pixel the ink lies, and nothing of how strong it is. Empty paper
# has code 255, white in panel 5. Inside a stroke the grey is never quite even, so codes vary there.
#
# ## What the paper says, and what is there
#
# | the paper | the data |
# | --- | --- |
# | 80,000 images, 20,000 of them for testing | 70,000, of which 10,000 |
# | vectors of 784 numbers | squares of 28x28; LeNet-5 needs the square |
# | values from 0 to 1 | bytes from 0 to 255; we divide |
# | "horizontal flip" | a network that has not seen mirrored digits misreads two thirds of them |
# | "image jittering" | not explained; a shift here |
#
# And where each item of the paper is:
#
# | item | here |
# | --- | --- |
# | Section 1, handcrafted features | the pattern above; measured in [the report](../REPORT.md) |
# | Section 1, sparse representation | measured in [the report](../REPORT.md) |
# | Section 1, deep networks | [notebook 2](02_train_lenet_with_attention.ipynb) |
# | Figure 1, local binary pattern | this page |
# | Figure 2, the network; Figure 3, the mask | [notebook 2](02_train_lenet_with_attention.ipynb) |
# | Figure 4, the data | this page |
# | Eq. 1, the loss; Table 1, five systems | [notebook 2](02_train_lenet_with_attention.ipynb) |
# | Tables 2, 3 and 4 | [notebook 3](03_sweep_hyperparameters.ipynb) |
#
# ## Exercises
#
# 1. Flip top to bottom instead (`images[:, ::-1]`). Which digits survive? Where does a 6 go?
# 2. Train the network above again, with every second training image mirrored (copy the images, then
#    change `copy[::2]`). How well does it read stored digits now, and mirrored ones?
# 3. Compare the codes with `skimage.feature.local_binary_pattern(image, P=8, R=1)`. It takes its
#    neighbours on a circle, in another order: which four bits must still agree?
#
# ## Further reading
#
# - Yadav, Bottou: *Cold case: the lost MNIST digits*, 2019,
#   [arXiv:1905.10498](https://arxiv.org/abs/1905.10498): how MNIST was made.
# - Ojala, Pietikäinen, Mäenpää: *Multiresolution gray-scale and rotation invariant texture
#   classification with local binary patterns*, IEEE TPAMI 24(7), 2002.
#
# Next: [2. Train LeNet with attention](02_train_lenet_with_attention.ipynb).
