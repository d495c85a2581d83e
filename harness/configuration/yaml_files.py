"""Reading YAML into strict models: every problem, also a name that no file has, is one line: expected and got."""

from __future__ import annotations

import codecs
import difflib
import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from harness.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class Strict(BaseModel):
    """The strictness every model shares: no unknown key, no coercion, no NaN, no change afterwards."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)

_KINDS_OF_WORDS: Final = {"str", "constrained-str"}  # how pydantic calls a word, where a value may be of another kind
_MERGE: Final = "tag:yaml.org,2002:merge"
_OTHER_SUFFIXES: Final = (".yml", ".YAML", ".YML")

_EXPECTED = {
    "missing": "a value",
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "model_type": "a mapping of keys",
    "dict_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
    "finite_number": "a finite number",
    "greater_than": "a number > {gt:g}",
    "greater_than_equal": "a number >= {ge:g}",
    "less_than": "a number < {lt:g}",
    "less_than_equal": "a number <= {le:g}",
    "too_short": "at least {min_length} item(s)",
    "too_long": "at most {max_length} item(s)",
    "string_too_short": "a string that is not empty",
    "literal_error": "one of {expected}",
}


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice: the second would silently win. Anchors and merge keys are obeyed."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Read a mapping as it is written, before merge keys put others into it, and refuse duplicates."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key that is no plain word", problem_mark=key_node.start_mark)
            key = "<<" if key_node.tag == _MERGE else self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Read a value; one that looks like a date or a number and is none is named with its line."""
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from error


def problem(key: str, expected: str, got: object) -> PydanticCustomError:
    """Return the error of a rule that spans several keys; ``key`` is relative to the model that raises it."""
    return PydanticCustomError("rule", "{expected}", {"key": key, "expected": expected, "got": _shown(got)})


def read_text(path: Path) -> str:
    """Read a configuration file. Raises ConfigError if it is not there or not text."""
    try:
        if path.exists() and not path.is_dir() and not path.is_file():
            raise ConfigError(f"{path}: expected a regular file, got a device or a pipe; save it as a file")
        content = path.read_bytes()
    except FileNotFoundError:
        other = next((name for name in map(path.with_suffix, _OTHER_SUFFIXES) if name.exists()), None)
        instead = f"; there is {other}: rename it" if other else ""
        raise ConfigError(f"{path}: expected a configuration file, got none there{instead}") from None
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable text file, got: {error.strerror or error}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        line = content[: error.start].count(b"\n") + 1
        got = "UTF-16" if utf16 else f"the byte 0x{content[error.start]:02x} in line {line} (Latin-1?)"
        raise ConfigError(f"{path}: expected text in UTF-8, got {got}; save it as UTF-8") from None


def read_mapping(path: Path) -> dict[str, Any]:
    """Read one YAML file, which is to be a mapping. Raises ConfigError."""
    try:
        data = yaml.load(read_text(path), Loader=_UniqueKeyLoader)  # noqa: S506 - it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}" if mark else ""
        advice = "; indent with spaces" if "'\\t'" in str(error.problem) else ""
        raise ConfigError(f"{path}: expected YAML, got: {error.problem}{where}{advice}") from error
    except RecursionError:
        raise ConfigError(f"{path}: expected YAML, got values nested too deeply to read") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: expected YAML, got: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, got {_shown(data)}")
    return data


def load(path: Path, model: type[Model], **extra: object) -> Model:
    """Read and validate one YAML file; ``extra`` are values the file itself may not set.

    Raises ConfigError, one line per problem.
    """
    data = read_mapping(path)
    if taken := sorted(set(extra) & set(data)):
        raise ConfigError(f"{path}: {taken[0]}: expected no such key, got {_shown(data[taken[0]])}")
    try:
        return model.model_validate({**data, **extra})
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in _lines(error, model))) from None


def _lines(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    """Yield one line per faulty key. Where a value may be of several kinds, they are one alternative of that line.

    Pydantic then names each kind as if it was a key, and a fault of each. A mapping is told of its own keys' faults.
    """
    kinds = {kind.__name__ for kind in _models_in(model)} | _KINDS_OF_WORDS
    by_key: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for detail in error.errors():
        key = tuple(part for part in detail["loc"] if part not in kinds and not str(part).startswith("literal["))
        by_key.setdefault(key, []).append(detail)
    for key, details in by_key.items():
        within = any(other[: len(key)] == key and len(other) > len(key) for other in by_key)
        if len(details) == 1 and not (within and len(details[0]["loc"]) > len(key)):
            yield _line(details[0], key, model)
        elif not within:
            wanted = " or ".join(_wanted(detail) for detail in details)
            yield f"{'.'.join(map(str, key))}: expected {wanted}, got {_shown(details[0]['input'])}"


def _wanted(detail: ErrorDetails) -> str:
    expected = _EXPECTED.get(detail["type"])
    return expected.format(**detail.get("ctx", {})) if expected else detail["msg"]


def _line(detail: ErrorDetails, where: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """Return ``key: expected ..., got ...`` for one validation error of a model."""
    context = detail.get("ctx", {})
    key = ".".join(str(part) for part in where)
    if detail["type"] == "rule":
        key = ".".join(part for part in (key, context["key"]) if part)
        return f"{key}: expected {context['expected']}, got {context['got']}"
    if detail["type"] == "extra_forbidden":
        return f"{key}: expected no such key, got {_shown(detail['input'])}{_meant(where, model)}"
    got = "nothing" if detail["type"] == "missing" else _shown(detail["input"])
    return f"{key}: expected {_wanted(detail)}, got {got}"


def _meant(where: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """Return the key that an unknown one was meant to be, if one of those at its place is like it."""
    for part in where[:-1]:
        if isinstance(part, str):
            model = next(_models_in(model.model_fields[part].annotation)) if part in model.model_fields else model
    near = difflib.get_close_matches(str(where[-1]), list(model.model_fields), 1)
    return f"; did you mean {near[0]}?" if near else ""


def unknown_key(model: type[BaseModel], path: Sequence[str]) -> str | None:
    """Return the first key of a path that has no place in a model, with the one that was meant; None if all have."""
    models = [model]
    for place, part in enumerate(path):
        fields = {name: field for each in models for name, field in each.model_fields.items()}
        if part not in fields:
            near = difflib.get_close_matches(part, list(fields), 1)
            return ".".join(path[: place + 1]) + (f"; did you mean {near[0]}?" if near else "")
        models = list(_direct_models(fields[part].annotation))
    return None


def _direct_models(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models that a value of this annotation may be."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _direct_models(argument)


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models of an annotation, and those of their fields."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from _models_in(field.annotation)
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _shown(value: object) -> str:
    """Return a value as one short piece of a line."""
    text = "nothing" if value is None else value if isinstance(value, str) and not value.isprintable() else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:77] + "..."


# Invoke splits at dots, and takes a leading dash for an option.
CLUSTER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SUFFIX: Final = ".yaml"
_SUFFIXES_OF_OTHERS: Final = (".yml", ".YAML", ".YML", ".json", ".toml")


def almost_a_cluster(folder: Path, typed: str) -> str | None:
    """Return what to do about a word that is no cluster's name but was meant to be; None if no file is like it."""
    try:
        files = sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError as error:
        return f"{folder}: expected a folder of cluster files, got: {error.strerror}"
    for name in files:
        file = PurePath(name)
        if typed not in {file.stem, name}:
            continue
        if typed == name and file.suffix == _SUFFIX and CLUSTER_NAME.fullmatch(file.stem):
            return f"the cluster of {folder / name} is called {file.stem}"
        if file.suffix in _SUFFIXES_OF_OTHERS:
            return f"{folder / name}: expected a cluster file to end in {_SUFFIX}; rename it"
        if file.suffix == _SUFFIX and not CLUSTER_NAME.fullmatch(file.stem):
            return f"{folder / name}: expected a name of letters, digits, '_' and '-'; rename it"
    stems = {file.stem.casefold(): file.stem for file in map(PurePath, files) if file.suffix == _SUFFIX}
    near = difflib.get_close_matches(typed.casefold(), list(stems), 1, 0.8)
    return f"did you mean {stems[near[0]]}, of {folder / stems[near[0]]}{_SUFFIX}?" if near else None
