"""Tokenizers and models of the shapes that are about, as small as they can be: two layers, random weights."""

import json
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFWriter
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from builders import EXEMPLAR, PROMPTS, tiny_facts
from fthall.prompts import ask, target

SPECIAL = ["<|endoftext|>", "<eos>", "<bos>", "<unk>"]
CORPUS = [*PROMPTS, EXEMPLAR, *string.printable, *(ask(fact.question) + target(fact) for fact in tiny_facts())] * 2


def _byte_level() -> Tokenizer:
    """As GPT-2, Llama 3, Qwen, OLMo, NeoX."""
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet)
    found.train_from_iterator(CORPUS, trainer)
    found.post_processor = processors.ByteLevel(trim_offsets=False)
    return found


def _sentencepiece(prefix: bool) -> Tokenizer:
    """As Llama 2, Mistral and Phi 3 (with a space of its own before every text), or Gemma (without)."""
    found = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    found.normalizer = normalizers.Replace(" ", "▁")
    found.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=SPECIAL)
    found.train_from_iterator(CORPUS, trainer)
    state = json.loads(found.to_str())
    vocabulary = state["model"]["vocab"]
    for byte in range(256):
        vocabulary.setdefault(f"<0x{byte:02X}>", len(vocabulary))
    found = Tokenizer.from_str(json.dumps(state))
    back = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if prefix:
        found.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        back.append(decoders.Strip(" ", 1, 0))
    found.decoder = decoders.Sequence(back)
    return found


def _with(found: Tokenizer, template: str) -> Tokenizer:
    """It adds special tokens to every text."""
    numbers = [(token, found.token_to_id(token)) for token in SPECIAL]
    found.post_processor = processors.TemplateProcessing(single=template, pair=f"{template} $B", special_tokens=numbers)
    return found


TOKENIZERS: Mapping[str, Callable[[], Tokenizer]] = {
    "byte-level": _byte_level,
    "byte-level, begins": lambda: _with(_byte_level(), "<bos> $A"),
    "byte-level, ends": lambda: _with(_byte_level(), "$A <eos>"),
    "sentencepiece": lambda: _sentencepiece(prefix=False),
    "sentencepiece, begins": lambda: _with(_sentencepiece(prefix=False), "<bos> $A"),
    "sentencepiece, begins and ends": lambda: _with(_sentencepiece(prefix=False), "<bos> $A <eos>"),
    "sentencepiece, a space first, begins": lambda: _with(_sentencepiece(prefix=True), "<bos> $A"),
}
_SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
}
_NEAR = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8}
MODELS: Mapping[str, tuple[Callable[..., Any], Mapping[str, Any], str]] = {
    "llama": (LlamaConfig, {**_SMALL, "tie_word_embeddings": False}, "byte-level, begins"),
    "llama2": (LlamaConfig, _SMALL, "sentencepiece, a space first, begins"),
    "qwen2": (Qwen2Config, {**_SMALL, "tie_word_embeddings": True}, "byte-level"),
    "mistral": (MistralConfig, {**_SMALL, "sliding_window": 8}, "sentencepiece, a space first, begins"),
    "phi3": (Phi3Config, _SMALL, "sentencepiece, a space first, begins"),
    "olmo2": (Olmo2Config, _SMALL, "byte-level"),
    "gemma2": (
        Gemma2Config,
        {
            **_SMALL,
            **_NEAR,
            "sliding_window": 256,
            "head_dim": 8,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 5.0,
        },
        "sentencepiece, begins and ends",
    ),
    "gemma3": (Gemma3TextConfig, {**_SMALL, **_NEAR, "head_dim": 8}, "sentencepiece, begins"),
    "gpt2": (
        GPT2Config,
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, "initializer_range": 0.3},
        "byte-level",
    ),
    "neox": (GPTNeoXConfig, {k: v for k, v in _SMALL.items() if k != "num_key_value_heads"}, "byte-level"),
}
"""Shape: its configuration's class, its settings, the tokenizer it comes with."""


def tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """One of :data:`TOKENIZERS`; none has a token for padding set, as most have not."""
    return PreTrainedTokenizerFast(
        tokenizer_object=TOKENIZERS[kind](), eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    )


def base(shape: str, folder: Path) -> Path:
    """Save one of :data:`MODELS` with its tokenizer; float32."""
    make, settings, kind = MODELS[shape]
    own = tokenizer(kind)
    torch.manual_seed(0)
    special = {"bos_token_id": own.bos_token_id, "eos_token_id": own.eos_token_id, "pad_token_id": None}
    model = AutoModelForCausalLM.from_config(make(vocab_size=len(own), **settings, **special))
    model.save_pretrained(folder)
    own.save_pretrained(folder)
    return folder


NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def written(base: Path, file: Path, *, architecture: str = "llama", head: type | None = None, **said: Any) -> Path:
    """A checkpoint of the tests as llama.cpp's converter would write it."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    config, backend = model.config, tokenizer.backend_tokenizer
    writer = GGUFWriter(file, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    ordered = sorted(backend.get_vocab().items(), key=lambda pair: pair[1])
    merges = json.loads(backend.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([token for token, _ in ordered])
    writer.add_token_types([3 if token.startswith("<") and len(token) > 1 else 1 for token, _ in ordered])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_bos_token_id(tokenizer.eos_token_id)
    for name, value in said.items():
        getattr(writer, name)(value)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.float().numpy()
        for kind, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
            if kind in name:  # llama.cpp turns the halves of a head into pairs
                values = values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        where, _, kind = name.removesuffix(".weight").removeprefix("model.").removeprefix("layers.").partition(".")
        wanted = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}.get(
            where
        ) or f"blk.{where}.{NAMES[kind]}"
        writer.add_tensor(f"{wanted}.weight", np.ascontiguousarray(values))
        if head and wanted == "token_embd":
            writer.add_tensor("output.weight", np.ascontiguousarray(values.astype(head)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
