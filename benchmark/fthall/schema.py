"""Files from strangers: plain YAML only, strict pydantic models, and one clear line for whatever is wrong."""

import typing
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from fthall.errors import FthallError

_UNSEEN = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
"""Unicode categories of what is not seen, or changes how other text is."""
_Model = TypeVar("_Model", bound=BaseModel)


class Strict(BaseModel):
    """A frozen record that refuses fields it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class _Plain(Composer, SafeConstructor):
    """Safe YAML without aliases or merges (what is read is what is written) and without a name twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):  # type: ignore[attr-defined] # of what it is mixed with
            raise yaml.YAMLError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.YAMLError("merges (<<) are not allowed")
        if len(set(names)) < len(names):
            raise yaml.YAMLError(f"{Counter(names).most_common(1)[0][0][:80]!r} stands twice in one mapping")
        return super().construct_mapping(node, deep)


class _PlainLoader(_Plain, yaml.SafeLoader):
    """All of it in Python."""


try:
    from yaml.cyaml import CParser  # type: ignore[attr-defined]
except ImportError:  # PyYAML was built without libyaml
    _QuickLoader: type[_Plain] = _PlainLoader
else:

    class _ByLibyaml(_Plain, CParser, Resolver):
        """The same with libyaml for a scanner, six times as fast; not its composer, whose depth nothing bounds."""

        def __init__(self, stream: str) -> None:
            CParser.__init__(self, stream)
            Composer.__init__(self)
            SafeConstructor.__init__(self)
            Resolver.__init__(self)

    _QuickLoader = _ByLibyaml


def _load(text: str) -> Any:
    """Plain YAML. What libyaml reads otherwise than PyYAML (tabs, marks, tags), and what it refuses, PyYAML reads."""
    if "!" not in text and text.replace("\n", "").isprintable():
        try:
            return yaml.load(text, _QuickLoader)  # type: ignore[arg-type] # noqa: S506 - a SafeConstructor
        except Exception:  # noqa: S110 - the same again, for the words that say what is wrong
            pass
    return yaml.load(text, _PlainLoader)  # noqa: S506 - a SafeLoader


def read_yaml(path: Path, absent: str) -> Any:
    """Read YAML: strings, numbers, dates, lists and mappings.

    Args:
        path: the file.
        absent: what to say if there is none.

    Raises:
        FthallError: missing or not readable as plain YAML.
    """
    try:
        return _load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FthallError(absent) from None
    except Exception as error:  # its constructors raise ValueError, KeyError and others for "2026-13-45", "!!bool x", …
        what = shown(" ".join(str(error).split())[:200])[:300]  # it quotes the file
        raise FthallError(f"{shown(path)} is not readable YAML: {what}") from None


def parse(model: type[_Model], value: object, path: Path) -> _Model:
    """Check a value against a model; ``path`` is only for the message.

    Raises:
        FthallError: a field is unknown, missing or out of range; the message names the first.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = shown(".".join(map(str, first["loc"])))[:200] or "top level"
        value = first["input"]
        if first["type"] == "extra_forbidden" and (known := _fields(model, first["loc"][:-1])):
            raise FthallError(f"{path}: {where}: no such field; known are {', '.join(known)}") from None
        whole = isinstance(value, dict | list)
        what = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]  # our own words, alone
        if not (whole and first["type"] == "value_error"):  # these say themselves what they found
            what += f" (found {f'a {type(value).__name__}' if whole else _brief(value)})"
        raise FthallError(f"{path}: {where}: {what}") from None


def _brief(value: object) -> str:
    """The beginning of a value as Python writes it."""
    try:
        return repr(value)[:80]
    except ValueError:  # YAML reads hexadecimal numbers of any length, Python writes none of more than 4,300 digits
        return "a number of thousands of digits"


def _fields(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """The fields a record may have at some place within another; none where that is not told by its types."""
    for part in place:
        if isinstance(part, str):
            field = model.model_fields.get(part)
            inner = [kind for kind in _kinds(field.annotation if field else None) if issubclass(kind, BaseModel)]
            if len(inner) != 1:
                return []
            model = inner[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _kinds(annotation: Any) -> Iterator[type]:
    """The classes an annotation is made of: those of ``list[Run]`` are ``list`` and ``Run``."""
    for kind in (annotation, typing.get_origin(annotation)):
        if isinstance(kind, type) and not typing.get_args(kind):
            yield kind
    for argument in typing.get_args(annotation):
        yield from _kinds(argument)


def readable(text: str) -> str:
    """A stranger's text as it is, if all of it can be seen.

    Raises:
        ValueError: it holds control characters, marks of direction or characters of no width.
    """
    for at, character in enumerate(text):
        if unicodedata.category(character) in _UNSEEN:
            raise ValueError(
                f"character {at + 1} is U+{ord(character):04X}, which cannot be seen; leave out control characters, "
                "marks of direction and characters of no width"
            )
    return text


def visible(text: str) -> str:
    """A model's answer for a page: what cannot be seen, or turns the direction of other text, becomes U+FFFD."""
    return "".join("\ufffd" if unicodedata.category(c) in _UNSEEN else c for c in text)


def shown(text: object) -> str:
    """A stranger's text in a message: as it is, or escaped if it would break the line."""
    return str(text) if str(text).isprintable() else repr(str(text))
