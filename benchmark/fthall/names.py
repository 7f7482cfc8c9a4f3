"""How alike two names are: shares of character trigrams, of subword tokens, or of words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fthall.answers import normalise
from fthall.errors import FthallError

_ROWS_AT_ONCE = 512


def trigrams(name: str) -> set[str]:
    """Character trigrams of a normalised name, with its ends marked: "oslo" has ^os, osl, slo, lo$."""
    marked = f"^{normalise(name)}$"
    return {marked[i : i + 3] for i in range(max(1, len(marked) - 2))}


def tokens(name: str) -> set[str]:
    """Words of a normalised name."""
    return set(normalise(name).split())


def pieces(tokenizer: Any, names: Sequence[str]) -> dict[str, set[str]]:
    """Subword tokens of each name as it stands within a question, behind a space.

    Raises:
        FthallError: a name has a part the tokenizer has no token for.
    """
    if not names:
        return {}
    given = tokenizer([f" {name}" for name in names], add_special_tokens=False).input_ids
    for name, row in zip(names, given, strict=True):
        check_tokens(tokenizer, name, row)
    return {name: {str(token) for token in row} for name, row in zip(names, given, strict=True)}


def check_tokens(tokenizer: Any, text: str, tokens: Sequence[int]) -> None:
    """Make sure that a text is told from others: a part without a token of its own becomes the same for all.

    Raises:
        FthallError: there is such a part.
    """
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in tokens:
        raise FthallError(
            f"{text!r} has a part this base's tokenizer has no token for (it becomes {tokenizer.unk_token}), so names "
            "that differ there look the same to it; choose other facts, or for made-up ones --keys name"
        )


def nearest(subjects: Sequence[set[str]], trained: Sequence[set[str]]) -> npt.NDArray[np.float64]:
    """Jaccard similarity of each subject with the most similar trained one: [subjects], 0 to 1.

    Sets come from :func:`trigrams`, :func:`pieces` or :func:`tokens`. With nothing trained, all are 0.
    """
    if not subjects or not trained:
        return np.zeros(len(subjects))
    number: dict[str, int] = {}
    one, other = (_matrix(sets, number) for sets in (subjects, trained))
    width = len(number)
    one.resize(len(subjects), width)
    other.resize(len(trained), width)
    sizes = np.asarray(other.sum(axis=1)).ravel()
    best = np.zeros(len(subjects))
    for start in range(0, len(subjects), _ROWS_AT_ONCE):
        rows = one[start : start + _ROWS_AT_ONCE]
        both = np.asarray((rows @ other.T).todense(), dtype=np.float64)
        either = np.asarray(rows.sum(axis=1)).reshape(-1, 1) + sizes[None, :] - both
        best[start : start + rows.shape[0]] = np.max(both / np.maximum(either, 1), axis=1)
    return best


def spread(alike: npt.NDArray[np.float64]) -> dict[str, float]:
    """How such similarities lie: their tenth, fiftieth and ninetieth percentile."""
    return {f"p{at}": round(float(np.percentile(alike, at)), 2) for at in (10, 50, 90)}


def _matrix(sets: Sequence[set[str]], number: dict[str, int]) -> sparse.csr_matrix:
    """Membership, one row a set; new members are numbered as they come."""
    columns = [number.setdefault(member, len(number)) for members in sets for member in sorted(members)]
    ends = np.cumsum([0, *(len(members) for members in sets)])
    return sparse.csr_matrix((np.ones(len(columns), dtype=np.float32), columns, ends), shape=(len(sets), len(number)))
