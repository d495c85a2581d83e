"""What the user, the node or the machine has set for other work changes nothing here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness import localcluster
from harness.configuration.experiment import load_cluster
from harness.localcluster import processes

if TYPE_CHECKING:
    from harness.configuration.cluster import ClusterConfig
    from tests.harness.conftest import Project

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[3]
NOISY = (
    "import sys\nprint('Welcome to this node! {}')\nprint('[]', flush=True)\nsys.stderr.write('Warning: 9.9.9\\n')\n"
)
BROKEN = "raise RuntimeError('this is not the json that you look for')\n"


# --- on a node


@pytest.fixture
def node_settings(tmp_path: Path) -> dict[str, str]:
    """Make a folder of Python modules that spoil whatever imports them; return what would let Python use it."""
    folder = tmp_path / "of other work"
    folder.mkdir()
    for name in ("json", "socket", "httpx", "ntplib", "node_agent"):
        (folder / f"{name}.py").write_text(BROKEN)
    for name in ("sitecustomize", "usercustomize", "startup"):
        (folder / f"{name}.py").write_text(NOISY)
    return {
        "PYTHONPATH": str(folder),
        "PYTHONSTARTUP": str(folder / "startup.py"),
        "PYTHONIOENCODING": "utf-16",
        "PYTHONINSPECT": "1",
        "PYTHONHOME": "/nonexistent",
        "PYTHONWARNINGS": "error",
        "PYTHONOPTIMIZE": "2",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "0",
        "PYTHONVERBOSE": "1",
        "PYTHONDEVMODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONBREAKPOINT": "nowhere",
        "PYTHONPROFILEIMPORTTIME": "1",
        "PYTHONMALLOC": "debug",
        "PYTHONNODEBUGRANGES": "1",
    }


def wrapped(tmp_path: Path, settings: dict[str, str], *, said: str = "") -> Path:
    """Return a Python as a node has it whose user's settings reach every program, and which may speak first."""
    python = tmp_path / "python"
    exports = "".join(f"export {name}='{value}'\n" for name, value in settings.items())
    python.write_text(f'#!/bin/sh\n{exports}{said}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


def carried_out(project: Project, hosts: ClusterConfig, **changes: Any) -> dict[str, Any]:
    """Do everything that asks a node for an answer; return the manifest."""
    project.add_cluster("lab", hosts, **changes)
    tasks = ["check", "deploy", "run", "collect", "status", "logs", "stop", "clean", "--yes"]
    code, printed = project.fab("lab", *tasks)
    assert "Traceback" not in printed
    assert code == 0, printed
    assert "Welcome" not in printed
    (path,) = (project.path / "results").glob("[!l]*/manifest.json")
    manifest: dict[str, Any] = json.loads(path.read_text())
    assert (manifest["phase"], manifest["outcome"], manifest["problems"]) == ("collected", "ok", [])
    return manifest


def test_no_python_variable_of_a_node_reaches_the_agent(
    project: Project, hosts: ClusterConfig, node_settings: dict[str, str], tmp_path: Path
) -> None:
    carried_out(project, hosts, remote_python=str(wrapped(tmp_path, node_settings)))


def test_a_sitecustomize_of_the_nodes_python_is_not_asked(
    project: Project, hosts: ClusterConfig, tmp_path: Path
) -> None:
    """It is part of the installation, so that leaving out variables and the user's folder does not leave it out."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (packages,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (packages / "sitecustomize.py").write_text(NOISY)
    (packages / "noise.pth").write_text("import sys; print('Welcome')\n")
    python = tmp_path / "venv/bin/python"
    assert "Welcome" in subprocess.run([python, "-I", "-c", ""], capture_output=True, text=True, check=True).stdout
    carried_out(project, hosts, remote_python=str(python))


@pytest.mark.parametrize(
    "said", ["echo 'Loading python 2.7.1'", "echo '{}'", "printf 'no newline'", "printf '\\351\\377\\n'"]
)
def test_what_is_said_before_an_answer_is_none(
    project: Project, hosts: ClusterConfig, tmp_path: Path, said: str
) -> None:
    """By whatever stands before Python on the node: an environment module, a wrapper."""
    carried_out(project, hosts, remote_python=str(wrapped(tmp_path, {}, said=said)))


def test_an_old_python_is_still_named_whatever_it_says(project: Project, hosts: ClusterConfig, tmp_path: Path) -> None:
    old = tmp_path / "python"
    change = "s/% sys.version_info..3./% (3, 6, 15)/"
    old.write_text(
        '#!/bin/sh\necho "Loading 3.12.0"\nfor last; do :; done\n'
        f'exec {sys.executable} -c "$(echo "$last" | sed \'{change}\')"\n'
    )
    old.chmod(0o755)
    project.add_cluster("lab", hosts, remote_python=str(old))
    code, printed = project.fab("lab", "check")
    assert code == 3
    assert "expected Python >= 3.9, got 3.6.15" in printed


# --- at home


OTHERS_WORK = {
    "yaml": "gateway: nobody@192.0.2.1\ntasks: {collection_name: other, auto_dash_names: false, search_root: /none}\n"
    "user: nobody\nport: 1\nconnect_kwargs: {password: x, pkey: 3}\nrun: {dry: true}\nload_ssh_configs: false\n",
    "json": '{"tasks": {"collection_name": "other"}}',
    "py": "print('Welcome')\ntasks = {'collection_name': 'other'}\n",
    "broken.yaml": "gateway: [\x07 {",
}


@pytest.mark.parametrize("kind", OTHERS_WORK)
def test_settings_of_fabric_and_invoke_for_other_work_are_not_read(project: Project, tmp_path: Path, kind: str) -> None:
    """A gateway does not break the embedded cluster, a collection name hides no cluster, a broken file ends nothing."""
    home = tmp_path / "home"
    home.mkdir()
    suffix = kind.rpartition(".")[2]
    for place in (home / ".fabric", home / ".invoke", project.path / "fabric", project.path / "invoke"):
        place.with_name(f"{place.name}.{suffix}").write_text(OTHERS_WORK[kind])
    known = {"HOME": str(home), "XDG_CACHE_HOME": str(Path.home() / ".cache")}
    code, printed = project.fab("local", "check", **known)
    assert (code, "Traceback" in printed, "Welcome" in printed) == (0, False, False), printed
    for invoke in ([BIN / "invoke"], [BIN / "inv"], [sys.executable, "-m", "invoke"]):
        argv = [*invoke, "validate", "--experiment", "no"]
        done = subprocess.run(argv, cwd=ROOT, env=os.environ | known, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


def test_variables_of_fabric_and_invoke_for_other_work_are_not_read(project: Project, tmp_path: Path) -> None:
    settings = tmp_path / "runtime.yaml"
    settings.write_text(OTHERS_WORK["yaml"])
    others = {"GATEWAY": "nobody@192.0.2.1", "TASKS_COLLECTION_NAME": "other", "PORT": "1", "USER": "x", "RUN_DRY": "1"}
    variables = {f"{name}_{key}": value for name in ("FABRIC", "INVOKE") for key, value in others.items()}
    code, printed = project.fab("local", "check", **variables, INVOKE_RUNTIME_CONFIG=str(settings))
    assert (code, "Traceback" in printed) == (0, False), printed


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("good.yaml", "run: {echo: true}\n", "experiment: expected one in results, got none"),
        ("broken.yaml", "gateway: [", "-f broken.yaml: expected a file of settings, got: "),
        ("settings.txt", "", "-f settings.txt: expected a file of settings, got: Config files of type 'txt'"),
        ("missing.yaml", None, "-f missing.yaml: expected a file of settings, got no such file"),
        ("raises.py", "1 / 0\n", "-f raises.py: expected a file of settings, got: division by zero"),
    ],
)
def test_a_settings_file_that_the_command_line_names_is_read(
    project: Project, name: str, content: str | None, said: str
) -> None:
    """It was asked for; one that cannot be read is not passed over."""
    if content is not None:
        (project.path / name).write_text(content)
    code, printed = project.fab("-f", name, "status")
    assert (code, printed.startswith(said), printed.count("\n")) == (2, True, 1), printed


STALE = (".#ares.yaml", "._ares.yaml", "ares.yaml~", "#ares.yaml#", ".ares.yaml.swp", "ares (copy).yaml",
         "ares.bak.yaml", "-ares.yaml", ".yaml", "ares.yaml.orig", "ares.yml")  # fmt: skip


@pytest.mark.parametrize("name", STALE)
def test_what_an_editor_or_a_copy_left_beside_the_cluster_files_is_no_cluster(project: Project, name: str) -> None:
    path = project.path / "configs/clusters" / name
    if name.startswith(".#"):
        path.symlink_to("somebody@somewhere.1234:5678")  # as Emacs marks a file that is being edited
    else:
        path.write_bytes(b"\x00\x05\x16\x07 not yaml")
    code, printed = project.fab("status")
    assert (code, printed.splitlines()[0][:45]) == (2, "experiment: expected one in results, got none"), printed
    code, printed = project.fab("--list")
    assert (code, "Traceback" in printed) == (0, False), printed


@pytest.mark.parametrize("error", ["KeyError", "OSError"])  # of Python up to 3.12, and after
def test_a_user_without_a_name_is_no_error(project: Project, error: str) -> None:
    """A container may run under a uid that no passwd file knows: only SSH to real hosts needs a name."""
    program = (
        "import pwd, runpy, sys\n"
        f"def nobody(uid): raise {error}(uid)\n"
        f"pwd.getpwuid = nobody; sys.argv[0] = {str(BIN / 'fab')!r}\n"
        f"from harness.invocation import fabric_settings; fabric_settings.begin()\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    named_by = ("USER", "LOGNAME", "LNAME", "USERNAME")
    known = {name: value for name, value in os.environ.items() if name not in named_by}

    def fab(*arguments: str, **more: str) -> tuple[int, str]:
        argv = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(argv, cwd=project.path, env=known | more, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    assert fab("local", "check") == (0, "")
    assert fab("status")[0] == 2
    code, said = fab("ares", "check")
    assert (code, said.count("\n")) == (2, 1)
    told = f"user: expected this machine to have a name for uid {os.getuid()}, got none; SSH needs one: export LOGNAME"
    assert said.startswith(told)


def test_our_own_programs_start_in_a_known_environment(
    monkeypatch: pytest.MonkeyPatch, node_settings: dict[str, str], tmp_path: Path
) -> None:
    """The embedded cluster and its services, from a folder that holds modules of the names of Python's own."""
    (tmp_path / "json.py").write_text(BROKEN)
    (tmp_path / "harness.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    for name, value in node_settings.items():
        monkeypatch.setenv(name, value)
    with localcluster.start(load_cluster(ROOT / "configs/clusters/local.yaml")) as running:
        assert set(running.services) == {"ntp", "chronotick"}
    assert {name for name in processes.known_environment() if name.startswith("PYTHON")} == {
        "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONNOUSERSITE", "PYTHONUTF8", "PYTHONDONTWRITEBYTECODE",
    }  # fmt: skip


def test_the_code_version_is_of_this_tree_inside_a_git_hook_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness import results

    expected = results.code_version(ROOT)
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_WORK_TREE", "/")
    assert results.code_version(ROOT) == expected
