"""Agents and time services write and read addresses by one rule, on both sides of a wall."""

from __future__ import annotations

import argparse

import pytest

from node_agent.contract.servers import join_address, split_address
from time_services.listening import format_address, parse_address

PLACES = [
    ("127.0.0.1", 123), ("time.example", 65_535), ("::1", 8123), ("2001:db8::7", 123), ("fe80::1%eth0", 123),
    ("::ffff:10.0.0.1", 1),
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_what_one_writes_the_other_reads(place):
    written = join_address(*place)
    assert written == format_address(*place)
    assert split_address(written) == parse_address(written) == place


@pytest.mark.parametrize(
    "text", ["::1", "::1:123", "fe80::1%eth0:5", "[::1", "[]:1", "[x]y:1", "a:65536", ":5", "[a:b]:1", "[fe80::1]:5"]
)
def test_what_one_refuses_the_other_refuses(text):
    """An IPv6 address without brackets cannot be told from its port."""
    with pytest.raises(ValueError, match="expected"):
        split_address(text)
    with pytest.raises(argparse.ArgumentTypeError, match="expected HOST:PORT"):
        parse_address(text)
