"""A model in a GGUF file (llama.cpp's format), converted once to safetensors in the cache.

Its weights are dequantised to float32. What the file says of its tokenizer holds: which token begins a text, and
whether one does.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fthall.bases.special import settle
from fthall.errors import FthallError, one_line
from fthall.files import sha256
from fthall.paths import cache_dir

SUFFIX = ".gguf"
_MAGIC = b"GGUF"
_ROUNDING = 0.5
"""Of the norm of embeddings: what rounding to a few bits may change them by. Heads of their own are 1.4 apart."""
_BEGINNERS = {"llama3", "llama-v3", "llama-bpe"}
"""Byte-pair tokenizers of which llama.cpp adds the beginning token where the file says nothing."""


def found(spec: str, revision: str | None) -> Path | None:
    """The file a name means, fetched if it lies on the hub (``owner/name/file.gguf``); None for another name.

    Raises:
        FthallError: there is no such file.
    """
    if not spec.endswith(SUFFIX):
        return None
    path = Path(spec).expanduser()
    if path.is_file():
        return path.resolve()
    owner, _, rest = spec.partition("/")
    name, _, file = rest.partition("/")
    if spec.startswith((".", "/", "~")) or not file:
        raise FthallError(f"no file {spec}; give a GGUF file here, or one on the hub as owner/name/{Path(spec).name}")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(f"{owner}/{name}", file, revision=revision))
    except Exception as error:  # the hub's errors are of many kinds
        raise FthallError(f"cannot fetch {file} of {owner}/{name}: {one_line(error)}") from None


def converted(path: Path) -> Path:
    """A GGUF file as a folder of safetensors, converted on first use: ``<cache>/<name>-<first of its sha256>``.

    Raises:
        FthallError: it is none, or of a kind transformers cannot read, or the cache cannot be written.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise FthallError(f"{path} is no GGUF file (it does not begin with GGUF); fetch it again")
    return into_cache(f"{path.stem}-{sha256(path)[:12]}", lambda folder: convert(path, folder))


def into_cache(name: str, make: Callable[[Path], None]) -> Path:
    """A folder of the cache, made on first use, whole or not at all.

    Raises:
        FthallError: the cache cannot be written.
    """
    folder = cache_dir() / name
    if (folder / "config.json").is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder.parent))
    except OSError as error:
        raise FthallError(
            f"cannot write in {folder.parent}: {error.strerror}; set FTHALL_CACHE to another folder"
        ) from None
    try:
        make(temporary)
        temporary.chmod(0o755)
        temporary.replace(folder)
    except OSError as error:
        if (folder / "config.json").is_file():  # another process converted it meanwhile
            return folder
        raise FthallError(f"cannot write {folder}: {error}; set FTHALL_CACHE to a folder with more room") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def convert(path: Path, folder: Path, check: Callable[[Any], None] = lambda tokenizer: None) -> None:
    """Write a GGUF file's model and tokenizer as transformers saves them.

    Args:
        path: the file.
        folder: written into.
        check: told the tokenizer before anything is written.

    Raises:
        FthallError: transformers cannot read it.
    """
    import torch
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        read = GGUFReader(path)
    except (ValueError, IndexError, OSError) as error:
        raise FthallError(f"{path} is no whole GGUF file: {one_line(error)}; fetch it again") from None
    said = {name: field.contents() for name, field in read.fields.items() if len(field.data) == 1}
    kind, parts = said.get("general.architecture"), int(said.get("split.count", 1))
    if said.get("general.type", "model") != "model" or parts > 1:
        what = f"one of {parts} parts" if parts > 1 else f"a {said['general.type']}, not a model"
        raise FthallError(f"{path} is {what}; give a file with a whole model")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        tokenizer = _within(tokenizer, len(read.fields["tokenizer.ggml.tokens"].data))
        check(tokenizer)
        model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    except FthallError:
        raise
    except Exception as error:  # of many kinds, and an unknown architecture is one of them
        raise FthallError(
            f"transformers cannot read {path} (architecture {kind}): {one_line(error)}; give the model's safetensors"
        ) from None
    config = model.config
    # transformers 5.17 takes the file's first special token for the one that ends a text; the weights' config is right.
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        number = getattr(config, f"{name}_id", None)
        if isinstance(number, int) and 0 <= number < len(tokenizer):
            setattr(tokenizer, name, tokenizer.convert_ids_to_tokens(number))
    spm = said.get("tokenizer.ggml.model") == "llama" or said.get("tokenizer.ggml.pre") in _BEGINNERS
    begins = bool(said.get("tokenizer.ggml.add_bos_token", spm)) and tokenizer.bos_token is not None
    settle(tokenizer, add_bos=begins, name=path.name)
    _tie(model, {tensor.name: int(tensor.n_bytes) for tensor in read.tensors})
    del config.quantization_config  # transformers refuses to save a model that has one
    model.hf_quantizer = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tie(model: Any, sizes: Mapping[str, int]) -> None:
    """Tie the head to the embeddings where the file stores both, and they differ by rounding alone.

    Of a model that ties them a file may hold two copies, rounded to other numbers of bits; the finer one stays.
    """
    import torch

    embeddings, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    if head is embeddings or head.shape != embeddings.shape:
        return
    with torch.no_grad():
        if (head - embeddings).norm() > _ROUNDING * embeddings.norm():
            return
        if sizes.get("output.weight", 0) > sizes.get("token_embd.weight", 0):
            embeddings.copy_(head)
    model.config.tie_word_embeddings = True
    model.tie_weights()


def _within(tokenizer: Any, size: int) -> Any:
    """A tokenizer without the tokens transformers makes up where the file lacks those it expects of such a kind."""
    if len(tokenizer) <= size:
        return tokenizer
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["id"] < size]
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(state)))
