"""The configuration: read, and checked against its schema, with errors of one line that name the place or the key."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError, best_match

from pipeline import codec
from pipeline.stage import UserError

# JSON Schema takes 3.0 for a whole number; a stage's command line does not.
WHOLE = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
Validator = validators.extend(Draft202012Validator, type_checker=WHOLE)


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses a key that stands twice in a mapping: the first would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key_node.value!r} stands twice", problem_mark=key_node.start_mark
                    )
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def read_user(path: str | Path) -> dict[str, Any]:
    """What a user's file overrides: nothing if there is no file, or only comments in it.

    Raises UserError that names the file, and line and column where it is not YAML in UTF-8.
    """
    try:
        raw = Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        if Path(path).is_symlink():
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        return {}
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        found = yaml.load(raw.decode(), _Loader)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: {_position(raw[: error.start].decode())}: not UTF-8") from None
    except yaml.reader.ReaderError as error:
        raise UserError(f"{path}: {_position(raw.decode()[: error.position])}: {error.reason}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UserError(f"{path}: {place}{error.problem}") from None
    except (ValueError, RecursionError) as error:  # a 13th month, a thousand brackets
        raise UserError(f"{path}: {error}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UserError(f"{path}: must hold `key: value` lines, not a {type(found).__name__}")
    return found


def _position(before: str) -> str:
    """Where in a file the text `before` ends."""
    return f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"


def check(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Check a configuration against the schema, and what a schema cannot say. Raises UserError that names the key."""
    error = best_match(Validator(schema).iter_errors(config))
    if error is not None:
        raise UserError(_explain(error))
    for table in config["tables"]:
        for part in parts(table):
            if part not in config["embeddings"]:
                known = ", ".join(config["embeddings"])
                raise UserError(f"config: tables: {table!r}: there is no embedding {part!r}; there are {known}")
    for name, embedding in config["embeddings"].items():
        within = embedding.get("within")
        if within is not None and (within not in config["embeddings"] or within == name):
            raise UserError(f"config: embeddings.{name}.within: {within!r} is no other embedding of the config")
    _check_circles(config["embeddings"])
    if not any(config["representations"].values()):
        raise UserError("config: representations: every list is empty, so there is nothing to measure")
    modules = codec.modules()
    for section in ("representations", "peers"):
        for module, names in config[section].items():
            if module not in modules:
                raise UserError(f"config: {section}: unknown key {module!r}; {_hint(module, modules)}")
            for name in names:
                _check_representation(section, module, name)


def _check_circles(embeddings: Mapping[str, Any]) -> None:
    """No embedding may wait for itself. Raises UserError that names all on the way."""
    for name in embeddings:
        way = [name]
        while (within := embeddings[way[-1]].get("within")) is not None and within not in way:
            way.append(within)
        if within == name:
            raise UserError(f"config: embeddings.{name}.within: goes in a circle: {' -> '.join([*way, name])}")


def _check_representation(section: str, module: str, name: str) -> None:
    try:
        codec.build(module, name, 0)
    except UserError as error:
        raise UserError(f"config: {section}.{module}: {str(error).removeprefix('representations: ')}") from None
    except ImportError as error:  # faiss comes with the extra `cpu` or `gpu`
        raise UserError(f"config: {section}.{module}: not installed ({error}); an empty list leaves it out") from None


def parts(table: str) -> list[str]:
    """The embeddings of a table's name: `a+b` is the concatenation of a and b. Raises UserError for a part twice."""
    found = table.split("+")
    if len(set(found)) < len(found):
        raise UserError(f"config: tables: {table!r} holds an embedding twice")
    return found


def _hint(unknown: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(unknown, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"


def _plain(value: object) -> str:
    return "null" if value is None else str(value)


def _written(value: object) -> str:
    return "null" if value is None else repr(value)


def _explain(error: ValidationError) -> str:
    schema: Any = error.schema
    instance: Any = error.instance
    wanted: Any = error.validator_value
    where = ".".join(str(step) for step in error.absolute_path)
    place = f"config: {where}: " if where else "config: "
    if error.validator == "additionalProperties":
        unknown = next(str(key) for key in instance if key not in schema["properties"])
        return f"{place}unknown key {unknown!r}; {_hint(unknown, schema['properties'])}"
    if error.validator == "required":
        missing = next(key for key in wanted if key not in instance)
        return f"{place}key {missing!r} is missing"
    if error.validator == "enum":
        return f"{place}{_written(instance)} is not one of {', '.join(map(_plain, wanted))}"
    if error.validator == "type":
        types = " or ".join([wanted] if isinstance(wanted, str) else wanted)
        return f"{place}{_written(instance)} is not of type {types}"
    if error.validator == "minItems":
        return f"{place}{instance!r} has {len(instance)} of at least {wanted} items"
    return f"{place}{error.message}"
