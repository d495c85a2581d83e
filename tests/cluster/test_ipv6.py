"""A run over IPv6 alone: hosts without an IPv4 address, through the gateway, home by rsync."""

from __future__ import annotations

import csv
import json

import pandas as pd
import pytest
from project_folder import EVENTS, Project

from harness.testbed import topology
from harness.testbed.namespaces import why_not
from harness.testbed.testbed import start
from tests.stamped_rows import stamped


def test_a_run_over_ipv6_alone_through_the_gateway(tmp_path):
    """check, deploy, run and collect by addresses of IPv6: every event, kernel stamps, both clocks, rsync."""
    if (reason := why_not()) is not None:
        pytest.skip(f"test cluster of real hosts: {reason}")
    with start(family=topology.IPV6) as testbed:
        for host in testbed.hosts.values():
            seen = host.run(["ip", "-o", "-4", "addr", "show"]).stdout.splitlines()
            assert all(" lo " in line for line in seen), seen
        project = Project(tmp_path / "a project", testbed.ssh_config)
        project.edit("configs/coordinator_config.yaml", probes={"lead_s": 1, "trail_s": 1})
        try:
            code, printed = project.fab("testbed-ipv6", "deploy", "--experiment", "six", "run")
        finally:
            project.end()
    assert code == 0, printed
    folder = project.path / "results/six"
    manifest = json.loads((folder / "manifest.json").read_text())
    for spec in topology.NETWORKS[topology.IPV6].hosts[1:]:
        node = manifest["nodes"][spec.name.removeprefix("ares-").replace("-", "")]
        assert node["status"]["listen"].startswith(f"[{spec.address}]:")
        assert (node["collected_by"], node["checksums_verified"], node["problems"]) == ("rsync", True, [])
    for worker in ("comp11", "comp12"):
        rows = pd.read_csv(folder / f"worker_{worker}.csv")
        assert len(rows) == EVENTS
        assert set(rows["receive_origin"]) == {"kernel_rx"}
        with (folder / f"worker_{worker}.csv").open(newline="") as table:
            judged = stamped(list(csv.DictReader(table)))
        assert {(row["ntp_status"], row["ct_status"]) for row in judged} == {("ok", "ok")}
        samples = pd.read_csv(folder / "raw" / worker / "samples.csv")
        good = samples[(samples["outcome"] == "ok") & (samples["source"] == "ntp")]
        assert set(good["address"]) == {"[fd20::1:1]:8123"}
        probes = pd.read_csv(folder / "raw" / worker / "probes.csv")
        assert {"kernel_tx", "kernel_rx"} <= set(probes["origin"])
