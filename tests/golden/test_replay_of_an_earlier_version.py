"""The recorded demo is of an earlier version, whose journals lack columns: it is replayed and validated as it was."""

import tarfile

import pytest
from golden_record import DEMO

from analysis.checks.replay import replay
from analysis.checks.validate import validate


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    with tarfile.open(DEMO) as archive:
        archive.extractall(folder, filter="data")
    return folder / "demo"


def test_every_reading_of_it_is_recomputed(demo):
    found = replay(demo)
    assert (found.differences, found.readings) == ((), 768)


def test_it_has_no_error(demo):
    assert [finding.message for finding in validate(demo) if finding.severity == "error"] == []
