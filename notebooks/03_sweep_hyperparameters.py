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
# # 3. Sweep the hyperparameters
#
# The paper varies the learning rate, the batch size and the number of epochs of LeNet with the
# mask, one at a time (its Tables 2, 3 and 4). It names no number of runs, and no spread.
#
# **You will** see those three tables, ours beside the paper's, as far as runs are on record; then
# sweep the learning rate yourself on a small data set.
#
# **You will learn** what one run per setting can and cannot tell, and why a learning rate, a batch
# size and a number of epochs are never good or bad on their own.
#
# **You need** notebook 2, or an idea of what training is. Run time: about a minute.

# %%
from dataclasses import replace

import pandas as pd
from IPython.display import Markdown

from mnist_attention import PAPER, figures, load_dataset, train
from mnist_attention.data import TRAIN_SIZE, epoch_plan
from mnist_attention.evidence import report
from mnist_attention.evidence import runs as evidence
from mnist_attention.evidence.claims import verdict
from mnist_attention.figures import effects, tables, training
from mnist_attention.records import read_records
from mnist_attention.storage.paths import RESULTS

# %% tags=["parameters"] nbmake={"mock": {"EPOCHS": 2, "SEEDS": 1}}
EPOCHS = 20
SEEDS = 3

# %% [markdown]
# ## The records
#
# Nothing in the next four sections is trained here: a record is one finished run, and `results/`
# keeps them all. A setting without a record is shown as missing.

# %%
records, problems = read_records(RESULTS)
print(f"{len(records)} records", *problems, sep="\n")

# %% [markdown]
# ## Table 2: the learning rate
#
# Ours is the mean over n seeds and half the width of its 95 % interval.

# %%
Markdown(report.markdown(report.paper_table(records, 2)))

# %%
alt = "Training and test accuracy at learning rates 0.1, 0.01 and 0.001, the paper's and ours."
figures.show(tables.table(tables.points(records, 2), "learning rate"), "03_table2", alt)

# %% [markdown]
# Hollow points are the paper's numbers, filled ones ours; the bar is the 95 % interval of our mean.
# The axis is stretched towards 100 %. What the records say of the paper's claim:


# %%
def judge(claim: str) -> Markdown:
    """What the paper claims, and the verdict of the records."""
    judged = verdict(claim, records)
    return Markdown(f"**{claim}** {judged.text}. **{judged.verdict}**: {judged.sentence}.")


judge("C6")

# %% [markdown]
# A paired difference is that of the seeds that both settings have, so it need not equal the
# difference of the two means in the table.
#
# Two remarks on the paper's text. The paragraph on the learning rate cites Table 3; its numbers are
# those of Table 2. And it chooses the rate by the *test* accuracy ("the test result is 99.3%, which
# is the best accuracy. Therefore, we choose"): the chosen number is then no longer a measurement of
# unseen images. We report the test accuracy of every setting and choose nothing by it.
#
# ## Table 3: the batch size

# %%
Markdown(report.markdown(report.paper_table(records, 3)))

# %%
alt = "Training accuracy at batch sizes 48, 64, 96, 128 and 256, the paper's and ours."
figures.show(tables.table(tables.points(records, 3), "batch size"), "03_table3", alt)

# %%
judge("C7")

# %% [markdown]
# The paper's Table 3 has no test column, so it cannot tell a better network from an overfitted one;
# ours has. At a fixed number of epochs a larger batch also means *fewer steps*:

# %%
steps = {size: -(-TRAIN_SIZE["mnist"] // size) for size in (48, 64, 96, 128, 256)}
sizes = pd.DataFrame(steps.items(), columns=["batch size", "steps per epoch"])
sizes.assign(**{f"steps in {PAPER.epochs} epochs": PAPER.epochs * sizes["steps per epoch"]})

# %% [markdown]
# With plain SGD at one rate the smallest batch takes the most steps and travels the farthest. One
# would expect it to fit the training images *best*, and in our runs it does. The paper reports the
# opposite.
#
# ## Table 4: the number of epochs

# %%
Markdown(report.markdown(report.paper_table(records, 4)))

# %%
alt = "Training and test accuracy after 50, 100 and 150 epochs, the paper's and ours."
figures.show(tables.table(tables.points(records, 4), "epochs"), "03_table4", alt)

# %%
judge("C8")

# %% [markdown]
# A slip again: the paragraph says "batch size is set to 100" where it means the number of epochs.
#
# With a constant learning rate, and with everything random fixed by seed and epoch, a run of 50
# epochs *is* the first half of a run of 100: the three rows of Table 4 are three points of one
# trajectory. If the records hold a pair, their histories must agree to the last digit:


# %%
def losses(epochs: int) -> dict[int, list[float]]:
    """Seed -> training loss of each epoch, of the runs of that length."""
    runs = evidence.runs_of({"epochs": epochs}, records)
    return {run["protocol"]["seed"]: run["history"]["loss"] for run in runs.records}


# %%
for short, long in ((50, 100), (100, 150)):
    first, whole = losses(short), losses(long)
    for seed in sorted(first.keys() & whole.keys()):
        same = first[seed] == whole[seed][:short]
        print(f"seed {seed}: {short} epochs are the beginning of {long}: {same}")

# %% [markdown]
# ## Which protocol would give the paper's numbers?
#
# Some of the paper's numbers are odd for the protocol that it states: LeNet well below what others
# report, a collapse at a rate of 0.1 and another at 0.001, and 93.4 % after 50 epochs where 100
# give 99.3 %. It does not say which units and which pooling its LeNet has, or how weights start. So
# we tried four readings in the manner of 1998, with average pooling, and one that is ours without
# the mirrored digits, which the paper's text asks for. Which comes nearest to these five numbers at
# once?
#
# They were trained for 20 epochs, which stand in for 100; their first 10 epochs then stand in for
# 50. Our own reading is shown at both lengths. A reading without three seeds of every row would not
# be shown.

# %%
Markdown(report.nearest_text(records))

# %%
alt = "One row a protocol: five accuracies of ours as dots, the paper's as vertical lines."
figures.show(effects.nearest_protocols(records), "03_nearest_protocols", alt)

# %% [markdown]
# "Errors off by" is the factor between our error rates and the paper's, up or down, on geometric
# average (in brackets: of the single seeds); 1 would be a match. An accuracy of 11.35 % is the same
# answer to every image: sigmoid units and small initial weights make the first steps so small that
# at the paper's rate 20 epochs are too few to begin. Without mirrored digits everything is learnt
# sooner, LeNet without a mask too. Notebook 5 follows each of these three for all 100 epochs. A
# protocol that is near explains nothing by itself: it is chosen by the very numbers that it should
# explain.
#
# ## Seed and order
#
# What the paper calls *the* accuracy of a setting seems to be that of one run. Another run starts
# from other weights, and sees the images in another order, mirrored and shifted otherwise. Here one
# number, the seed, fixes all of that:

# %%
plans = {
    f"seed {seed}, epoch {epoch}": epoch_plan(replace(PAPER, seed=seed), epoch).order[:8]
    for seed, epoch in ((0, 0), (0, 1), (1, 0))
}
pd.DataFrame.from_dict(plans, orient="index").rename_axis(columns="the first images, by number")

# %% [markdown]
# The order must change from epoch to epoch, which is easy to get wrong: with Keras 3.15.1 on
# TensorFlow, after `keras.utils.set_random_seed`, `fit(shuffle=True)` on arrays repeats one order
# in every epoch. Owning the order as data makes it visible, and testable.
#
# ## A small sweep, live
#
# Three learning rates, a few seeds each, on the small digits that ship with scikit-learn, enlarged.
# **These are not MNIST**, and the numbers below belong to no table of the paper; they are here
# because you can make them in a minute.

# %%
RATES = (0.3, 0.1, 0.01)
digits = load_dataset("uci")
base = replace(PAPER, dataset="uci", epochs=EPOCHS)

# %%
sweep = {
    f"rate {rate}": [
        train(replace(base, learning_rate=rate, seed=seed), dataset=digits, verbose=False)
        for seed in range(SEEDS)
    ]
    for rate in RATES
}

# %%
curves = {name: [run["history"] for run in runs] for name, runs in sweep.items()}
alt = "Loss and accuracies over the epochs for three learning rates; bands over the seeds."
figures.show(training.learning_curves(curves), None, alt, digits.banner)

# %% [markdown]
# Lines are means, bands the range over the seeds. Look at how wide a band is before you believe in
# the distance between two lines.

# %%
ended = {
    name: {f"seed {run['protocol']['seed']}": run["result"]["test_accuracy"] for run in runs}
    for name, runs in sweep.items()
}
pd.DataFrame(ended).T.map("{:.1%}".format).rename_axis("test accuracy")

# %%
steps = EPOCHS * -(-TRAIN_SIZE["uci"] // base.batch_size)
full = PAPER.epochs * -(-TRAIN_SIZE["mnist"] // PAPER.batch_size)
Markdown(
    f"Each of these runs took **{steps:,} steps**; the paper's protocol on MNIST takes "
    f"{full:,}. A rate that has not left the start here may be fine there: a learning rate is "
    "good *for a number of steps*, and a table of rates at one length says nothing about another."
)

# %% [markdown]
# Last, the prefix property of Table 4, live: a shorter run with the same seed.

# %%
whole = sweep["rate 0.1"][0]["history"]["loss"]
first_half = replace(base, learning_rate=0.1, epochs=EPOCHS // 2)
half = train(first_half, dataset=digits, verbose=False)
print("the shorter run is its beginning:", half["history"]["loss"] == whole[: EPOCHS // 2])

# %% [markdown]
# ## On your own
#
# - Extend `RATES` upwards until a run diverges. What does its record say?
# - Vary `batch_size` at a fixed number of *steps* instead of epochs. Does the ranking change?
# - `mnist-attention train --batch-size 32` trains a batch size that no table has (most of an hour
#   on one core). Is it better still, as its number of steps suggests?
# - How many seeds would you need to tell two batch sizes apart whose accuracies differ by 0.05
#   points? `mnist_attention.evidence.statistics.detectable_difference` knows.
#
# ## Further reading
#
# - Bouthillier et al.: *Accounting for Variance in Machine Learning Benchmarks*, 2021,
#   [arXiv:2103.03098](https://arxiv.org/abs/2103.03098).
# - Goyal et al.: *Accurate, Large Minibatch SGD*, 2017,
#   [arXiv:1706.02677](https://arxiv.org/abs/1706.02677), on rate and batch size together.
# - Shallue et al.: *Measuring the Effects of Data Parallelism on Neural Network Training*, 2018,
#   [arXiv:1811.03600](https://arxiv.org/abs/1811.03600), on batch size and number of steps.
#
# Next: [4. See the attention](04_see_the_attention.ipynb).
