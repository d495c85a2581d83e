"""Figures are as wide as asked, no text lies on another or is small, and captions count what the statistics do."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.text import Text
from run_folder import Clock, Folder, write

from analysis import command, pipeline, registry
from analysis.figures import drawing, labels, style
from analysis.figures.sheet import Panel, Sheet
from analysis.simulation.simulate import simulate
from analysis.stats import histogram, thinning

SILENT = Folder({"a": Clock(ct_gone="never_sampled")}, coordinator=Clock(ct_gone="never_sampled"), truth=False)
RUNS = {
    "overconfident": lambda results: simulate("overconfident", 3, 120, results=results),
    "many workers": lambda results: simulate("honest", 9, 40, results=results),
    "one worker, no truth, no ChronoTick": lambda results: write(SILENT, results / "r"),
}


@pytest.fixture(scope="module", params=RUNS)
def sheets(request, tmp_path_factory):
    results = registry.compute(command.table_of(RUNS[request.param](tmp_path_factory.mktemp("results"))))
    return {name: draw() for name, draw in pipeline._drawings(results).items()}, results


def _drawn_texts(figure):
    """Return the texts that are drawn: an axis keeps labels outside its limits, and draws them not."""
    drawn = []

    def noted(text, renderer):
        if text.get_visible() and text.get_text().strip():
            drawn.append(text)
        draw(text, renderer)

    draw = Text.draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", noted)
        figure.canvas.draw()
    return drawn


@pytest.mark.parametrize("width_in", [style.COLUMN_IN, style.PAGE_IN])
def test_no_text_lies_on_another_is_small_or_is_cut_off(sheets, width_in):
    drawn, _ = sheets
    for name, sheet in drawn.items():
        if not sheet.drawn:
            continue
        figure = sheet.figure(width_in)
        assert figure.get_figwidth() == width_in
        texts = _drawn_texts(figure)
        assert min(text.get_fontsize() for text in texts) >= 7, name
        boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
        boxes = [(words, box) for words, box in boxes if np.isfinite(box.extents).all()]
        for words, box in boxes:
            assert box.x0 >= -1, (name, words)
            assert box.x1 <= figure.bbox.x1 + 1, (name, words)
        for (words, box), (others, other) in combinations(boxes, 2):
            assert not box.padded(-1).overlaps(other.padded(-1)), (name, words, others)


def _figures(sheets, width_in):
    """Yield the name and the figure of every sheet that has something to draw, drawn."""
    for name, sheet in sheets.items():
        if sheet.drawn:
            figure = sheet.figure(width_in)
            figure.canvas.draw()
            yield name, figure


@pytest.mark.parametrize("width_in", [style.COLUMN_IN, style.PAGE_IN])
def test_a_curves_name_lies_on_no_axis_and_no_other_curve(sheets, width_in):
    for name, figure in _figures(sheets[0], width_in):
        for axes in figure.axes:
            box = axes.get_window_extent()
            curves = [line for line in axes.lines if str(line.get_gid()).startswith(labels.ALONG)]
            names = {labels._name(line) for line in curves}
            key = axes.get_legend()
            places = [(text.get_text(), text.get_window_extent()) for text in axes.texts if text.get_text() in names]
            places += [("key", key.get_window_extent())] if key and curves else []
            assert bool(places) == bool(curves), name
            for words, place in places:
                assert place.x0 >= box.x0 + 2, (name, words)
                assert place.y0 >= box.y0 + 2, (name, words)
                for line in curves:
                    points = labels._course(line, box)
                    assert place.padded(-1).count_contains(points) == 0, (name, words, line.get_gid())


@pytest.mark.parametrize("width_in", [style.COLUMN_IN, style.PAGE_IN])
def test_titles_of_panels_beside_each_other_begin_at_one_height(sheets, width_in):
    for name, figure in _figures(sheets[0], width_in):
        tops: dict[int, list[float]] = {}
        for axes in figure.axes:
            if axes.get_title(loc="left"):
                top_px = axes._left_title.get_window_extent().y1
                tops.setdefault(round(axes.get_window_extent().y0 / 10), []).append(top_px)
        for row in tops.values():
            assert max(row) - min(row) < 0.02 * style.DPI, name


def test_captions_count_what_the_statistics_count(sheets):
    drawn, results = sheets
    statistics = results.as_statistics()
    for source, of_source in statistics["causality"]["sources"].items():
        violated = of_source["all"]["points"]["violated"]
        if violated["denominator"]:
            caption = drawn["causality_violations"].caption
            workers = of_source["workers"].values()
            counts = [worker["points"]["violated"] for worker in workers if len(of_source["workers"]) <= 5] or [
                violated
            ]
            for count in counts:
                assert f"violated {count['numerator']}/{count['denominator']}" in caption, source


def test_a_figure_without_data_is_not_written_and_says_why(tmp_path):
    (tmp_path / "nothing.png").write_bytes(b"of an earlier analysis")
    sheet = Sheet("Nothing", (Panel("Panel", "no clock was asked"),))
    assert drawing.write(sheet, tmp_path, "nothing", style.PAGE_IN) == ([], "")
    assert list(tmp_path.iterdir()) == []
    assert sheet.caption == "Nothing: no figure. Panel: no clock was asked."
    with pytest.raises(ValueError, match="expected a panel to draw"):
        sheet.figure(style.PAGE_IN)


def test_parts_thinned_by_themselves_give_the_points_of_the_whole():
    generator = np.random.default_rng(1)
    position, wrong = np.arange(50_000), generator.random(50_000) < 0.1
    whole = position[thinning.chosen(position, wrong)]
    parts = [part[thinning.chosen(part, wrong[part])] for part in np.array_split(position, 7)]
    kept = np.concatenate(parts)
    assert np.array_equal(kept[thinning.chosen(kept, wrong[kept])], whole)
    assert len(whole) == thinning.MOST_POINTS
    assert wrong[whole].sum() == thinning.MOST_POINTS // 2


def test_few_contradictions_are_all_kept():
    position = np.arange(100_000)
    wrong = np.isin(position, [3, 77_777, 99_999])
    assert {3, 77_777, 99_999} <= set(thinning.chosen(position, wrong).tolist())


def test_histograms_of_parts_add_up_and_no_value_is_above_its_step():
    values = np.random.default_rng(2).lognormal(2.0, 3.0, 10_000)
    whole = histogram.histogram(values)
    assert ((histogram.histogram(values[:3000]) + histogram.histogram(values[3000:])).counts == whole.counts).all()
    ends, shares = whole.at_most()
    assert shares[-1] == 1.0
    assert (np.abs(shares - [(values <= end * (1 + 1e-9)).mean() for end in ends]) < 1e-3).all()
