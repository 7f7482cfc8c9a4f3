"""Drift: how far fine-tuning moves what a model makes of a name (arXiv 2604.15574, section 5).

The state that is looked at is that of the subject's last token, where a model has gathered what it knows of the subject
(Meng et al. 2022, arXiv 2202.05262), in every layer, before and after. Two measures: the cosine distance, fact by fact,
and linear CKA (Kornblith et al. 2019, arXiv 1905.00414), which asks whether the facts lie to each other as they did.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fthall.errors import FthallError
from fthall.prompts import ask
from fthall.records import Fact

Floats = npt.NDArray[np.float32]
TOGETHER = 64
"""Texts in one pass."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A text, and how much of it is read: the state looked at is that of the token its last character is in."""

    text: str
    end: int
    """Characters read."""


def of_fact(fact: Fact) -> Probe:
    """The question of a fact, to the end of its subject's last mention.

    Raises:
        FthallError: the question does not name its subject.
    """
    prompt = ask(fact.question)
    start = prompt.rfind(fact.subject) if fact.subject.strip() else -1
    if start < 0:
        raise FthallError(
            f"{fact.id}: its question, {fact.question!r}, does not name its subject, {fact.subject!r}; drift looks at "
            "the subject's last token, so write the subject as the question has it"
        )
    return Probe(prompt, start + len(fact.subject.rstrip()))


def of_text(text: str) -> Probe:
    """A whole text, to the end of its last word."""
    return Probe(text, len(text.rstrip(" .?!")))


def states(
    model: Any, tokenizer: Any, probes: Sequence[Probe], *, on_probes: Callable[[int], None] | None = None
) -> Floats:
    """The states of some probes: [layers + 1, probes, width], the first those of the embeddings.

    What stands behind the token looked at cannot change its state and is not read; what texts have in common is
    computed once where the model allows it (:func:`fthall.finetune.loop.passes.can_pack`).

    Args:
        model: a causal LM; its dtype and device are used as they are.
        tokenizer: its own, a fast one.
        probes: what is read.
        on_probes: called with the number of probes just read, for progress.

    Raises:
        FthallError: no probes, or the tokenizer does not say where its tokens are.
    """
    import torch

    from fthall.finetune.loop.data import Collate, Example
    from fthall.finetune.loop.passes import all_states, can_pack

    if not probes:
        raise FthallError("no texts to look at")
    if not tokenizer.is_fast:
        raise FthallError("drift needs a tokenizer that says where its tokens are (a fast one); this one does not")
    given = tokenizer([probe.text for probe in probes], return_offsets_mapping=True)
    examples = []
    for number, (probe, ids, offsets) in enumerate(zip(probes, given.input_ids, given.offset_mapping, strict=True)):
        # Special tokens have an empty place; a token may hold the subject's last character and more.
        last = max(place for place, (start, end) in enumerate(offsets) if start < probe.end and end > start)
        examples.append(Example(number, tuple(ids[: last + 1]), last + 1))
    examples.sort(key=lambda one: one.input_ids)
    was_training = model.training
    model.eval()
    try:
        collate, found = Collate(can_pack(model, examples)), None
        for start in range(0, len(examples), TOGETHER):
            batch = examples[start : start + TOGETHER]
            with torch.inference_mode():
                inputs = {name: value.to(model.device) for name, value in collate(batch).items()}
                nodes = all_states(model, inputs)
                lasts = [int(row[len(one.input_ids) - 1]) for row, one in zip(inputs["rows"], batch, strict=True)]
                chosen = nodes[:, lasts].float().cpu().numpy()
            if found is None:
                found = np.empty((chosen.shape[0], len(examples), chosen.shape[2]), dtype=np.float32)
            found[:, [one.index for one in batch]] = chosen
            if on_probes:
                on_probes(len(batch))
    finally:
        model.train(was_training)
    assert found is not None
    return found


def cosine_distance(before: Floats, after: Floats) -> Floats:
    """1 - cos of each pair of states: [layers, items, width] twice to [layers, items]; 0 for the same direction."""
    product = np.einsum("liw,liw->li", before, after)
    norms = np.linalg.norm(before, axis=-1) * np.linalg.norm(after, axis=-1)
    found = 1 - product / np.maximum(norms, np.finfo(np.float32).tiny)
    return np.asarray(np.clip(found, 0, 2), dtype=np.float32)  # rounding leaves the bounds by a little


def linear_cka(before: Floats, after: Floats) -> npt.NDArray[np.float64]:
    """Linear CKA of each layer: [layers, items, width] twice to [layers]; 1 where they are the same but for rotation.

    ``‖Yᵀ X‖² / (‖Xᵀ X‖ ‖Yᵀ Y‖)`` of centred states, Frobenius norms (Kornblith et al. 2019, equation 5). With fewer
    items than the states are wide it is near 1 whatever happens: compare groups of a like number of items only. NaN
    where all states of a layer are the same.

    Raises:
        FthallError: fewer than two items.
    """
    if before.shape[1] < 2:
        raise FthallError("linear CKA compares how items lie to each other; give at least two")
    found = []
    for one, other in zip(before, after, strict=True):
        x, y = (np.asarray(states, dtype=np.float64) - states.mean(0, dtype=np.float64) for states in (one, other))
        # The same by Gram matrices, [items, items], where these are smaller.
        if len(x) < x.shape[1]:
            x, y = x @ x.T, y @ y.T
            cross, own = float(np.sum(x * y)), np.linalg.norm(x) * np.linalg.norm(y)
        else:
            cross, own = float(np.linalg.norm(y.T @ x) ** 2), np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
        found.append(cross / own if own > 0 else float("nan"))
    return np.array(found)
