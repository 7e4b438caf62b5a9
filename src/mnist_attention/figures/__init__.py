"""Every figure: numbers or records in, Matplotlib `Figure` out. Imports no Keras and no pyplot.

`from mnist_attention import figures`. All take `title=`, the message. Grids, plots and figures of
records say so where there is nothing to draw yet. Figures are 8.3 inches wide; digits are white on
black; LeNet is grey, the mask blue, the paper orange (`figures.PLAIN`, `MASK`, `PAPER`).

Show: `show(figure, name, alt, banner="")`; `save(figure, name, banner="")`.

Images:
    image_grid(images, captions, masks=, ink=, columns=10): rows of digits and masks, or a gallery
    digit_as_numbers(image, corner, size): a digit, and a part of it as numbers
    local_binary_pattern(image, codes, centre, weights): the framed patch worked out
    product(features, scores): features times mask
    mask_along_row(image, scores, row): pixels and mask along one row
    enlargement(image, scores, enlarged, centres): the C3 mask laid over the image
    network(image, layers, masks): the network, the masks as side branches

Numbers:
    curves({panel: {name: Curve(x, y)}}, levels=, limits=, ticks=): lines named at their ends
    forest({panel: {row: estimate or values}}, paper=, join=): means with intervals
    heat_map({panel: table}, names, label=): correlations in coloured squares
    pairs(plain, masked, paper): a line a pair

Records (all `f(records, title=)`):
    hero, learning_curves, mask_minus_plain, paper_table(records, number), accuracy_over_steps,
    ablation_forest, interventions, controls, reinitialised, accuracy_over_strength,
    decibels_and_accuracy; redraw(records): those of README and REPORT
"""

# fmt: off
# ruff: noqa: I001
from .from_records import (
    ablation_forest, accuracy_over_steps, accuracy_over_strength, controls, decibels_and_accuracy,
    hero, interventions, learning_curves, mask_minus_plain, paper_table, redraw, reinitialised,
)
from .images import (
    digit_as_numbers, enlargement, image_grid, local_binary_pattern, mask_along_row, product,
)
from .network import network
from .plots import Curve, curves, forest, heat_map, pairs
from .style import MASK, PAPER, PLAIN, save, show, style, subplots

__all__ = [
    "MASK", "PAPER", "PLAIN", "Curve", "ablation_forest", "accuracy_over_steps",
    "accuracy_over_strength", "controls", "curves", "decibels_and_accuracy", "digit_as_numbers",
    "enlargement", "forest", "heat_map", "hero", "image_grid", "interventions", "learning_curves",
    "local_binary_pattern", "mask_along_row", "mask_minus_plain", "network", "pairs", "paper_table",
    "product", "redraw", "reinitialised", "save", "show", "style", "subplots",
]
