"""What a cluster file may say of Slurm, of hostlists and of addresses; and Slurm's own notations."""

from __future__ import annotations

import pytest
import yaml

from harness.configuration.experiment import load_cluster
from harness.configuration.slurm import hosts_in, seconds
from harness.errors import ConfigError
from harness.slurm.commands import request
from harness.slurm.submission import attempt

BASE = {
    "host_key_policy": "reject",
    "remote_base": "~/x",
    "remote_python": "python3",
    "ntp_server": "10.0.0.1:123",
    "chronotick_server": None,
}


def cluster(tmp_path, **keys):
    path = tmp_path / "there.yaml"
    path.write_text(yaml.safe_dump(BASE | keys))
    return load_cluster(path)


def test_a_hostlist_names_the_nodes(tmp_path):
    """The first, as Slurm sorts them, is the coordinator, and each has its address."""
    made = cluster(tmp_path, nodes="n[12,9-10]", address="{host}-40g")
    assert [(node.id, node.host, node.role, node.address) for node in made.nodes] == [
        ("n9", "n9", "coordinator", "n9-40g"),
        ("n10", "n10", "worker", "n10-40g"),
        ("n12", "n12", "worker", "n12-40g"),
    ]
    chosen = cluster(tmp_path, nodes="n[9-10,12]", roles={"coordinator": "n12"})
    assert [node.id for node in chosen.workers] == ["n9", "n10"]


def test_a_list_of_nodes_keeps_its_own_addresses(tmp_path):
    nodes = [
        {"id": "a", "host": "h1", "role": "worker"},
        {"id": "b", "host": "h2", "role": "coordinator", "address": "10.0.0.2"},
    ]
    assert [node.address for node in cluster(tmp_path, nodes=nodes, address="{host}-ib").nodes] == ["h1-ib", "10.0.0.2"]


def test_a_number_of_nodes_waits_for_a_job(tmp_path):
    made = cluster(tmp_path, scheduler="slurm", nodes=3, slurm={"time": "1:30:00", "options": {"account": "x"}})
    assert (made.nodes, made.node_count, made.job.margin_s) == ([], 3, 120.0)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"nodes": 3}, "nodes: expected their list or a hostlist; a number of nodes needs scheduler: slurm, got 3"),
        ({"scheduler": "slurm", "nodes": 1}, "nodes: expected 2 or more, got 1"),
        ({"nodes": "n[1-"}, "nodes: expected a hostlist, as ares-comp-[11-12,18]"),
        ({"nodes": "n1"}, "nodes: expected at least 2 item(s), got '1 (n1)'"),
        ({"nodes": "n[11,11]"}, "nodes: expected at least 2 item(s), got '1 (n11)'"),
        ({"nodes": "3"}, "nodes: expected a number without quotes, or a hostlist, got '3'"),
        ({"nodes": 2.5}, "nodes: expected their list, a hostlist, or with Slurm how many, got 2.5"),
        ({"nodes": True}, "nodes: expected their list, a hostlist, or with Slurm how many, got True"),
        ({"nodes": "n[1-99999999]"}, "99999999 hosts, more than 10000"),
        ({"nodes": "n[1-2]", "node_count": 3}, "node_count: expected 2, as many as nodes, or none, got 3"),
        ({"nodes": "n[1-2]", "roles": {"coordinator": "n3"}}, "roles.coordinator: expected one of n1, n2, got"),
        ({"nodes": "n[1-2]", "roles": {"worker": "n1"}}, "roles: expected {coordinator: HOST}"),
        ({"nodes": "n[1-2]", "address": "ib"}, "address: expected a name with {host} in it"),
        ({"nodes": "n[1-2]", "slurm": {}}, "slurm: expected none without scheduler: slurm"),
        ({"nodes": "n[1-2]", "remote_base": "$TMPDIR/x"}, "remote_base: expected no variable"),
        ({"nodes": 3, "scheduler": "slurm", "remote_base": "$TMPDIR/."}, "remote_base: expected a folder of its own"),
        ({"nodes": "n[1-2]", "scheduler": "pbs"}, "scheduler: expected"),
        (
            {"scheduler": "slurm", "nodes": 3, "slurm": {"time": "soon"}},
            "slurm.time: expected auto, or a time of Slurm's",
        ),
        ({"scheduler": "slurm", "nodes": 3, "slurm": {"time": 90}}, "slurm.time: expected auto, or a time"),
        ({"scheduler": "slurm", "nodes": 3, "slurm": {"time": "0"}}, "slurm.time: expected auto, or a time of Slurm's"),
        ({"scheduler": "slurm", "nodes": 3, "slurm": {"margin_s": 0.0}}, "slurm.margin_s: expected a number > 0"),
        ({"scheduler": "slurm", "nodes": 3, "slurm": {"launch": "rsh"}}, "slurm.launch: expected one of"),
        ({"scheduler": "slurm", "nodes": 3, "slurm": {"options": {"nodes": 4}}}, "expected no option that the harness"),
        ({"scheduler": "slurm", "nodes": 3, "slurm": {"options": {"-x": "a"}}}, "expected a long option of sbatch"),
        ({"scheduler": "slurm", "nodes": 3, "slurm": {"options": {"mem": [1]}}}, "expected a word, a number, true or"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, keys, told):
    with pytest.raises(ConfigError) as raised:
        cluster(tmp_path, **keys)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [("30", 1800), ("0:57", 57), ("1:30:00", 5400), ("1-2", 93_600), ("1-2:30", 95_400), ("2-03:04:05", 183_845)],
)
def test_times_are_read_as_slurm_does(text, expected_s):
    """As sbatch(1) says: minutes, minutes:seconds, hours:minutes:seconds, days-hours, and so on."""
    assert seconds(text) == expected_s


@pytest.mark.parametrize(
    ("hostlist", "hosts"),
    [
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("n[1-3!2],m1", None),
        ("r[1-2]n[08-10]", [f"r{rack}n{node}" for rack in (1, 2) for node in ("08", "09", "10")]),
        ("n[0-20/10]", ["n0", "n10", "n20"]),
        ("n1,n1", ["n1"]),
    ],
)
def test_hostlists(hostlist, hosts):
    if hosts is None:
        with pytest.raises(ValueError, match="range"):
            hosts_in(hostlist)
    else:
        assert hosts_in(hostlist) == hosts


@pytest.mark.parametrize("hostlist", ["n[1-99999999]", "r[1-999]n[1-999]", "a[1-9000],b[1-9000]", "n[1-5,6-999999]"])
def test_a_hostlist_without_measure_is_refused_before_it_is_written_out(hostlist):
    with pytest.raises(ValueError, match="hosts, more than 10000"):
        hosts_in(hostlist)


def test_what_is_asked_of_slurm(tmp_path):
    job = cluster(
        tmp_path,
        scheduler="slurm",
        nodes=3,
        slurm={"partition": "p", "exclusive": True, "options": {"constraint": "ib", "contiguous": True, "hold": False}},
    ).job
    assert request(job, 3, 61.0) == [
        "--nodes=3", "--ntasks=3", "--ntasks-per-node=1", "--time=2", "--partition=p", "--exclusive",
        "--constraint=ib", "--contiguous",
    ]  # fmt: skip
    assert "--nodelist=a,b" in request(job, ["a", "b"], 60.0)


@pytest.mark.parametrize(
    ("restarts", "expected"),
    [(None, ("x", None)), ("0", ("x", None)), ("1", ("x.a2", "x")), ("3", ("x.a4", "x.a3"))],
)
def test_a_requeued_job_makes_a_new_experiment(monkeypatch, restarts, expected):
    if restarts is not None:
        monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    assert attempt("x") == expected
