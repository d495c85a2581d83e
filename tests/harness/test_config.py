"""Configuration files: what is accepted, and the one line that says what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.configuration.experiment import load_cluster, load_coordinator, load_worker
from harness.errors import ConfigError
from node_agent.clocks.sources import KINDS

ROOT = Path(__file__).parents[2]
ARES = yaml.safe_load((ROOT / "configs/clusters/ares.yaml").read_text())
NO_BRACKETS = "expected an IPv6 address in brackets, as in [::1]:123"
COORDINATOR = yaml.safe_load((ROOT / "configs/coordinator_config.yaml").read_text())
NAMES = [kind.name for kind in KINDS]


@pytest.mark.parametrize("path", sorted((ROOT / "configs/clusters").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_cluster_file_of_the_project_is_valid(path: Path) -> None:
    cluster = load_cluster(path)
    assert cluster.name == path.stem
    if cluster.scheduler is None:
        assert (cluster.coordinator.id, [node.id for node in cluster.workers]) == ("comp18", ["comp11", "comp12"])
    else:
        assert (cluster.nodes, cluster.node_count) == ([], 3)


@pytest.mark.parametrize("folder", ["configs", "configs/demo"])
def test_every_experiment_configuration_of_the_project_is_valid(folder: str) -> None:
    load_coordinator(ROOT / folder / "coordinator_config.yaml")
    assert load_worker(ROOT / folder / "worker_config.yaml").clocks.required == ["ntp", "chronotick"]


def refused(path: Path, load, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [line.removeprefix(f"{path}: ") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "timing: {ntp_interval: 3}",
            "timing.ntp_interval: expected no such key, got 3; did you mean ntp_query_interval?",
        ),
        ("clocks: {ntp: {time_out: 3}}", "clocks.ntp.time_out: expected no such key, got 3; did you mean timeout_s?"),
        ("clocks: {chrony: {x: 1}}", "clocks.chrony.x: expected no such key, got 1"),
        ("clocks: {chrony: often}", "clocks.chrony: expected a mapping of keys or one of 'auto', got 'often'"),
        ("gps: {}", "gps: expected no such key, got {}"),
        ("network: {listen_port: 70000}", "network.listen_port: expected a number <= 65535, got 70000"),
        ("network: {listen_port: '9000'}", "network.listen_port: expected a whole number, got '9000'"),
        ("network: {listen_port: 9000.5}", "network.listen_port: expected a whole number, got 9000.5"),
        ("timing: {ntp_query_interval: 0}", "timing.ntp_query_interval: expected a number > 0, got 0"),
        ("timing: {ntp_query_interval: .nan}", "timing.ntp_query_interval: expected a finite number, got nan"),
        ("timing: {commit_wait_delays: 30}", "timing.commit_wait_delays: expected a list, got 30"),
        (
            "timing: {commit_wait_delays: [2, 2.0]}",
            "timing.commit_wait_delays: expected delays that differ, got [2.0, 2.0]",
        ),
        ("chronotick: {use_dual_model: 1}", "chronotick.use_dual_model: expected true or false, got 1"),
        (
            "clocks: {required: [gps]}",
            f"clocks.required.0: expected one of {', '.join(map(repr, NAMES[:-1]))} or {NAMES[-1]!r}, got 'gps'",
        ),
        ("network: 9000", "network: expected a mapping of keys, got 9000"),
        ("- a\n- b", "expected a mapping of keys, got ['a', 'b']"),
        ("a: [1", "expected YAML, got: expected ',' or ']', but got '<stream end>' in line 1"),
        ("network: {}\nnetwork: {}", "expected YAML, got: key 'network' is given twice in line 2"),
    ],
)
def test_a_bad_worker_configuration_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    assert refused(tmp_path / "worker_config.yaml", load_worker, text) == [line]


def test_every_problem_has_its_line(tmp_path: Path) -> None:
    lines = refused(tmp_path / "w.yaml", load_worker, "logging: {level: LOUD}\nnetwork: {buffer_size: 1}")
    assert len(lines) == 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: expected a configuration file, got none there"):
        load_worker(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"mesh": "ring"}, "probes.mesh: expected one of 'auto', 'full' or 'star', got 'ring'"),
        ({"rate_hz": 60}, "probes.rate_hz: expected a number <= 50, got 60"),
        ({"rate_hz": 19.9}, "probes.rate_hz: expected a number >= 20, got 19.9"),
        ({"lead_s": -1}, "probes.lead_s: expected a number >= 0, got -1"),
        ({"stamps": "hardware"}, "probes.stamps: expected one of 'kernel' or 'user', got 'hardware'"),
        ({"port": 0}, "probes.port: expected a number >= 1, got 0"),
        ({"hosts": []}, "probes.hosts: expected no such key, got []"),
    ],
)
def test_bad_probes_are_one_line(tmp_path: Path, change: dict[str, object], line: str) -> None:
    text = yaml.safe_dump(COORDINATOR | {"probes": change})
    assert refused(tmp_path / "c.yaml", load_coordinator, text) == [line]


def test_probes_are_on_unless_they_are_turned_off(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in COORDINATOR.items() if key != "probes"}))
    assert load_coordinator(path).probes == load_coordinator(ROOT / "configs/coordinator_config.yaml").probes
    path.write_text(yaml.safe_dump(COORDINATOR | {"probes": None}))
    assert load_coordinator(path).probes is None


def test_a_burst_longer_than_its_slot_is_refused(tmp_path: Path) -> None:
    squeezed = COORDINATOR | {"experiment": {"num_events": 100, "duration_minutes": 0.03}}
    (line,) = refused(tmp_path / "c.yaml", load_coordinator, yaml.safe_dump(squeezed))
    assert line.startswith("experiment.duration_minutes: expected slots of at least 0.23 s, the length of a burst")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nodes": ARES["nodes"][:2] + ARES["nodes"][:1]}, "nodes: expected exactly one node with role coordinator"),
        ({"nodes": ARES["nodes"][:1]}, "nodes: expected at least 2 item(s)"),
        (
            {"nodes": ARES["nodes"] + ARES["nodes"][1:2]},
            "nodes.3.id: expected one that no other node has, got 'comp11'",
        ),
        (
            {"chronotick_server": "172.20.1.1:8124"},
            "chronotick_server: expected http://host:port, got '172.20.1.1:8124'",
        ),
        (
            {"chronotick_server": "http://172.20.1.1:0"},
            "chronotick_server: expected a port > 0 outside an embedded cluster",
        ),
        ({"ntp_server": ["ok:123", "a b"]}, "ntp_server: expected host:port, got 'a b'"),
        *[
            ({"ntp_server": server}, f"ntp_server: {NO_BRACKETS}, got '{server}'")
            for server in ("2001:db8::1", "::1", "fe80::1%eth0")
        ],
        (
            {"ntp_server": ["a:1", "b:1"], "ntp_own_clock": True},
            "ntp_own_clock: expected one ntp_server, whose clock is the truth, got ['a:1', 'b:1']",
        ),
        (
            {"ntp_server": ["a:1", "b:1", "a:1"]},
            "ntp_server: expected each server once: named twice, a wrong one is a majority, got ['a:1', 'b:1', 'a:1']",
        ),
        ({"remote_base": "~/x; rm -rf ~"}, "remote_base: expected a path of letters"),
        ({"remote_base": "~/../x"}, "remote_base: expected a path of letters"),
        *[
            ({"remote_base": base}, f"remote_base: expected a folder of its own, as ~/chronotick-harness, got '{base}'")
            for base in ("/", "//", "/.", ".", "./.", "~/.", "~//")
        ],
        ({"host_key_policy": "ignore"}, "host_key_policy: expected one of 'reject' or 'accept-new', got 'ignore'"),
        ({"name": "other"}, "name: expected no such key, got 'other'"),
    ],
)
def test_a_bad_cluster_is_one_line(tmp_path: Path, change: dict[str, object], said: str) -> None:
    (line,) = refused(tmp_path / "ares.yaml", load_cluster, yaml.safe_dump(ARES | change))
    assert line.startswith(said)


def test_only_an_embedded_cluster_may_bend_its_clocks(tmp_path: Path) -> None:
    bent = [node | {"virtual_clock": {"error_ms": 1.0}} for node in ARES["nodes"]]
    (line,) = refused(tmp_path / "ares.yaml", load_cluster, yaml.safe_dump(ARES | {"nodes": bent}))
    assert line.startswith("nodes.0.virtual_clock: expected none outside an embedded cluster")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"embedded": False},
            "ntp_error_ms: expected none outside an embedded cluster, which starts its servers, got [",
        ),
        (
            {"ntp_server": ["a:1", "b:1"]},
            "ntp_error_ms: expected a number for each of 2 in ntp_server, 0 for one that is ",
        ),
        ({"ntp_server": None}, "ntp_error_ms: expected a number for each of 0 in ntp_server"),
        ({"ntp_error_ms": [0, 0, "5"]}, "ntp_error_ms.2: expected a number, got '5'"),
        ({"ntp_error_ms": [0, 0, 1e13]}, "ntp_error_ms.2: expected a number <= "),
        ({"ntp_error_ms": [0, float("nan"), 0]}, "ntp_error_ms.1: expected a finite number"),
    ],
)
def test_wrong_ntp_servers_are_of_an_embedded_cluster_and_one_number_each(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    wrong = {"embedded": True, "gateway": None, "ntp_server": ["a:1", "b:1", "c:1"], "ntp_error_ms": [0, 0, 5]}
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(ARES | wrong))
    assert load_cluster(path).ntp_error_ms == [0, 0, 5]
    (line,) = refused(path, load_cluster, yaml.safe_dump(ARES | wrong | change))
    assert line.startswith(said)


LAN = {"delay_ms": 0.2}


@pytest.mark.parametrize(
    ("paths", "change", "said"),
    [
        ({"lan": LAN}, {"embedded": False}, "paths: expected none outside an embedded cluster"),
        ({"wan": LAN}, {}, "paths.wan: expected no such key"),
        ({"lan": {"tail_ms": 1}}, {}, "paths.lan.delay_ms: expected a value"),
        ({"lan": LAN | {"jitter": 1}}, {}, "paths.lan.jitter: expected no such key, got 1"),
        ({"lan": LAN | {"delay_ms": -1}}, {}, "paths.lan.delay_ms: expected a number >= 0, got -1"),
        ({"lan": LAN | {"delay_ms": 5000}}, {}, "paths.lan.delay_ms: expected a number <= 1000, got 5000"),
        ({"lan": LAN | {"asymmetry": 0}}, {}, "paths.lan.asymmetry: expected a number >= 0.01, got 0"),
        ({"lan": LAN | {"tail_ms": "much"}}, {}, "paths.lan.tail_ms: expected a number, got 'much'"),
        ({"ntp": LAN}, {"ntp_server": None}, "paths.ntp: expected none without ntp_server"),
        ({"chronotick": LAN}, {"chronotick_server": None}, "paths.chronotick: expected none without chronotick_server"),
    ],
)
def test_a_bad_path_is_one_line(tmp_path: Path, paths: dict[str, object], change: dict[str, object], said: str) -> None:
    text = yaml.safe_dump(ARES | {"embedded": True, "gateway": None, "paths": paths} | change)
    (line,) = refused(tmp_path / "paths.yaml", load_cluster, text)
    assert line.startswith(said)


def test_a_wildcard_is_no_address(tmp_path: Path) -> None:
    wild = [node | {"address": "0.0.0.0"} for node in ARES["nodes"]]  # noqa: S104 - to be refused
    lines = refused(tmp_path / "ares.yaml", load_cluster, yaml.safe_dump(ARES | {"nodes": wild}))
    assert lines[0] == "nodes.0.address: expected the address of one interface, got '0.0.0.0'"


def test_servers_may_be_one_or_many(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(yaml.safe_dump(ARES | {"ntp_server": ["a:1", "b"]}))
    assert load_cluster(path).ntp_server == ["a:1", "b"]
    path.write_text(yaml.safe_dump(ARES | {"ntp_server": None, "chronotick_server": None}))
    assert load_cluster(path).ntp_server == []


def test_ipv6_addresses_stand_wherever_addresses_do(tmp_path: Path) -> None:
    """With their brackets or, where no port follows, without; a link-local one names its interface."""
    path = tmp_path / "lab.yaml"
    hosts = ["[fd00::18]", "fd00::11", "fe80::12%eth0"]
    nodes = [node | {"host": host} for node, host in zip(ARES["nodes"], hosts, strict=True)]
    nodes[1]["address"] = "[fd00:1::11]"
    changes = {"nodes": nodes, "gateway": "[fd00::1]", "ntp_server": ["[fd00::1]:8123", "[fd00::2]"]}
    path.write_text(yaml.safe_dump(ARES | changes | {"chronotick_server": "http://[fd00::1]:8124"}))
    read = load_cluster(path)
    assert [node.host for node in read.nodes] == ["fd00::18", "fd00::11", "fe80::12%eth0"]
    assert (read.nodes[1].address, read.gateway.host) == ("fd00:1::11", "fd00::1")
    for change, line in (
        ({"chronotick_server": "http://[fe80::1]:8124"}, "chronotick_server: expected a link-local address with its"),
        ({"ntp_server": "[fe80::1]:123"}, "ntp_server: expected a link-local address with its interface"),
        ({"gateway": "fe80::1"}, "gateway.host: expected a link-local address with its interface"),
    ):
        assert refused(path, load_cluster, yaml.safe_dump(ARES | change))[0].startswith(line)
