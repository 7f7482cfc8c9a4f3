"""The checkpoint behind a submission: named so exactly that anybody can fetch the very same bytes, and read with care.

Only headers are read here, never a weight: a safetensors file begins with the names, types and shapes of its tensors
(https://github.com/huggingface/safetensors, *Format*), which is enough to tell whether it can be what the card says and
whether it can have come from the track's base.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fthall.errors import FthallError
from fthall.files import each_once, read_json, sha256
from fthall.paths import data_dir
from fthall.schema import Strict, shown

ADAPTER = "adapter_config.json"
DELTA = "delta.json"
"""A file of this name (its content is free) says that the tensors beside it are to be added to the base's."""
MAX_HEADER_BYTES = 25_000_000
MAX_RANK = 8
"""Dimensions of a tensor; the product of millions of them would take hours."""
LOADED = (".safetensors", ".json", ".txt", ".model")
"""How files end that loading a checkpoint reads: weights, configuration, tokenizer."""
_RUNS = (".py", ".pyc", ".so", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack", ".joblib", ".npy")
"""Code, and formats that may bring some: a pickle runs what it likes as it is read."""
_HIDDEN_CODE = ("auto_map", "trust_remote_code")
_BITS = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8}
_BITS |= {f"{kind}{bits}": bits for kind in "IU" for bits in (8, 16, 32, 64)}
_BITS |= {"F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64}
_LORA = re.compile(
    r"base_model\.model\.(?P<module>.+?)\."
    r"(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector|weight|bias)(?:\.weight)?"
)
_TIED = "lm_head.weight"
"""Stored or not where it is the embedding again."""


class PinnedFile(Strict):
    """One file of a checkpoint."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")]
    """In the repository's or the address's folder; no folders within it."""
    bytes: Annotated[int, Field(ge=0, le=2 * 10**12)]
    """Its size."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of its bytes."""

    @model_validator(mode="after")
    def _is_read_only(self) -> Self:
        if not self.name.endswith(LOADED):
            raise ValueError(f"{self.name} is no file that is loaded; pin only {', '.join(LOADED)}")
        return self


class Pinned(Strict):
    """``checkpoint`` in ``submission.yaml``: where the weights are, to the byte. Without it nobody can verify them."""

    kind: Literal["full", "adapter", "delta"]
    """All weights, a PEFT adapter, or tensors to be added to those of the base."""
    repository: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = None
    """Hugging Face id, with ``revision``; or else ``url``."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """A commit, in full: branches and tags move."""
    url: Annotated[str, Field(pattern=r"^https://[!#-&(-;=?-\[\]_a-z~]+/$", max_length=300)] | None = None
    """A folder on the web, with its last slash; files lie in it under their names."""
    files: Annotated[tuple[PinnedFile, ...], Field(min_length=2, max_length=500)]
    """Every file that loading it reads, in order of names."""
    architecture: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,80}$")]
    """As its ``config.json`` says (``LlamaForCausalLM``); of an adapter or a delta, the base's."""
    parameters: Annotated[int, Field(ge=1, le=10**13)]
    """In its files, counted from their headers."""
    vocabulary: Annotated[int, Field(ge=1, le=10**8)]
    """Rows of the input embedding; of an adapter or a delta without one, the base's."""

    @model_validator(mode="after")
    def _can_be_fetched(self) -> Self:
        if (self.repository is None) == (self.url is None) or (self.repository is None) != (self.revision is None):
            raise ValueError("give repository and revision (40 hex digits), or else url")
        names = [file.name for file in self.files]
        if names != sorted(set(names)):
            raise ValueError("files must be in order of their names, each once")
        if not any(name.endswith(".safetensors") for name in names):
            raise ValueError("no .safetensors file among files, the only format of weights that is loaded")
        for kind, needed in (("adapter", ADAPTER), ("delta", DELTA), ("full", "config.json")):
            if (needed in names) != (self.kind == kind) and (kind != "full" or self.kind == "full"):
                raise ValueError(f"{needed} is among the files of kind {kind} and of no other; this one is {self.kind}")
        return self


@dataclass(frozen=True, slots=True)
class Header:
    """What the files of a checkpoint say of themselves."""

    architecture: str | None
    """None of an adapter or a delta."""
    tensors: Mapping[str, tuple[int, ...]]
    """Shapes by name."""

    @property
    def parameters(self) -> int:
        """All numbers in it."""
        return sum(map(math.prod, self.tensors.values()))

    @property
    def vocabulary(self) -> int | None:
        """Rows of the input embedding; None if it has none."""
        found = [shape for name, shape in self.tensors.items() if _is_embedding(name)]
        return found[0][0] if found else None


def _is_embedding(name: str) -> bool:
    return name.endswith(("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight"))


def base_header(weights_sha256: str) -> Header | None:
    """The header of a shipped track's base (``tasks/bases``); None where it is not known."""
    for path in sorted((data_dir("tasks") / "bases").glob("*.json")):
        if weights_sha256 not in path.read_text(encoding="utf-8"):  # reading JSON takes a hundred times as long
            continue
        found = read_json(path)
        if found["weights_sha256"] == weights_sha256:
            return Header(found["architecture"], {name: tuple(shape) for name, shape in found["tensors"].items()})
    return None


def read_header(folder: Path) -> Header:
    """The header of a checkpoint's folder; no tensor is loaded.

    Raises:
        FthallError: it holds code or a format that can bring some, asks for remote code, or its files are damaged.
    """
    tensors: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.endswith(LOADED) and not path.is_file():
            raise FthallError(f"{shown(path)} is not a plain file")
        if path.name.endswith(_RUNS):
            raise FthallError(
                f"{shown(path)} is code, or a format that can bring some; a checkpoint is safetensors, JSON and text: "
                "delete it from the folder (training does not need to be resumed from what is handed in)"
            )
        if path.name.endswith(".json"):
            found = read_json(path)
            if hidden := [key for key in _HIDDEN_CODE if isinstance(found, dict) and key in found]:
                raise FthallError(f"{shown(path)} has {hidden[0]}: it asks for code of its own, which is never run")
        if path.suffix == ".safetensors":
            for name, shape in _tensors(path).items():
                if name in tensors:
                    raise FthallError(f"{shown(path)}: the tensor {shown(name)[:200]} is in another file, too")
                tensors[name] = shape
    if not tensors:
        raise FthallError(f"{shown(folder)} holds no .safetensors weights, the only format fthall loads")
    if any((folder / name).is_file() for name in (ADAPTER, DELTA)):
        return Header(None, tensors)
    config = read_json(folder / "config.json")
    named = config.get("architectures") if isinstance(config, dict) else None
    if not isinstance(named, list) or len(named) != 1 or not re.fullmatch(r"\w{1,80}", str(named[0]), re.ASCII):
        raise FthallError(f"{shown(folder / 'config.json')} must name one of architectures, as save_pretrained does")
    return Header(str(named[0]), tensors)


def _tensors(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes by name; types and places are checked against the file's size."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise FthallError(f"{shown(path)} is no safetensors file: its header would be {length} bytes long")
        text = file.read(length)
    try:
        header: Any = json.loads(text.decode("utf-8"), object_pairs_hook=each_once)
        header.pop("__metadata__", None)
        spans, shapes = [], {}
        for name, told in header.items():
            shape, (start, end) = tuple(told["shape"]), told["data_offsets"]
            if len(shape) > MAX_RANK or not all(
                type(part) is int and 0 <= part < 2**40 for part in (*shape, start, end)
            ):
                raise ValueError(f"{name[:80]!r} has a shape or place that is no count")
            if math.prod(shape) * _BITS[told["dtype"]] != 8 * (end - start):
                raise ValueError(f"{name[:80]!r} has {end - start} bytes, not those of its shape and type")
            spans.append((start, end))
            shapes[name] = shape
        spans.sort()
        if [start for start, _ in spans] != [0, *(end for _, end in spans)][:-1] or (spans or [(0, 0)])[-1][1] != (
            size - 8 - length
        ):
            raise ValueError("its tensors do not fill it, one after the other")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FthallError(
            f"{shown(path)} is no safetensors file: {shown(' '.join(str(error).split())[:200])}"
        ) from None
    return shapes


def pin(
    folder: Path,
    base: Header | None,
    *,
    repository: str | None = None,
    revision: str | None = None,
    url: str | None = None,
) -> dict[str, Any]:
    """What a card says of a checkpoint's folder, as plain data.

    Args:
        folder: with the files as they lie where they can be fetched from.
        base: header of the track's base, where it is known; an adapter or delta is nothing without it.
        repository: Hugging Face id, with its revision.
        revision: the commit, 40 hex digits.
        url: or else an address of a folder.

    Raises:
        FthallError: as :func:`read_header`.
    """
    header = read_header(folder)
    kind = next((kind for kind, name in (("adapter", ADAPTER), ("delta", DELTA)) if (folder / name).is_file()), "full")
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name.endswith(LOADED)]
    where = {"repository": repository, "revision": revision} if repository else {"url": url}
    return {
        "kind": kind,
        **where,
        "files": [{"name": file.name, "bytes": file.stat().st_size, "sha256": sha256(file)} for file in files],
        "architecture": header.architecture or (base.architecture if base else None) or "unknown",
        "parameters": header.parameters,
        "vocabulary": header.vocabulary or (base.vocabulary if base else None) or 1,
    }


def check(said: Pinned, base: Header | None, where: str) -> None:
    """That what a card says of its checkpoint can have come from the base; no file of it is needed.

    Raises:
        FthallError: another architecture, or other counts than the base's.
    """
    if base is None:
        return
    if said.architecture != base.architecture:
        raise FthallError(f"{where}: checkpoint.architecture is {said.architecture}, the base's {base.architecture}")
    assert base.vocabulary is not None
    if said.vocabulary < base.vocabulary:
        raise FthallError(
            f"{where}: checkpoint.vocabulary is {said.vocabulary}, the base's {base.vocabulary}; tokens may be added, "
            "not taken away"
        )
    if said.kind != "full":
        return
    width = next(shape[1] for name, shape in base.tensors.items() if _is_embedding(name))
    more = (said.vocabulary - base.vocabulary) * width
    head = math.prod(base.tensors.get(_TIED, (base.vocabulary, width)))
    without = base.parameters - (head if _TIED in base.tensors else 0)
    if said.parameters not in {without + more, without + head + 2 * more}:
        raise FthallError(
            f"{where}: checkpoint.parameters is {said.parameters:,}, the base has {base.parameters:,}"
            + (f" and {more:,} more for the tokens that were added" if more else "")
        )


def check_files(said: Pinned, folder: Path, base: Header | None) -> None:
    """That a folder holds the very checkpoint a card pins, and that it fits the base. Headers are read, no weights.

    Raises:
        FthallError: a file is missing, has another size or hash, or the headers say otherwise.
    """
    for file in said.files:
        path = folder / file.name
        if not path.is_file():
            raise FthallError(f"{shown(folder)} lacks {file.name}, which the card pins")
        if (size := path.stat().st_size) != file.bytes:
            raise FthallError(f"{shown(path)} has {size:,} bytes, the card says {file.bytes:,}")
        if sha256(path) != file.sha256:
            raise FthallError(f"{shown(path)} has another sha256 than the card says")
    extra = {path.name for path in folder.iterdir() if path.name.endswith(LOADED)} - {file.name for file in said.files}
    if extra:
        raise FthallError(
            f"{shown(folder)} holds {shown(min(extra))}, which loading would read and the card does not pin"
        )
    header = read_header(folder)
    for name, told, found in (
        ("parameters", said.parameters, header.parameters),
        ("vocabulary", said.vocabulary, header.vocabulary or said.vocabulary),
        ("architecture", said.architecture, header.architecture or said.architecture),
    ):
        if told != found:
            raise FthallError(f"{shown(folder)}: its headers give {name} {found}, the card says {told}")
    if base is not None:
        fits(header, base, said.kind, str(folder))


def fits(header: Header, base: Header, kind: str, where: str) -> None:
    """That tensors are those of the base, go into them, or can be added to them.

    Raises:
        FthallError: with the first that is or does not.
    """
    for name, shape in header.tensors.items():
        if kind == "adapter":
            _fits_adapter(name, shape, base, where)
            continue
        own = base.tensors.get(name)
        if own is None and name == _TIED:
            own = next(shape for key, shape in base.tensors.items() if _is_embedding(key))
        grown = _is_embedding(name) or name == _TIED
        if (
            own is None
            or own[1:] != shape[1:]
            or (shape[0] < own[0] if grown and kind == "full" else shape[:1] != own[:1])
        ):
            raise FthallError(f"{shown(where)}: {shown(name)[:200]} has shape {list(shape)}, in the base {_told(own)}")
    if kind == "full" and (lacking := sorted(base.tensors.keys() - header.tensors.keys() - {_TIED})):
        raise FthallError(f"{shown(where)} lacks {lacking[0]} and {len(lacking) - 1} more tensors of the base")


def _fits_adapter(name: str, shape: tuple[int, ...], base: Header, where: str) -> None:
    found = _LORA.fullmatch(name)
    own = base.tensors.get(f"{found['module']}.weight") if found else None
    if found and own is None and found["module"] == "lm_head":
        own = next(shape for key, shape in base.tensors.items() if _is_embedding(key))
    if not found or own is None:
        raise FthallError(f"{shown(where)}: {shown(name)[:200]} goes into no weight of the base")
    outward, inward = own[0], own[-1]
    right = {
        "lora_A": shape[1:] == (inward,),
        "lora_B": shape[:1] == (outward,),
        "lora_embedding_A": shape[1:] == (outward,),
        "lora_embedding_B": shape[:1] == (inward,),
        "lora_magnitude_vector": shape in ((outward,), (inward,)),
        "weight": shape[1:] == own[1:],
        "bias": shape == (outward,),
    }[found["part"]]
    if not right:
        raise FthallError(f"{shown(where)}: {shown(name)} has shape {list(shape)}, its weight in the base {_told(own)}")


def _told(shape: tuple[int, ...] | None) -> str:
    return "there is none" if shape is None else f"it is {list(shape)}"
