"""Answers that are known already, fed along with their questions: one forward pass tells what the model makes of them.

SLiCK asks no more of a greedy answer than whether it is right. So the right answer is fed along as a draft: one pass
tells where the model would have gone another way (as in speculative decoding, Leviathan et al. 2023, arXiv 2211.17192,
with the answer key for a draft model), and how likely each of its steps is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedModel

from fthall.engines import shared

Way = tuple[int, list[int], list[int]]
"""Number of a prompt, its tokens behind the prefix, and those of one accepted answer."""


@dataclass(frozen=True, slots=True)
class Followed:
    """How far a greedy answer follows a draft."""

    tokens: list[int]
    """What is known of the answer: the draft's tokens as far as it follows, and the first it chose instead, if only to
    end there."""
    whole: bool
    """Whether that is all of the answer; else it goes on in a way one pass does not tell."""
    lead: float = math.inf
    """How far the logit of each token it chose was ahead of the next one's, at least; asked for only."""


def follow(
    model: PreTrainedModel,
    ends: torch.Tensor,
    layers: shared.Layers,
    tails: Sequence[list[int]],
    drafts: Sequence[list[int]],
    max_new_tokens: int,
    *,
    leads: bool = False,
) -> list[Followed]:
    """How far the greedy answer behind each tail follows its draft, from one pass. Within :func:`shared.attention`.

    Args:
        model: that answers.
        ends: [vocabulary] bool, tokens that end an answer.
        layers: of the prefix all tails share.
        tails: tokens of the prompts behind it.
        drafts: tokens of the answers, at most ``max_new_tokens`` each.
        max_new_tokens: longest answer.
        leads: whether to say by how much tokens were ahead.
    """
    rows = [tail + draft for tail, draft in zip(tails, drafts, strict=True)]
    hidden = shared.forward(model, rows, layers)
    # An answer ends where the model ends it, or at the longest allowed.
    found = [Followed(draft, whole=True) for draft in drafts]
    lead = [math.inf] * len(rows)
    alive = list(range(len(rows)))
    for step in range(max_new_tokens):
        if not alive:
            break
        places = torch.tensor([len(tails[row]) - 1 + step for row in alive], device=hidden.device)
        states = hidden[torch.tensor(alive, device=hidden.device), places]
        logits = shared.head(model, states)
        chosen = logits.argmax(-1)
        if leads:
            for row, ahead in zip(alive, shared.leads(logits), strict=True):
                lead[row] = min(lead[row], ahead)
        stops = ends.to(chosen.device)[chosen].tolist()
        still = []
        for row, token, stop in zip(alive, chosen.tolist(), stops, strict=True):
            if stop:
                found[row] = Followed([*drafts[row][:step], token], whole=True)
            elif step < len(drafts[row]) and token == drafts[row][step]:
                still.append(row)
            else:
                found[row] = Followed([*drafts[row][:step], token], whole=step + 1 == max_new_tokens)
        alive = still
    return [replace(one, lead=ahead) for one, ahead in zip(found, lead, strict=True)] if leads else found


def chances(
    model: PreTrainedModel,
    ends: torch.Tensor,
    layers: shared.Layers,
    ways: Sequence[Way],
    temperature: float,
    top_k: int,
) -> list[float]:
    """The probability of each draft behind its tail, and of ending there. Within :func:`shared.attention`."""
    hidden = shared.forward(model, [tail + draft for _, tail, draft in ways], layers)
    ends = ends.to(hidden.device)
    logs = torch.zeros(len(ways), dtype=torch.float64)
    for step in range(max(len(draft) for _, _, draft in ways) + 1):
        rows = [row for row, (_, _, draft) in enumerate(ways) if step <= len(draft)]
        index = torch.tensor(rows, device=hidden.device)
        places = torch.tensor([len(ways[row][1]) - 1 + step for row in rows], device=hidden.device)
        logits = shared.head(model, hidden[index, places]).float() / temperature
        best, tokens = torch.topk(logits, min(top_k, logits.shape[-1]), dim=-1)
        shares = torch.softmax(best, -1)
        wanted = torch.zeros_like(tokens, dtype=torch.bool)
        for place, row in enumerate(rows):
            draft = ways[row][2]
            wanted[place] = tokens[place] == draft[step] if step < len(draft) else ends[tokens[place]]
        logs[torch.tensor(rows)] += (shares * wanted).sum(-1).double().log().cpu()
    found: list[float] = logs.exp().tolist()
    return found
