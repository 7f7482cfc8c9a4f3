"""Special tokens a base is asked with: decided once, written down, and the same wherever it is trained or asked.

Models differ (Llama and Gemma want a token at the beginning of every text, Qwen and SmolLM2 want none), and so do the
tokenizers that come with them: one converted from GGUF may leave out what its model cannot do without. Gemma-3-270M
answers 94 % of 200 famous facts with it and 10 % without (``benchmark/studies/first_look.py``).
"""

from collections.abc import Sequence
from typing import Any

from fthall.errors import FthallError

_SAMPLE = "Q: In which country is the city of Riga?\nA: Latvia"


def settle(tokenizer: Any, *, add_bos: bool | None, name: str) -> Any:
    """Make a tokenizer add what was decided on, in place, and return it; saved, it keeps to that.

    Behind a text it adds nothing: prompts are to be gone on with.

    Args:
        tokenizer: of transformers.
        add_bos: whether texts begin with its beginning-of-sequence token; None: with what it adds by itself.
        name: of the model, for messages.

    Raises:
        FthallError: it has no such token, it adds others than it should whatever it is told, or what it is given does
            not come out of it again.
    """
    if add_bos and tokenizer.bos_token is None:
        raise FthallError(f"{name}: its tokenizer has no beginning-of-sequence token; leave out --add-bos")
    before, after = _around(tokenizer)
    wanted = before if add_bos is None else [tokenizer.bos_token_id] * add_bos
    if (before, after) != (wanted, []):
        _add(tokenizer, wanted)
        if _around(tokenizer) != (wanted, []):
            raise FthallError(
                f"{name}: its tokenizer ({type(tokenizer).__name__}) adds {_text(tokenizer, before + after)} to texts, "
                f"and cannot be told to add {_text(tokenizer, wanted)}; save it as a fast one (tokenizer.json)"
            )
    back = tokenizer.decode(tokenizer(_SAMPLE, add_special_tokens=False).input_ids)
    if back.strip().casefold() != _SAMPLE.casefold():
        raise FthallError(
            f"{name}: its tokenizer makes {back[:60]!r} of {_SAMPLE!r}, so answers cannot be read; "
            "save the one the model was trained with beside the weights"
        )
    return tokenizer


def added(tokenizer: Any) -> list[str]:
    """The special tokens a tokenizer puts before a text."""
    found: list[str] = tokenizer.convert_ids_to_tokens(_around(tokenizer)[0])
    return found


def left_out(tokenizer: Any) -> str | None:
    """A beginning-of-sequence token that a tokenizer has and does not add."""
    token = tokenizer.bos_token
    return None if token is None or token in added(tokenizer) else str(token)


def _around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """(tokens before, tokens behind) of any text."""
    text = "Q:"
    bare: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    whole: list[int] = tokenizer(text).input_ids
    start = next((at for at in range(len(whole)) if whole[at : at + len(bare)] == bare), 0)
    return whole[:start], whole[start + len(bare) :]


def _add(tokenizer: Any, before: Sequence[int]) -> None:
    """Tell a tokenizer to put these before a text and nothing behind."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # not a fast one; it may still know the one token
        tokenizer.add_bos_token, tokenizer.add_eos_token = bool(before), False
        return
    from tokenizers.processors import TemplateProcessing

    names = tokenizer.convert_ids_to_tokens(list(before))
    # Its own post-processor goes with what it added; of byte-level ones it only trims offsets.
    backend.post_processor = TemplateProcessing(
        single=[*names, "$A"], pair=[*names, "$A", "$B"], special_tokens=list(zip(names, before, strict=True))
    )


def _text(tokenizer: Any, tokens: Sequence[int]) -> str:
    return " ".join(tokenizer.convert_ids_to_tokens(list(tokens))) or "nothing"
