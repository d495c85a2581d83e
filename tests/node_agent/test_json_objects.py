"""What is read from JSON has the shape and the types that its class says, all the way down, or is refused by key."""

# No `from __future__ import annotations` here: the types below are read at run time, on Python 3.9 too.

import dataclasses
from typing import Optional

import pytest

from node_agent.contract import json_objects


@dataclasses.dataclass(frozen=True)
class Place:
    at: tuple[str, int]
    weight: float = 1.0


@dataclasses.dataclass(frozen=True)
class Atlas:
    places: list[Place]
    by_name: dict[str, Place] = dataclasses.field(default_factory=dict)
    home: Optional[Place] = None


ATLAS = Atlas([Place(("a", 1)), Place(("b", 2), 0.5)], {"c": Place(("c", 3))}, Place(("d", 4)))


def test_what_is_written_is_read_back():
    assert json_objects.read(Atlas, json_objects.write(ATLAS), "atlas", whole=True) == ATLAS
    assert json_objects.read(Atlas, '{"places": []}', "atlas") == Atlas([])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "atlas: expected JSON"),
        ("[]", "atlas: expected an object"),
        ("{}", "atlas: expected the key 'places', got none"),
        ('{"places": {}}', r"atlas\.places: expected a list"),
        ('{"places": [{"at": ["a", 1, 2]}]}', r"atlas\.places\[0\]\.at: expected 2 values, got 3"),
        ('{"places": [{"at": ["a", true]}]}', r"atlas\.places\[0\]\.at\[1\]: expected int, got True"),
        ('{"places": [], "by_name": {"x": {"at": ["a", 1], "colour": 1}}}', r"by_name\.x: unknown key 'colour'"),
        ('{"places": [], "home": {"at": ["a", 1], "weight": NaN}}', r"home\.weight: expected a finite number"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key(text, message):
    with pytest.raises(ValueError, match=message):
        json_objects.read(Atlas, text, "atlas")


def test_a_whole_object_leaves_no_key_out():
    with pytest.raises(ValueError, match=r"atlas: expected the key 'by_name', got none"):
        json_objects.read(Atlas, '{"places": []}', "atlas", whole=True)
