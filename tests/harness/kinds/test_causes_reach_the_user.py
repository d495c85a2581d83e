"""What a name, a file, a disk or a library refuses reaches the user: one line with its cause, and an exit code."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness import cluster_names, command_line
from harness.config import load_worker
from harness.errors import ConfigError

if TYPE_CHECKING:
    from tests.harness.conftest import Project

ROOT = Path(__file__).parents[3]

# What every option of fabric and invoke themselves is here. A new one has to be looked at before it is in this list.
OBEYED = {
    "collection", "complete", "config", "connect-timeout", "debug", "help", "identity", "list", "list-agent-keys",
    "list-depth", "list-format", "no-dedupe", "print-completion-script", "prompt-for-login-password",
    "prompt-for-passphrase", "search-root", "ssh-config", "version", "write-pyc",
}  # fmt: skip


def one_line(said: tuple[int, str], code: int = 2) -> str:
    assert "Traceback" not in said[1]
    assert said[0] == code, said[1]
    assert len(said[1].strip().splitlines()) == 1, said[1]
    return said[1].strip()


def test_every_option_of_fabric_and_invoke_is_obeyed_or_refused() -> None:
    """A new version's new option is in neither list, and this test says so."""
    import fabric.main

    program = fabric.main.make_program()
    known = {max(argument.names, key=len) for argument in [*program.core_args(), *program.task_args()]}
    assert known == OBEYED | set(command_line.REFUSED)
    assert not OBEYED & set(command_line.REFUSED)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--dry", "local", "deploy"], "-R/--dry"),
        (["local", "deploy", "--dry"], "-R/--dry"),
        (["-R", "demo"], "-R/--dry"),
        (["-H", "elsewhere", "local", "check"], "-H/--hosts"),
        (["--hosts=a,b", "status"], "-H/--hosts"),
        (["-e", "local", "check"], "-e/--echo"),
        (["--hide", "both", "status"], "--hide"),
        (["-p", "status"], "-p/--pty"),
        (["-w", "status"], "-w/--warn-only"),
        (["-T", "5", "status"], "-T/--command-timeout"),
        (["status", "--", "ls"], "after `--`"),
        (["status", "-t", "0"], "-t/--connect-timeout: expected a whole number of seconds above 0, got 0"),
        (["status", "-t", "-3"], "-t/--connect-timeout"),
        (["status", "-t", "soon"], "expected a whole number, got 'soon'"),
        (["status", "-D", "x"], "expected a whole number, got 'x'"),
        (["-F", "xml", "-l"], "-F/--list-format: expected one of flat, nested, json, got 'xml'"),
        (["-f", "none.yaml", "status"], "-f: expected settings, got no such file: none.yaml"),
        (["-f", "configs", "status"], "-f: expected settings, got a folder: configs"),
        (["-i", "none", "status"], "-i: expected a private key, got no such file: none"),
        (["-S", "configs", "status"], "-S: expected an ssh_config, got a folder: configs"),
        (["--list", "none"], "Sub-collection 'none' not found!"),
        (["--help", "none"], "No idea what 'none' is!"),
        (["status", "--experiment"], "needed value and was not given one!"),
    ],
)
def test_an_option_that_is_not_obeyed_is_refused(project: Project, arguments: list[str], named: str) -> None:
    assert named in one_line(project.fab(*arguments))
    assert not (project.path / "results").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [("broken.yaml", "a: [1"), ("broken.json", "{"), ("settings.txt", "x"), ("broken.py", "1 +")],
)
def test_settings_that_cannot_be_read_are_named(project: Project, name: str, content: str) -> None:
    (project.path / name).write_text(content)
    assert f"-f: expected settings, got from {name}: " in one_line(project.fab("-f", name, "status"))


def begun_early(project: Project, *arguments: str, cwd: Path | None = None, program: str = "fabric"):
    """Run fab (or invoke) with its options looked at before it reads anything, as where the project is installed."""
    words = f"import {program}.main as m; from harness import command_line as c; c.install(m.program); m.program.run()"
    return subprocess.run(
        [sys.executable, "-c", words, *arguments], cwd=cwd or project.path, capture_output=True, text=True, timeout=90,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--", "ls"], "after `--`"),
        (["-t", "soon", "status"], "expected a whole number, got 'soon'"),
        (["-c", "nosuch", "status"], "Can't find any collection named 'nosuch'!"),
        (["-r", "nowhere", "status"], "-r/--search-root: expected a folder, got none at"),
        (["-S"], "needed value and was not given one!"),
        (["--dry", "--", "ls"], "-R/--dry"),
    ],
)
def test_what_is_wrong_before_the_tasks_are_known_is_one_line_too(
    project: Project, arguments: list[str], said: str
) -> None:
    done = begun_early(project, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_the_project_is_found_from_elsewhere(project: Project, tmp_path: Path) -> None:
    """With ``uv run --project`` the current folder is another: tasks and configurations are the project's."""
    done = begun_early(project, "--list", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "testbed-up" in done.stdout
    done = begun_early(project, "-r", str(project.path), "status", cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "expected one in a project/results, got none; deploy or run one first" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dry", "analyze"], "-R/--dry"),
        (["validate", "-w"], "-w/--warn-only"),
        (["-e", "validate"], "-e/--echo"),
        (["validate", "--", "ls"], "after `--`"),
        (["nosuch"], "No idea what 'nosuch' is!"),
        (["validate", "--nosuch"], "No idea what '--nosuch' is!"),
    ],
)
def test_invoke_refuses_what_it_does_not_obey(arguments: list[str], said: str) -> None:
    program = Path(sys.executable).parent / "invoke"
    done = subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert said in one_line((done.returncode, done.stdout + done.stderr))


def test_a_cluster_file_is_called_as_it_is_named(project: Project) -> None:
    """Underscores stay; with dashes, as invoke would have them, it is found as well unless that is another's name."""
    clusters = project.path / "configs/clusters"
    for name in ("my_cluster", "a__b", "both_1", "both-1", "testbed_up"):
        shutil.copy(clusters / "local.yaml", clusters / f"{name}.yaml")
    for typed in ("my_cluster", "a__b", "both_1", "both-1", "testbed_up"):
        assert f"cluster {typed} selected; nothing to do" in one_line(project.fab(typed))
    assert "selected; nothing to do" in one_line(project.fab("my-cluster"))


@pytest.mark.parametrize(
    ("file", "typed", "said"),
    [
        ("mine.yml", "mine", "mine.yml: expected a cluster file to end in .yaml; rename it"),
        ("mine.YAML", "mine", "mine.YAML: expected a cluster file to end in .yaml; rename it"),
        ("mine.yaml", "mine.yaml", "is called mine"),
        ("mine.yaml", "Mine", "did you mean mine, of"),
        ("my_mine.yaml", "my_mime", "did you mean my_mine, of"),
    ],
)
def test_a_word_that_is_almost_a_clusters_name_is_told_which(
    project: Project, file: str, typed: str, said: str
) -> None:
    shutil.copy(project.path / "configs/clusters/local.yaml", project.path / "configs/clusters" / file)
    assert said in one_line(project.fab(typed, "check"))


def test_no_word_is_bent_to_a_name_it_is_not_like(tmp_path: Path) -> None:
    (tmp_path / "ares.yaml").write_text("")
    assert cluster_names.almost(tmp_path, "nowhere") is None
    assert "got: No such file or directory" in str(cluster_names.almost(tmp_path / "none", "ares"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"network: {}\nnetwork: {}\n", "key 'network' is given twice in line 2"),
        (b"timing: &a {x: 1}\nlogging:\n  <<: *a\n  <<: *a\n", "key '<<' is given twice in line 4"),
        (b"1: a\n0x1: b\n", "key 1 is given twice in line 2"),
        (b"timing:\n  <<: 5\n", "expected a mapping or list of mappings for merging, but found scalar in line 2"),
        (b"timing: *nowhere\n", "found undefined alias 'nowhere' in line 1"),
        (b"timing:\n\tntp_query_interval: 1\n", r"'\t' that cannot start any token in line 2; indent with spaces"),
        (
            b"# caf\xe9\ntiming: {}\n",
            "expected text in UTF-8, got the byte 0xe9 in line 1 (Latin-1?); save it as UTF-8",
        ),
        ("timing: {}\n".encode("utf-16"), "expected text in UTF-8, got UTF-16; save it as UTF-8"),
        (b"timing: {}\n\0", "expected YAML, got: unacceptable character"),
        (b"? [a, b]\n: 1\n", "a key that is no plain word in line 1"),
        (b"{a: 1}: 2\n", "a key that is no plain word in line 1"),
        (b"timing: 2025-99-99\n", "month must be in 1..12 in line 1"),
        (b"a: 1\ntiming: !!int x\n", "invalid literal for int() with base 10: 'x' in line 2"),
        (b"timing: " + b"9" * 5000 + b"\n", "Exceeds the limit (4300 digits)"),
        (b"[" * 4000, "got values nested too deeply to read"),
        (b"timing: !!python/object:os.system x\n", "could not determine a constructor for the tag"),
        (b"timing: {}\n---\ntiming: {}\n", "another document in line 2"),
        (b"- timing\n", "expected a mapping of keys, got ['timing']"),
        (b"", "expected a mapping of keys, got nothing"),
    ],
)
def test_yaml_that_cannot_be_obeyed_is_named_with_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "worker_config.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_worker(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    [
        "timing: &a {ntp_query_interval: 3.0}\n",
        "\ufefftiming: {ntp_query_interval: 3.0}\n",
        "timing:\n  <<: {ntp_query_interval: 3.0}\n",
        "timing:\n  <<: [{ntp_query_interval: 3.0}, {ntp_query_interval: 9.0}]\n",
        "timing:\n  <<: {ntp_query_interval: 9.0}\n  ntp_query_interval: 3.0\n",
        "timing: {<<: {<<: {ntp_query_interval: 9.0}, ntp_query_interval: 3.0}}\n",
        "timing: {ntp_query_interval: &x 3.0, chronotick_query_interval: *x}\n",
    ],
)
def test_anchors_and_merge_keys_are_obeyed(tmp_path: Path, content: str) -> None:
    path = tmp_path / "worker_config.yaml"
    path.write_text(content, encoding="utf-8")
    assert load_worker(path).timing.ntp_query_interval == 3.0


def test_a_configuration_of_another_ending_is_named(tmp_path: Path) -> None:
    (tmp_path / "worker_config.yml").write_text("")
    with pytest.raises(ConfigError, match=r"worker_config.yml: rename it"):
        load_worker(tmp_path / "worker_config.yaml")
