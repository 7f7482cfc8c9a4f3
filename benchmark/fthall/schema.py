"""Files from strangers: plain YAML only, strict pydantic models, and one clear line for whatever is wrong."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from fthall.errors import FthallError

_Model = TypeVar("_Model", bound=BaseModel)


class Strict(BaseModel):
    """A frozen record that refuses fields it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without aliases: what is read is no larger than its text."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)


def read_yaml(path: Path, absent: str) -> Any:
    """Read YAML: strings, numbers, dates, lists and mappings.

    Args:
        path: the file.
        absent: what to say if there is none.

    Raises:
        FthallError: missing or not readable as plain YAML.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _PlainLoader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise FthallError(absent) from None
    except Exception as error:  # its constructors raise ValueError, KeyError and others for "2026-13-45", "!!bool x", …
        raise FthallError(f"{shown(path)} is not readable YAML: {' '.join(str(error).split())[:200]}") from None


def parse(model: type[_Model], value: object, path: Path) -> _Model:
    """Check a value against a model; ``path`` is only for the message.

    Raises:
        FthallError: a field is unknown, missing or out of range; the message names the first.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = shown(".".join(map(str, first["loc"]))) or "top level"
        value = first["input"]
        whole = isinstance(value, dict | list)
        what = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]  # our own words, alone
        if not (whole and first["type"] == "value_error"):  # these say themselves what they found
            what += f" (found {f'a {type(value).__name__}' if whole else repr(value)[:80]})"
        raise FthallError(f"{path}: {where}: {what}") from None


def shown(text: object) -> str:
    """A stranger's text in a message: as it is, or escaped if it would break the line."""
    return str(text) if str(text).isprintable() else repr(str(text))
