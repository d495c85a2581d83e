"""Describe an archive as an RO-Crate 1.2 (https://w3id.org/ro/crate/1.2): what ran, with which code, and every file.

The library would put the time of day and random identifiers in: dates here are the manifest's, identifiers are made of
names, and the text is sorted, so that the same run is described by the same bytes.
"""

from __future__ import annotations

import json
import shlex
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from analysis.archive import names
from node_agent.contract import records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocrate.rocrate import ROCrate

    from analysis.archive.contents import ArchivedRun, Contents

VERSION: Final = "1.2"
SOFTWARE: Final = "chronotick-harness"
MEDIA_TYPES: Final = {
    ".csv": "text/csv", ".json": "application/json", ".yaml": "application/yaml", ".md": "text/markdown",
    ".tex": "application/x-tex", ".png": "image/png", ".pdf": "application/pdf", ".svg": "image/svg+xml",
    ".html": "text/html", ".parquet": "application/vnd.apache.parquet", ".log": "text/plain",
}  # fmt: skip
SUMS_ROLE: Final = "SHA-256 of every other file: sha256sum -c"


def describe(contents: Contents, sized: Mapping[str, tuple[str, int]], licence: str | None) -> str:
    """Return the text of ``ro-crate-metadata.json``. ``sized``: SHA-256 and size in bytes of each item, by name."""
    from rocrate.model.contextentity import ContextEntity  # noqa: PLC0415 - takes most of a second
    from rocrate.model.dataset import Dataset  # noqa: PLC0415 - together with it
    from rocrate.model.file import File  # noqa: PLC0415 - together with it
    from rocrate.rocrate import ROCrate  # noqa: PLC0415 - together with it

    crate = ROCrate(version=VERSION)
    root = crate.root_dataset
    kind = "Sweep" if contents.is_sweep else "Run"
    root["name"] = f"{kind} {contents.name} of the bounded-clock experiment"
    root["description"] = _description(contents)
    root["datePublished"] = max(run.manifest.created_utc for run in contents.runs)
    if licence is not None:
        crate.add(ContextEntity(crate, licence, properties={"@type": "CreativeWork", "name": licence}))
        root["license"] = {"@id": licence}
    sums = {"name": names.SUMS_FILE, "description": SUMS_ROLE, "encodingFormat": "text/plain"}
    crate.add(File(crate, None, names.SUMS_FILE, properties=sums))
    folders: dict[str, list[dict[str, str]]] = {}
    for item in contents.items:
        sha256, size = sized[item.name]
        path = PurePosixPath(item.name)
        properties = {
            "name": path.name,
            "description": item.role,
            "contentSize": str(size),
            "sha256": sha256,
            "encodingFormat": MEDIA_TYPES.get(path.suffix, "text/plain"),
        }
        file = crate.add(File(crate, None, item.name, properties=properties))
        folders.setdefault(path.parts[1], []).append({"@id": file.id})
    of_run = {run.name: run for run in contents.runs}
    for folder, files in sorted(folders.items()):
        run = of_run.get(folder)
        described = {"name": folder, "description": _folder_description(run), "hasPart": files}
        dataset = crate.add(Dataset(crate, None, f"{names.RESULTS}/{folder}/", properties=described))
        if run is not None:
            _add_action(crate, run, dataset.id)
    data = crate.metadata.generate()
    data["@graph"].sort(key=lambda entity: entity["@id"])
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _description(contents: Contents) -> str:
    runs = f"{len(contents.runs)} runs" if contents.is_sweep else "One run"
    return (
        f"{runs}: raw files of every node, configuration, code version, and where it was analysed statistics, "
        f"figures and report. {names.SUMS_FILE} has the SHA-256 of every other file."
    )


def _folder_description(run: ArchivedRun | None) -> str:
    if run is None:
        return "All runs of the sweep together"
    manifest = run.manifest
    return (
        f"Run folder: {manifest.phase}, outcome {manifest.outcome}, on {manifest.cluster}, {len(manifest.nodes)} nodes"
    )


def _add_action(crate: ROCrate, run: ArchivedRun, folder: str) -> None:
    """Say of a run when it was made, by which command and by which code."""
    from rocrate.model.contextentity import ContextEntity  # noqa: PLC0415 - it is there already

    manifest = run.manifest
    code = manifest.code_version
    software = f"#software-{code.get('source_sha256') or code.get('git') or 'unknown'}"
    if crate.get(software) is None:
        properties: dict[str, Any] = {
            "@type": "SoftwareApplication",
            "name": SOFTWARE,
            "softwareVersion": software_version(code),
            "description": ", ".join(f"{key}: {value}" for key, value in sorted(code.items()) if value is not None),
        }
        crate.add(ContextEntity(crate, software, properties=properties))
    action = {
        "@type": "CreateAction",
        "name": shlex.join(manifest.argv) or f"{manifest.cluster}: {manifest.experiment}",
        "identifier": manifest.run_id,
        "startTime": manifest.created_utc,
        "instrument": {"@id": software},
        "result": {"@id": folder},
    }
    if manifest.outcome is not None:
        ended = "Failed" if manifest.outcome == records.RUN_FAILED else "Completed"
        action["actionStatus"] = {"@id": f"http://schema.org/{ended}ActionStatus"}
    crate.add(ContextEntity(crate, f"#run-{quote(run.name)}", properties=action))


def software_version(code: Mapping[str, Any]) -> str:
    """Return which code made a run: the commit and whether it was changed, else the hash of the sources, as known."""
    commit, source = code.get("git"), code.get("source_sha256")
    if commit and commit != "unknown":
        return f"git {commit}{' with changes' if code.get('dirty') else ''}"
    return f"source sha256 {source}" if source else "unknown"
