"""The figures show the numbers they are given, whatever the classes are called."""

from __future__ import annotations

import base64
import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from pycroclass.evaluation import Predictions, evaluation_of
from pycroclass.reporting import figures
from pycroclass.reporting.figures import Row
from pycroclass.reporting.style import data_url, svg

ODD_NAMES = ("<b>$x_1$&</b>", "結晶", r"a\frac{", "x" * 80)


def texts(figure: object) -> list[str]:
    """All that is written in a figure, as a browser would find it."""
    return [(element.text or "").strip() for element in ET.fromstring(svg(figure)).iter("{http://www.w3.org/2000/svg}text")]


def test_confusion_writes_shares_of_rows_and_counts() -> None:
    figure = figures.confusion(np.array([[3, 1, 0], [0, 0, 0]]), ("a", "b"), ("a", "b", "uncertain"))
    assert [text.get_text() for text in figure.axes[0].texts] == ["75%", "3", "25%", "1", *["0%", "0"] * 4]
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[0.75, 0.25, 0], [0, 0, 0]])


def test_a_share_is_all_or_none_only_where_it_is() -> None:
    figure = figures.confusion(np.array([[999, 1], [0, 7]]), ("a", "b"), ("a", "b"))
    assert [text.get_text() for text in figure.axes[0].texts] == [">99%", "999", "<1%", "1", "0%", "0", "100%", "7"]


@pytest.mark.parametrize(("k", "n_texts"), [(2, 8), (9, 81), (45, 0)])
def test_confusion_of_many_classes_leaves_out_what_has_no_room(k: int, n_texts: int) -> None:
    names = [f"class {i}" for i in range(k)]
    (axes,) = figures.confusion(np.eye(k, dtype=int), names, names).axes
    assert len(axes.get_yticklabels()) == min(k, 23)
    assert len(axes.texts) == n_texts


def test_odd_names_are_written_as_they_are() -> None:
    k = len(ODD_NAMES)
    labels = np.arange(40) % k
    probability = np.full((40, k), 0.1 / (k - 1))
    probability[np.arange(40), labels] = 0.9
    is_class = labels[:, None] == np.arange(k)
    for figure in (
        figures.confusion(np.eye(k, dtype=int), ODD_NAMES, ODD_NAMES),
        figures.roc(is_class, probability, ODD_NAMES),
        figures.precision_recall(is_class, probability, ODD_NAMES),
        figures.intervals([Row(name, 0.5, 0.4, 0.6) for name in ODD_NAMES], "score"),
    ):
        written = " ".join(texts(figure))
        assert "<b>$x_1$&</b>" in written
        assert "結晶" in written
        assert "x" * 80 not in written  # it would leave no room for the figure
        assert "xxxxxxxxxxx…" in written


def test_a_thinned_curve_stays_within_a_three_hundredth_of_the_whole_one() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(20000) < 0.3
    x, y, _ = roc_curve(truth, rng.normal(truth, 1.0), drop_intermediate=False)
    few_x, few_y = figures._thinned(x, y)
    assert len(few_x) <= 300
    assert (few_x[0], few_y[0], few_x[-1], few_y[-1]) == (0, 0, 1, 1)
    assert np.abs(np.interp(x, few_x, few_y) - y).max() < 2 / 300 + 0.004


def test_classes_without_items_have_no_curve() -> None:
    is_class = np.zeros((4, 3), bool)
    is_class[[0, 1], 0] = is_class[[2, 3], 1] = True
    figure = figures.roc(is_class, np.eye(3)[[0, 0, 1, 1]], ("a", "b", "nothing"))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a  AUC 1", "b  AUC 1"]


def test_reliability_shows_every_bin_that_has_items() -> None:
    seen = Predictions([[0.8, 0.2], [0.8, 0.2], [0.1, 0.9], [0.45, 0.55]], [0, 1, 1, 0], ("miss", "hit"))
    figure = figures.reliability(evaluation_of(seen, n_bootstrap=0).calibration)
    above, below = figure.axes
    mean, share = above.containers[0].lines[0].get_data()
    assert dict(zip(np.round(mean, 2).tolist(), share.tolist(), strict=True)) == {0.55: 0, 0.8: 0.5, 0.9: 1}
    assert sum(bar.get_height() for bar in below.patches) == 4


def test_wilson_interval_is_that_of_the_textbook() -> None:
    """Newcombe, Stat. Med. 17, 857 (1998), table I: 81 of 263 and 0 of 20, method 3."""
    below, above = figures._wilson(np.array([81 / 263, 0.0]), np.array([263, 20]))
    np.testing.assert_allclose([81 / 263 - below[0], 81 / 263 + above[0], above[1]], [0.2553, 0.3662, 0.1611], atol=5e-5)


def test_intervals_mark_the_main_row_and_the_reference() -> None:
    figure = figures.intervals([Row("pooled", 0.9, 0.8, 0.95, is_main=True), Row("run 2", 0.4)], "accuracy", reference=0.9)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["pooled", "run 2"]
    assert [label.get_fontweight() for label in axes.get_yticklabels()] == ["bold", "normal"]
    low, high = axes.get_xlim()
    assert low < 0.4 < 0.95 < high
    (axes,) = figures.intervals([Row("network", 0.9)], "accuracy", reference=1 / 3).axes
    assert axes.get_xlim()[0] < 1 / 3
    figures.intervals([Row("nothing", math.nan)], "accuracy")


def test_learning_marks_the_epoch_that_was_kept_and_takes_what_there_is() -> None:
    history = [{"epoch": i, "training_loss": 1 / i, "balanced_accuracy": 0.5, "learning_rate": 0.1} for i in range(1, 5)]
    above, below = figures.learning(history, kept=3).axes
    assert [line.get_label() for line in above.get_lines()][:1] == ["training"]
    assert [list(line.get_xdata()) for line in above.get_lines()][1:] == [[3, 3]]
    assert [line.get_label() for line in below.get_lines()][:1] == ["balanced accuracy"]
    figures.learning([])


def test_filters_stand_side_by_side_on_a_scale_of_their_own() -> None:
    weights = np.zeros((5, 1, 3, 3))
    weights[0, 0, 1, 1], weights[1, 0, 0, 0] = 2.0, -0.01
    sheet = figures.filters(weights)
    assert sheet.shape[2] == 3
    tile = sheet[4:16, 4:16]  # the first filter, four pixels each, behind a white line
    assert (tile[0, 0] == 255).all()
    red, green, blue = tile[5, 5].astype(int)
    assert red > green + 100
    assert red > blue + 100
    red, green, blue = sheet[4:16, 20:32][1, 1].astype(int)
    assert blue > red + 100
    assert figures.filters(np.random.default_rng(0).normal(size=(64, 3, 7, 7))).shape[2] == 3


def test_equal_figures_give_equal_text_that_holds_no_address() -> None:
    def draw() -> str:
        return svg(figures.confusion(np.eye(2, dtype=int), ("a", "b"), ("a", "b")))

    first = draw()
    assert first == draw()
    assert "system-ui" in first
    assert "DejaVu Sans', 'Bitstream" not in first
    assert base64.b64decode(data_url(first).partition(",")[2]).decode() == first
