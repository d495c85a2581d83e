"""What a page promises whoever opens it: no request, no error, and everything by pointer, by keyboard and by ear."""

from __future__ import annotations

import base64
import json
import re
import shutil

import numpy as np
import pytest

from analysis import pipeline
from analysis.figures import style, vector
from analysis.report.page import shell
from node_agent.contract import records

TRACES = "document.getElementById('readings-plot').data.map((trace) => trace.name)"
RANGE = "document.getElementById('readings-plot').layout.xaxis.range.map(Number)"
MARKUP = "<img src=x onerror=\"document.title='hit'\">"


def verdict(page):
    return page.locator("#verdict-of-event").inner_text()


def test_it_loads_without_a_request_and_without_an_error(opened, run):
    assert opened.requests[0] == (run / records.PAGE_FILE).as_uri()
    assert [url for url in opened.requests[1:] if not url.startswith("data:")] == []
    assert opened.said == []


def test_nothing_can_be_run_or_fetched_that_was_not_in_the_page(opened):
    policy = opened.page.locator("meta[http-equiv='Content-Security-Policy']").get_attribute("content")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    opened.page.evaluate(
        """() => {
            window.refused = [];
            const refuse = (event) => window.refused.push(event.effectiveDirective);
            document.addEventListener("securitypolicyviolation", refuse);
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            const image = new Image();
            image.src = "http://127.0.0.1:9/x.png";
            document.body.append(image);
        }"""
    )
    opened.page.wait_for_function("window.refused.length >= 2")
    assert sorted(opened.page.evaluate("window.refused")) == ["img-src", "script-src-elem"]
    assert opened.page.evaluate("window.ran") is None


def test_a_source_is_switched_off_and_on_everywhere(opened):
    page = opened.page
    button = page.get_by_role("button", name="NTP", exact=True)
    assert button.get_attribute("aria-pressed") == "true"
    assert "NTP" in page.evaluate(TRACES)
    button.click()
    page.wait_for_function(f"!({TRACES}).includes('NTP')")
    assert button.get_attribute("aria-pressed") == "false"
    assert "NTP" not in verdict(page)
    assert page.locator("#diagram text", has_text="NTP").count() == 0
    button.press("Enter")
    page.wait_for_function(f"({TRACES}).includes('NTP')")
    assert "NTP" in verdict(page)
    assert opened.said == []


def test_the_plot_is_zoomed_by_buttons_and_shows_other_things_and_workers(opened):
    page = opened.page
    whole = page.evaluate(RANGE)
    page.get_by_role("button", name="Zoom in").click()
    page.wait_for_function(f"({RANGE})[1] - ({RANGE})[0] < {0.6 * (whole[1] - whole[0])}")
    page.get_by_role("button", name="Later").click()
    page.get_by_role("button", name="All", exact=True).click()
    page.wait_for_function(f"Math.abs(({RANGE})[1] - {whole[1]}) < 1e-9")
    page.get_by_label("Shown", exact=True).select_option(label="error at the worker")
    page.wait_for_function("document.getElementById('readings-plot').layout.yaxis.title.text.startsWith('reading')")
    page.get_by_label("Worker", exact=True).select_option(label="comp12")
    assert "at comp12" in verdict(page)
    assert opened.said == []


def test_events_are_stepped_through_by_buttons_and_by_keys(opened):
    page = opened.page
    page.get_by_role("button", name="Next", exact=True).click()
    first = verdict(page)
    page.locator("#diagram").focus()
    page.keyboard.press("ArrowRight")
    second = verdict(page)
    assert second != first
    page.keyboard.press("ArrowLeft")
    assert verdict(page) == first
    for kind, key, said in (("violated", "v", "violated"), ("wrong", "w", "wrong as points")):
        count = int(re.search(r"\d+", page.locator(f"[data-count={kind}]").inner_text())[0])
        assert count > 1
        page.get_by_role("button", name=f"next {kind}").click()
        one = verdict(page)
        assert said in one
        page.locator("#diagram").focus()
        page.keyboard.press(key)
        assert said in verdict(page)
        assert verdict(page) != one
        page.keyboard.press(f"Shift+{key.upper()}")
        assert verdict(page) == one
    assert opened.said == []


def test_it_is_told_to_whoever_does_not_see_it(opened):
    page = opened.page
    assert page.locator("#verdict-of-event").get_attribute("aria-live") == "polite"
    assert page.locator("#verdict-of-event").get_attribute("role") == "status"
    named = "one.ariaLabel || one.textContent.trim() || one.labels?.length"
    unnamed = f"[...document.querySelectorAll('button, select, [role=region]')].filter((one) => !({named})).length"
    assert page.evaluate(unnamed) == 0
    assert page.evaluate("[...document.querySelectorAll('img')].filter((image) => !image.alt).length") == 0
    headings = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))")
    assert headings[0] == 1
    assert max(after - before for before, after in zip(headings, headings[1:], strict=False)) <= 1
    folded = page.locator("details.folded").first
    folded.locator("summary").press("Enter")
    assert folded.locator("table").is_visible()


@pytest.mark.parametrize("width", [390, 794])  # a telephone; A4 at 96 dpi
def test_it_is_no_wider_than_what_it_is_shown_on(show_page, run, width):
    page = show_page(run / records.PAGE_FILE, width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_no_two_elements_have_one_name(opened):
    names = opened.page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert sorted(set(names)) == sorted(names)


def test_a_link_of_the_contents_leads_to_the_heading_it_names(opened):
    links = opened.page.locator("nav a")
    for link in links.all():
        heading = opened.page.locator(link.get_attribute("href"))
        assert heading.evaluate("(one) => one.tagName") == "H2"
        assert heading.inner_text().startswith(link.inner_text().split(":")[0])


@pytest.fixture(scope="module")
def page_with_a_figure(tmp_path_factory):
    """Write a page with a figure as wide as a paper's page, and with its caption."""
    figure = style.canvas(style.PAGE_IN, 2.0)
    folder = tmp_path_factory.mktemp("figure")
    files = style.save(figure, folder, "drawn")
    body = shell.figure(vector.within_page(figure, files[0]), "Figure: drawn", "What is on it. " * 20)
    file = folder / "page.html"
    file.write_text(shell.page("A figure", body), encoding="utf-8")
    return file


def test_a_figure_that_is_too_large_is_there_with_fewer_pixels(monkeypatch, tmp_path):
    """Whatever the limit, the image within the page is below it and as wide as the file's half, quarter, ..."""
    figure = style.canvas(style.PAGE_IN, 2.0)
    axes = figure.add_subplot()
    axes.plot(np.random.default_rng(1).normal(size=30_000), linewidth=0.3)
    (file, *_) = style.save(figure, tmp_path, "drawn")
    monkeypatch.setattr(vector, "MOST_BYTES", file.stat().st_size // 2)
    kind, content = vector.within_page(figure, file).split(",")
    assert kind == "data:image/png;base64"
    png = base64.b64decode(content)
    assert len(png) <= vector.MOST_BYTES
    assert int.from_bytes(png[16:20], "big") in {round(style.PAGE_IN * style.DPI / part) for part in (2, 4)}


def test_a_figure_keeps_its_size_on_a_telephone_and_scrolls_by_itself(browser, page_with_a_figure):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(page_with_a_figure.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("img").bounding_box()["width"] >= 600
    assert page.locator("figcaption").bounding_box()["width"] <= 390
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_caption_can_be_read_in_either_scheme(browser, page_with_a_figure, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.goto(page_with_a_figure.as_uri())
    ink, ground = page.evaluate(
        """() => {
            const caption = document.querySelector("figcaption");
            let behind = caption;
            const isClear = (one) => getComputedStyle(one).backgroundColor === "rgba(0, 0, 0, 0)";
            while (isClear(behind)) behind = behind.parentElement;
            return [getComputedStyle(caption).color, getComputedStyle(behind).backgroundColor]
                .map((colour) => colour.match(/\\d+/g).map(Number).reduce((sum, part) => sum + part, 0) / 3);
        }"""
    )
    assert abs(ink - ground) > 150
    page.close()


def test_it_prints_without_what_only_a_screen_can_use(opened):
    opened.page.emulate_media(media="print")
    assert not opened.page.locator("nav").is_visible()
    assert not opened.page.get_by_role("button", name="Zoom in").is_visible()
    assert opened.page.pdf(format="A4").startswith(b"%PDF")


def test_what_a_run_says_of_itself_is_text_and_never_markup(show_page, run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    file = folder / records.MANIFEST_FILE
    manifest = json.loads(file.read_text())
    manifest |= {
        "experiment": f"named {MARKUP}",
        "notes": [f"</script>{MARKUP}"],
        "problems": [f"`{MARKUP}` **{MARKUP}**"],
        "outcome": "degraded",
    }
    file.write_text(json.dumps(manifest))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_drawings", lambda _results: {})
        pipeline.run_all(folder)
    opened = show_page(folder / records.PAGE_FILE, 1280)
    assert opened.page.title() == f"Experiment named {MARKUP}"
    assert opened.page.locator("h1").inner_text() == f"named {MARKUP}"
    assert opened.page.locator("img[src=x]").count() == 0
    assert opened.said == []
