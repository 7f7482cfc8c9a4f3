"""An adapter as PEFT writes it (LoRA and its kin): few weights, and the name of the base they belong beside.

Source: Hu et al. 2021, arXiv 2106.09685; the files are those of the peft library's ``save_pretrained``.
"""

from pathlib import Path
from typing import Any

from fthall.errors import FthallError, one_line
from fthall.files import read_json

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def folder_of(spec: str, revision: str | None) -> Path | None:
    """The folder of an adapter, fetched if it lies on the hub; None where a name is of something else.

    Raises:
        FthallError: the folder holds no safetensors weights.
    """
    folder = Path(spec).expanduser()
    if spec.count("/") == 1 and not folder.exists():
        folder = _fetched(spec, revision)
    if not (folder / CONFIG).is_file() or (folder / "config.json").is_file():
        return None
    if not (folder / WEIGHTS).is_file():
        raise FthallError(
            f"{spec} is an adapter without {WEIGHTS}, the only format fthall loads; "
            "save it again: model.save_pretrained(FOLDER, safe_serialization=True)"
        )
    return folder.resolve()


def _fetched(spec: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError
    from transformers.utils.peft_utils import find_adapter_config_file

    try:
        if find_adapter_config_file(spec, revision=revision) is None:
            return Path(spec)
        return Path(snapshot_download(spec, revision=revision, allow_patterns=["*.json", WEIGHTS, "*token*", "vocab*"]))
    except (OSError, HFValidationError):  # not there, or no name at all: whoever loads it says so
        return Path(spec)


def base_of(folder: Path) -> tuple[str, str | None]:
    """Name and revision of the base an adapter was trained on.

    Raises:
        FthallError: it does not say.
    """
    config = read_json(folder / CONFIG)
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if not isinstance(base, str) or not base:
        raise FthallError(f"{folder / CONFIG} names no base_model_name_or_path; write there what it was trained on")
    return base, config.get("revision")


def attach(model: Any, folder: Path) -> Any:
    """Put an adapter into a model, in place, and return the model: the same class, with more in its layers.

    Raises:
        FthallError: the adapter does not fit this model, or is of a kind that changes the prompt instead.
    """
    from peft import PeftConfig, get_peft_model
    from peft.utils.save_and_load import load_peft_weights, set_peft_model_state_dict

    misfit = f"the adapter {folder} does not fit {model.config.name_or_path}"
    try:
        config: Any = PeftConfig.from_pretrained(str(folder))
    except (TypeError, ValueError, KeyError) as error:
        raise FthallError(f"{folder / CONFIG} is no configuration peft can read: {one_line(error)}") from None
    if config.is_prompt_learning:
        raise FthallError(
            f"{folder} is a {config.peft_type.value} adapter, which changes the prompt; give one of layers, like LoRA"
        )
    config.inference_mode = True
    try:
        wrapped: Any = get_peft_model(model, config)
        weights = load_peft_weights(str(folder), device="cpu")
        found: Any = set_peft_model_state_dict(wrapped, weights)
    except (ValueError, RuntimeError, KeyError) as error:
        raise FthallError(f"{misfit}: {one_line(error)}") from None
    # Other names may be missing or too many: those of the base, and copies of embeddings that were trained.
    missing, more = (
        [name for name in names if wrapped.base_model.prefix in name]
        for names in (found.missing_keys, found.unexpected_keys)
    )
    if missing or more:
        raise FthallError(
            f"{misfit}: {len(missing)} of its weights are missing, {len(more)} too many ({[*missing, *more][0]})"
        )
    return wrapped.get_base_model().requires_grad_(False)
