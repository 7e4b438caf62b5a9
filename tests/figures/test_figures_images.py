"""Pictures of digits, masks and the network: what they show, full and empty."""

import numpy as np
import pytest
from matplotlib.contour import QuadContourSet

from mnist_attention import figures

WEIGHTS = np.array([[1, 2, 4], [128, 0, 8], [64, 32, 16]])
FEATURES = np.linspace(0, 3, 28 * 28 * 6).reshape(28, 28, 6)
TIMES = "\N{MULTIPLICATION SIGN}"


def texts(figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def test_the_grid_shows_rows_of_digits_and_masks_on_fixed_scales(uci):
    digits = uci.test_images[:3]
    masks = np.full((3, 28, 28), 0.25)
    figure = figures.image_grid(
        {"image": digits, "mask": masks}, ["a", "b", "c"], masks=["mask"], ink=digits
    )
    images = figure.axes[0].images
    assert [image.get_clim() for image in images] == [(0, 255)] * 3 + [(0, 1)] * 3
    np.testing.assert_array_equal([image.get_array() for image in images], [*digits, *masks])
    assert {"image", "mask", "a", "b", "c"} <= {*texts(figure)}
    outlines = [c for c in figure.axes[0].collections if isinstance(c, QuadContourSet)]
    assert (len(outlines), len(figure.axes)) == (3, 2)  # the second axes are the colour bar


def test_digits_are_white_on_black(uci):
    image = figures.image_grid(uci.test_images[:1]).axes[0].images[0]
    assert [image.cmap(end)[0] for end in (0.0, 1.0)] == [0, 1]


def test_a_gallery_is_wrapped_with_a_caption_each(uci):
    figure = figures.image_grid(uci.test_images[:5], [*"vwxyz"], columns=2, title="A message")
    extents = np.array([image.get_extent() for image in figure.axes[0].images])
    assert [len(np.unique(extents[:, side])) for side in (0, 3)] == [2, 3]
    assert {*"vwxyz"} <= {*texts(figure)}
    assert figure.texts[0].get_text() == "A message"


@pytest.mark.parametrize("nothing", [{}, [], {"none misread": []}])
def test_an_empty_grid_says_so(nothing):
    assert texts(figures.image_grid(nothing)) == ["nothing to show yet"]


def test_numbers_are_those_of_the_framed_part(uci):
    image = uci.test_images[0]
    figure = figures.digit_as_numbers(image, (4, 8), 3)
    assert texts(figure) == [str(value) for value in image[4:7, 8:11].flat]
    assert figure.axes[0].patches[0].get_xy() == (7.5, 3.5)


def codes_of(image: np.ndarray) -> np.ndarray:
    patches = np.lib.stride_tricks.sliding_window_view(np.pad(image, 1), (3, 3))
    return ((patches >= patches[..., 1:2, 1:2]) * WEIGHTS).sum(axis=(-2, -1))


def test_the_worked_pattern_is_the_framed_patch():
    image = np.zeros((28, 28), np.uint8)
    image[9:12, 4:7] = [[248, 13, 0], [235, 192, 172], [251, 252, 254]]
    figure = figures.local_binary_pattern(image, codes_of(image), (10, 5), WEIGHTS)
    assert figure.get_supxlabel() == "1 + 16 + 32 + 64 + 128 = 241, in binary 11110001"
    assert texts(figure)[:9] == ["248", "13", "0", "235", "192", "172", "251", "252", "254"]
    assert figure.axes[0].patches[0].get_xy() == (3.5, 8.5)
    with pytest.raises(ValueError, match="Expected codes made with these weights, 241"):
        figures.local_binary_pattern(image, codes_of(image)[::-1], (10, 5), WEIGHTS)


def test_the_product_is_features_times_mask():
    scores = np.linspace(0, 1, 28 * 28).reshape(28, 28, 1)
    shown = [image.get_array() for image in figures.product(FEATURES, scores).axes[0].images]
    features, mask, product = np.split(np.array(shown), 3)
    np.testing.assert_allclose(mask, np.broadcast_to(scores[..., 0], (6, 28, 28)))
    np.testing.assert_allclose(features * mask, product)


def test_pixels_and_mask_along_a_row(uci):
    image, scores = uci.test_images[0], np.linspace(0, 1, 784).reshape(28, 28)
    panel = figures.mask_along_row(image, scores, 14).axes[2]
    ink, mask = (line.get_ydata() for line in panel.lines)
    np.testing.assert_allclose([ink, mask], [image[14] / 255, scores[14]])


def test_enlargement_marks_where_each_place_looks(uci):
    maps, centres = np.eye(10), 2 * np.arange(10) + 4.5
    figure = figures.enlargement(uci.test_images[0], maps, np.zeros((28, 28)), centres)
    assert sum(line.get_xdata().size for line in figure.axes[0].lines) == 100


def test_the_network_has_a_side_branch_for_each_mask(uci):
    layers = {"C1": np.ones((28, 28, 6)), "S2": np.ones((14, 14, 6)), "F6": np.zeros(84)}
    masks = {"C1": np.full((28, 28, 1), 0.5)}
    axis = figures.network(uci.test_images[0], layers, masks).axes[0]
    written = [text.get_text().replace(TIMES, "x") for text in axis.texts]
    for name in ("digit\n28x28", "C1\n28x28x6", "S2\n14x14x6", "F6\n84", "mask", "x"):
        assert written.count(name) == 1, name
    assert len(axis.images) == 1 + 6 + 1 + 6 + 1  # digit, C1, mask, S2, F6
    assert len(figures.network(uci.test_images[0], layers, {}).axes[0].images) == 14
