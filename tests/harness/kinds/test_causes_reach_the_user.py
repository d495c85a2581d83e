"""What a name, a file, a disk or a library refuses reaches the user: one line with its cause, and an exit code."""

from __future__ import annotations

import errno
import http.server
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness import bundle
from harness import results as runs
from harness.configuration.experiment import load_worker
from harness.configuration.yaml_files import almost_a_cluster
from harness.errors import ConfigError, cause
from harness.invocation import command_line
from node_agent.contract.records import DEPLOYED, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.configuration.cluster import ClusterConfig
    from tests.harness.conftest import Project
    from tests.harness.kinds.conftest import Account

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
        (["-f", "none.yaml", "status"], "-f none.yaml: expected a file of settings, got no such file"),
        (["-f", "configs", "status"], "-f configs: expected a file of settings, got a folder"),
        (["-i", "none", "status"], "-i none: expected a private key, got no such file"),
        (["-S", "configs", "status"], "-S configs: expected an ssh_config, got a folder"),
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
    assert f"-f {name}: expected a file of settings, got: " in one_line(project.fab("-f", name, "status"))


def begun_early(project: Project, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run fab as it is begun where the project is installed (begin.pth): before it reads anything."""
    words = "from harness.invocation import fabric_settings as f; f.begin(); import fabric.main as m; m.program.run()"
    return subprocess.run(
        [sys.executable, "-c", words, *arguments], cwd=cwd or project.path, capture_output=True, text=True, timeout=250,
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
    done = subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
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
    assert almost_a_cluster(tmp_path, "nowhere") is None
    assert "got: No such file or directory" in str(almost_a_cluster(tmp_path / "none", "ares"))


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


@pytest.fixture
def http_server(tmp_path: Path) -> Iterator[Callable[[bool], int]]:
    """Return a function that serves HTTP on a port of its own, with TLS or without."""
    servers = []

    def serve(tls: bool) -> int:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if tls:
            key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
            words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
            subprocess.run([*words, "-keyout", key, "-out", certificate], check=True, capture_output=True)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        servers.append((server, thread))
        return server.server_port

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("scheme", "tls", "said"),
    [
        (
            "https",
            False,
            "no TLS is spoken there: http:// instead of https:// in configs/clusters/lab.yaml?",
        ),
        ("http", True, "it speaks no HTTP: https:// instead of http:// in configs/clusters/lab.yaml"),
        ("https", True, "(health: untrusted_certificate); only public certificate authorities are trusted"),
    ],
)
def test_tls_and_http_at_the_wrong_port_are_told_apart(
    project: Project,
    hosts: ClusterConfig,
    http_server: Callable[[bool], int],
    scheme: str,
    tls: bool,
    said: str,
) -> None:
    project.add_cluster("lab", hosts, chronotick_server=f"{scheme}://127.0.0.1:{http_server(tls)}")
    code, printed = project.fab("lab", "check")
    assert (code, "Traceback" in printed) == (3, False), printed
    assert said in printed.strip().splitlines()[-1]


def refused(said: tuple[int, str], code: int) -> str:
    assert "Traceback" not in said[1]
    assert said[0] == code, said[1]
    return said[1].strip().splitlines()[-1]


def test_results_that_cannot_be_written_are_found_before_anything_starts(project: Project, tmp_path: Path) -> None:
    """A file, a link to nowhere, a folder that may not be written, a name too long for the disk below it."""
    results = project.path / "results"
    for make, told in (
        (lambda: results.write_text(""), "expected a folder for results, got a file: "),
        (lambda: results.symlink_to(tmp_path / "gone/away"), "expected a folder for results, got a link to "),
        (lambda: results.symlink_to("/proc"), "expected to make "),
    ):
        make()
        assert told in refused(project.fab("local", "deploy", "--experiment", "mine"), 2)
        results.unlink()
    assert (
        runs_writable_or_why(Path("/proc/self/results")) == "/proc/self/results: expected a folder that can be written"
    )


def runs_writable_or_why(results: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)  # root may write everywhere
        with pytest.raises(ConfigError) as caught:
            runs.demand_writable(results)
    return str(caught.value).partition(", got")[0]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EACCES])
def test_a_deployment_that_the_disk_refuses_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (tmp_path / "given.yaml").write_text("")
    manifest = Manifest(
        run_id="0" * 32, experiment="mine", cluster="lab", phase=DEPLOYED, outcome=None, created_utc="", nodes={},
        code_version={}, argv=[], config={},
    )  # fmt: skip

    def refuse(source: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number), str(target))

    monkeypatch.setattr(shutil, "copyfile", refuse)
    with pytest.raises(ConfigError, match=os.strerror(number)) as caught:
        runs.create(tmp_path / "results", manifest, [tmp_path / "given.yaml"])
    assert len(str(caught.value).splitlines()) == 1
    assert list((tmp_path / "results").iterdir()) == []


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null/cache"])
def test_a_cache_that_cannot_be_written_is_one_line(project: Project, place: str) -> None:
    line = refused(project.fab("local", "check", XDG_CACHE_HOME=place), 3)
    assert line.startswith("agent bundle: expected to build it, got: ")
    assert "XDG_CACHE_HOME" in line


@pytest.mark.parametrize("blocks", [8, 420])
def test_a_limit_of_the_size_of_files_is_one_line(project: Project, tmp_path: Path, blocks: int) -> None:
    """Here it is the installer or the node's SFTP that is ended by it (SIGXFSZ), with no word of its own."""
    words = f"ulimit -f {blocks}; exec {Path(sys.executable).parent / 'fab'} local check"
    cache = {"XDG_CACHE_HOME": str(tmp_path)} if blocks == 8 else {}
    done = subprocess.run(
        ["bash", "-c", words], cwd=project.path, env=os.environ | cache, capture_output=True, text=True, timeout=250,
        check=False,
    )  # fmt: skip
    line = refused((done.returncode, done.stdout + done.stderr), 3)
    assert "agent bundle: " in line or "ulimit -f" in line


@pytest.mark.parametrize("given", [None, "", "here"], ids=["unset", "empty", "relative"])
def test_without_a_home_variable_it_is_the_accounts_own(account: Account, project: Project, given: str | None) -> None:
    """Libraries would take an empty HOME for ``/``, and put the cache there."""
    fab = str(Path(sys.executable).parent / "fab")
    without = ["env", "-u", "XDG_CACHE_HOME", *(("-u", "HOME") if given is None else (f"HOME={given}",))]
    cache = account.home / ".cache/chronotick-harness"
    bundle.build(ROOT)  # its libraries are fetched once, not once a test
    shutil.copytree(bundle.user_cache() / "libraries", cache / "libraries")
    code, output = account.run(*without, fab, "local", "check", cwd=project.path)
    assert code == 0, output
    assert (cache / "bundles").is_dir()
    assert not (project.path / "here").exists()


@pytest.mark.parametrize("given", [None, "", "here"], ids=["unset", "empty", "relative"])
@pytest.mark.parametrize("command", ["local check", "ares check", "testbed-down"])
def test_without_an_account_a_home_must_be_named(project: Project, given: str | None, command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    if given is not None:
        environment["HOME"] = given
    fab = [Path(sys.executable).parent / "fab", *command.split()]
    done = subprocess.run(
        ["unshare", "--user", "--map-user=54321", *fab], cwd=project.path, env=environment, capture_output=True,
        text=True, timeout=250, check=False,
    )  # fmt: skip
    line = refused((done.returncode, done.stdout + done.stderr), 2)
    assert line == (
        f"HOME: expected a home folder, got {given or ''!r}, and uid 54321 has no account here to ask; "
        "export HOME=FOLDER"
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.EFBIG, "File too large", "/a/b"),
            "/a/b: File too large (a limit of the size of files (ulimit -f))",
        ),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files (a limit of open files (ulimit -n))"),
        (OSError(errno.EXDEV, "Invalid", "/a", None, "/b"), "/a to /b: Invalid"),
        (TimeoutError(), "TimeoutError"),
        (subprocess.TimeoutExpired(["git"], 10), "Command '['git']' timed out after 10 seconds"),
    ],
)
def test_what_a_system_refuses_is_one_line(error: OSError, said: str) -> None:
    assert cause(error) == said


@pytest.mark.parametrize("place", ["/dev/zero", "pipe"])
def test_a_configuration_that_is_no_regular_file_is_refused(project: Project, tmp_path: Path, place: str) -> None:
    if place == "pipe":
        os.mkfifo(tmp_path / place)
        place = str(tmp_path / place)
    line = refused(project.fab("local", "check", "--coordinator-config", place), 2)
    assert line == f"{place}: expected a regular file, got a device or a pipe; save it as a file"


@pytest.mark.parametrize(
    ("events", "minutes", "said"),
    [
        (10**21, "null", "experiment.num_events: expected a number <= 1e+08, got 1000000000000000000000"),
        (10**21, "10", "experiment.num_events: expected a number <= 1e+08, got 1000000000000000000000"),
        (10, "50000", "experiment.duration_minutes: expected at most 31 days of events, got 34.7"),
    ],
)
def test_a_run_without_an_end_is_refused(project: Project, events: int, minutes: str, said: str) -> None:
    path = project.path / "configs/coordinator_config.yaml"
    content = path.read_text()
    for key, value in (("num_events", events), ("duration_minutes", minutes)):
        content = re.sub(rf"^  {key}: \S+", f"  {key}: {value}", content, flags=re.MULTILINE)
    path.write_text(content)
    assert f": {said}" in refused(project.fab("local", "check"), 2)
