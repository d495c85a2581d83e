"""Nodes whose ids differ in nothing that a macro's name can hold are numbered, and the file says which is which."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.report import latex

RATE = {"numerator": 1, "denominator": 2, "value": 0.5, "interval": [0.1, 0.9]}


def statistics(*nodes):
    return {
        "causality": {"sources": {"ntp": {node: {"violated": RATE} for node in nodes}}},
        "clocks": {node: {"adev": place} for place, node in enumerate(nodes)},
    }


def macros(data):
    """Return the macros of some statistics, name to value, as the file has them."""
    lines = latex.render("run", data, {}).splitlines()
    matches = (re.fullmatch(r"\\newcommand\{\\(\w+)\}\{(.*)\}", line) for line in lines)
    return {match[1]: match[2] for match in matches if match and match[1] != "resNotEvaluable"}


def test_no_name_ends_in_again_and_a_comment_names_each_node():
    text = latex.render("run", statistics("w-1", "w1", "w.1"), {})
    assert "Again" not in text
    for number, node in (("One", "w-1"), ("Two", "w.1"), ("Three", "w1")):
        assert f"\n% ...WOneNo{number}... is '{node}'\n" in text
        assert rf"\newcommand{{\resClocksWOneNo{number}Adev}}" in text
        assert rf"\newcommand{{\resCausalitySourcesNtpWOneNo{number}ViolatedPercent}}{{50.00}}" in text


def test_a_node_has_one_number_whatever_the_order_and_wherever_it_occurs():
    forth, back = (macros(statistics(*nodes)) for nodes in (("w-1", "w_1"), ("w_1", "w-1")))
    assert set(forth) == set(back)
    partly = macros({**statistics("w-1", "w_1"), "windows": {"w_1": 7}})
    assert partly["resWindowsWOneNoTwo"] == "7"


def test_names_that_were_unique_stay_as_they_are():
    alone = macros(statistics("comp11", "comp12"))
    assert alone["resClocksCompOneOneAdev"] == "0"
    beside = macros(statistics("comp11", "comp12", "w-1", "w1"))
    assert {name: value for name, value in beside.items() if "CompOne" in name} == alone
    assert "% ..." not in latex.render("run", statistics("comp11", "comp12"), {})


@pytest.mark.parametrize(
    "data",
    [
        {"w-1": 1, "w1": 2, "w-1-no-1": 3},  # a node that is called what the number makes of another
        {"a": {"bC": 1}, "aB": {"c": 2}},  # two paths that read alike, of keys that do not
        {"w1": 1, "W1": 2},
        {"-": 1, "_": 2},
    ],
)
def test_whatever_reads_alike_is_kept_apart_and_told(data):
    names = macros(data)
    assert sorted(names.values()) == sorted(str(number) for number in range(1, len(names) + 1))
    assert all(re.fullmatch("[A-Za-z]+", name) for name in names)
    assert latex.render("run", data, {}).count(" is '") >= 2


KEYS = st.text("wW1-_./", min_size=1, max_size=4)


@given(st.dictionaries(KEYS, st.integers(0, 9) | st.dictionaries(KEYS, st.integers(0, 9), min_size=1), max_size=6))
def test_no_number_is_lost_and_no_macro_defined_twice(data):
    leaves = sum(len(value) if isinstance(value, dict) else 1 for value in data.values())
    text = latex.render("run", data, {})
    defined = re.findall(r"^\\newcommand\{\\(\w+)\}", text, flags=re.MULTILINE)
    assert len(defined) == len(set(defined)) == leaves + 1  # and \resNotEvaluable
