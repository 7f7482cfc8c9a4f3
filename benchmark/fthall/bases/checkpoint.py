"""Find, check and load a checkpoint: the embedded base, a folder, a Hugging Face repository, or an adapter of one."""

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fthall.bases import adapter, embedded, gguf, machine, special
from fthall.bases.embedded import EMBEDDED
from fthall.errors import FthallError, one_line
from fthall.files import read_json

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a model's weights are: what transformers' ``from_pretrained`` takes."""

    location: str
    """A local folder or a Hugging Face repository id."""
    revision: str | None = None
    """Commit, tag or branch of a repository; None for a folder."""
    adapter: str | None = None
    """Folder of a PEFT adapter that goes into the model; location and revision are then those of its base."""
    add_bos: bool | None = None
    """Whether texts begin with the beginning-of-sequence token; None: with what the tokenizer adds by itself."""

    @property
    def base(self) -> "Checkpoint":
        """What the adapter goes into; itself where there is none."""
        return replace(self, adapter=None)


def find(spec: str, revision: str | None = None, *, adapter_base: str | None = None) -> Checkpoint:
    """The checkpoint a name means.

    The embedded base, a folder, a repository id, a GGUF file here or on the hub (``owner/name/file.gguf``; converted on
    first use), or an adapter with the base it names.

    Args:
        spec: the name.
        revision: commit, tag or branch of a repository.
        adapter_base: of an adapter, where its base is, if not where its configuration says.

    Raises:
        FthallError: the folder is no checkpoint, the embedded base is missing or altered, or an adapter's base is.
    """
    whole = spec == EMBEDDED or spec.endswith(gguf.SUFFIX)
    folder = None if whole else adapter.folder_of(spec, revision)
    if adapter_base and not folder:
        raise FthallError(f"{spec} is no adapter (no {adapter.CONFIG} in it); leave out --adapter-base")
    if spec == EMBEDDED:
        return Checkpoint(str(embedded.converted()))
    if file := gguf.found(spec, revision):
        return Checkpoint(str(gguf.converted(file)))
    if folder:
        try:
            base = find(adapter_base) if adapter_base else find(*adapter.base_of(folder))
        except FthallError as error:
            elsewhere = "" if adapter_base else "; if it is elsewhere, type --adapter-base BASE"
            raise FthallError(f"the base of the adapter {spec}: {error}{elsewhere}") from None
        return replace(base, adapter=str(folder))
    path = Path(spec).expanduser()
    if path.exists() or spec.startswith((".", "/", "~")) or spec.count("/") > 1:
        if not (path / "config.json").is_file():
            raise FthallError(
                f"{spec} is no checkpoint (no config.json in it); give a folder written by save_pretrained, "
                f"a GGUF file, a Hugging Face id such as Qwen/Qwen2.5-1.5B, or {EMBEDDED}"
            )
        if not list(path.glob("*.safetensors")):
            raise FthallError(f"{spec} holds no .safetensors weights, the only format fthall loads")
        _whole(path)
        return Checkpoint(str(path.resolve()))
    if "/" not in spec:
        raise FthallError(
            f"no model {spec!r}: not a folder here, not a Hugging Face id (owner/name), not the embedded {EMBEDDED}"
        )
    return Checkpoint(spec, revision)


def _whole(folder: Path) -> None:
    """Whether all files of weights are there that its index names.

    Raises:
        FthallError: one is missing.
    """
    if not (index := folder / "model.safetensors.index.json").is_file():
        return
    listed = read_json(index)
    files = set(listed.get("weight_map", {}).values()) if isinstance(listed, dict) else set()
    if missing := sorted(file for file in files if not (folder / str(file)).is_file()):
        raise FthallError(
            f"{folder} lacks {missing[0]}, one of the {len(files)} files its weights are in; copy all of them there"
        )


def for_track(checkpoint: Checkpoint, base: Mapping[str, str], track: str) -> Checkpoint:
    """A checkpoint as a track asks it: an adapter is of its base, and texts begin with the same special tokens.

    Args:
        checkpoint: from :func:`find`.
        base: of the track, as its release has it: ``name``, ``weights_sha256``, and what texts begin with
            (``special_tokens``; releases of old do not say).
        track: its name.

    Raises:
        FthallError: it is an adapter of another base, or its tokenizer cannot begin texts like that.
    """
    if checkpoint.adapter and weights_sha256(checkpoint.base) != base["weights_sha256"]:
        raise FthallError(
            f"{checkpoint.adapter} is an adapter of {checkpoint.location}, whose weights are not those of "
            f"{base['name']}, the base of the track {track}; choose the track of its base, or make one: fthall slick"
        )
    asked = base.get("special_tokens")
    if asked is None:
        return checkpoint
    tokenizer = load_tokenizer(checkpoint)
    own = " ".join(special.added(tokenizer))
    if own == asked:
        return checkpoint
    here = f"{checkpoint.adapter or checkpoint.location}: its tokenizer begins texts with {own or 'no special token'}"
    if asked not in ("", tokenizer.bos_token):
        raise FthallError(f"{here}, {track} asks with {asked}; save the tokenizer of {base['name']} beside it")
    _LOG.warning("%s; it is asked with %s, as all of %s is", here, asked or "none", track)
    return replace(checkpoint, add_bos=bool(asked))


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """Load a checkpoint's tokenizer; never remote code.

    Raises:
        FthallError: it has none, it cannot be loaded, or it cannot be asked with (:func:`fthall.bases.special.settle`).
    """
    from transformers import AutoTokenizer

    add_bos = checkpoint.add_bos
    if checkpoint.adapter and (Path(checkpoint.adapter) / "tokenizer_config.json").is_file():
        checkpoint = Checkpoint(checkpoint.adapter)
    options: dict[str, Any] = {"revision": checkpoint.revision} if checkpoint.revision else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.location, trust_remote_code=False, **options)
    except Exception as error:  # transformers raises many kinds; whichever it is, the user needs one line
        if (here := Path(checkpoint.location)).is_dir() and not [*here.glob("*token*"), *here.glob("vocab*")]:
            raise FthallError(
                f"{here} has no tokenizer; save the one it was trained with beside the weights, by save_pretrained"
            ) from None
        raise FthallError(f"cannot load {checkpoint.location}: {one_line(error)}") from None
    return special.settle(tokenizer, add_bos=add_bos, name=checkpoint.location)


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
        FthallError: it cannot be loaded, has no tokenizer, or one that does not fit its vocabulary; or it is quantised
            and to be trained.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    # Of many processes (accelerate launch) each has a GPU of its own.
    device = device or (f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu")
    on_cpu = device == "cpu"
    options: dict[str, Any] = {"revision": checkpoint.revision} if checkpoint.revision else {}
    tokenizer = load_tokenizer(checkpoint)
    try:
        config = AutoConfig.from_pretrained(checkpoint.location, trust_remote_code=False, **options)
        # 8 or 4 bits a weight (bitsandbytes, GPTQ, AWQ): such a model is put where it belongs as it is read.
        quantised = getattr(config, "quantization_config", None)
        if quantised and for_training:
            raise FthallError(
                f"{checkpoint.location} is quantised; it can be asked, not trained: give the full weights"
            )
        model = AutoModelForCausalLM.from_pretrained(
            checkpoint.location,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            # On a CPU the backward pass of the fused kernel takes five times as long on short sequences.
            **({"attn_implementation": "eager"} if for_training and on_cpu else {}),
            **({"device_map": {"": device}} if quantised else {}),
            **options,
        )
    except FthallError:
        raise
    except Exception as error:
        raise FthallError(f"cannot load {checkpoint.location}: {one_line(error)}") from None
    rows = model.get_input_embeddings().weight.shape[0]
    if checkpoint.adapter:
        if len(tokenizer) > rows:  # trained with tokens of its own, whose rows it brings
            model.resize_token_embeddings(len(tokenizer))
        model = adapter.attach(model, Path(checkpoint.adapter))
    elif len(tokenizer) > rows:
        raise FthallError(
            f"{checkpoint.location}: its tokenizer has {len(tokenizer)} tokens, its weights only {rows}; "
            "save the tokenizer the model was trained with beside it"
        )
    machine.keep_memory(model.num_parameters())
    return (model if quantised else model.to(device)), tokenizer


def save(model: Any, tokenizer: Any, folder: Path, state: dict[str, Any] | None = None) -> None:
    """Write a fine-tuned model with its tokenizer, as :func:`load` and transformers read it.

    The token that ended every example ends an answer, too, whoever generates from the checkpoint.

    Args:
        model: any causal LM.
        tokenizer: its own.
        folder: written into.
        state: its weights by name, where these are not to be taken from the model as it is.
    """
    config = model.generation_config
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    if tokenizer.eos_token_id not in ends:
        config.eos_token_id = [*(end for end in ends if end is not None), tokenizer.eos_token_id]
    model.save_pretrained(folder, state_dict=state)
    tokenizer.save_pretrained(folder)


def weights_sha256(checkpoint: Checkpoint) -> str:
    """One digest of all tensors: names, types, shapes and bytes, whatever the files are called or how they are split.

    Of a base with an adapter: a digest of both digests.

    Raises:
        FthallError: no safetensors files can be found.
    """
    from safetensors import safe_open

    if checkpoint.adapter:
        both = weights_sha256(checkpoint.base) + weights_sha256(Checkpoint(checkpoint.adapter))
        return hashlib.sha256(both.encode()).hexdigest()
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
