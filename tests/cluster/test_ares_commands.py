"""The shipped ares files against real hosts behind a gateway."""

from __future__ import annotations

import json


def test_ares_unchanged_through_the_gateway(project, testbed):
    """The shipped cluster file works as it is: check, deploy, run, collect; NTP and ChronoTick answer every node."""
    code, printed = project.fab("ares", "check", "deploy", "run", "--experiment", "first", "collect", COLUMNS="200")
    assert code == 0, printed
    for node in ("comp18", "comp11", "comp12"):
        rows = [line for line in printed.splitlines() if line.startswith(node)]
        assert any("172.20.1.1:8123 " in row and " ok " in row for row in rows), printed
        assert any("http://172.20.1.1:8124" in row and "healthy" in row for row in rows), printed
        assert f"collected node={node} by=rsync verified=True" in printed
    manifest = json.loads((project.path / "results/first/manifest.json").read_text())
    assert manifest["outcome"] == "ok"
    assert [testbed.hosts[f"ares-comp-{number}"].agents() for number in (18, 11, 12)] == [[], [], []]
