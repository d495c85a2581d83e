"""Whole runs on nodes that Slurm lends."""

from __future__ import annotations

import json

CLUSTER = "ares_slurm"


def manifest_of(project, name):
    return json.loads((project.path / "results" / name / "manifest.json").read_text())


def test_from_the_login_node(slurm_project):
    """A job is allocated, used and released; the run is like any other."""
    code, printed = slurm_project.fab(CLUSTER, "--direct", "deploy", "run", "--experiment", "first", "collect")
    assert code == 0, printed
    manifest = manifest_of(slurm_project, "first")
    assert manifest["outcome"] == "ok"
