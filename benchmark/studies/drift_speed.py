"""How long drift takes: the states of 1,000 subjects in all layers, here and by a plain pass over padded questions.

    python benchmark/studies/drift_speed.py --out leaderboard/studies/drift-speed.json

Twice each, by turns, in one process; then cosine distance and CKA of the two. The plain way is what one would write:
batches of whole questions, sorted by length, through the model with its hidden states put out.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import study
from fthall import bases
from fthall.knowledge import splits
from fthall.prompts import ask
from fthall.records import Split
from fthall.why import drift

TRACK, BASE, FACTS, ROUNDS = "geonames/smollm2-135m", "smollm2-135m", 1000, 2


def plain(model: Any, tokenizer: Any, probes: Sequence[drift.Probe]) -> drift.Floats:
    """The same states, by padded batches of whole questions."""
    found = np.empty((model.config.num_hidden_layers + 1, len(probes), model.config.hidden_size), dtype=np.float32)
    given = tokenizer([probe.text for probe in probes], return_offsets_mapping=True)
    order = sorted(range(len(probes)), key=lambda i: len(given.input_ids[i]))
    for start in range(0, len(order), drift.TOGETHER):
        batch = order[start : start + drift.TOGETHER]
        rows = [torch.tensor(given.input_ids[i]) for i in batch]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        lasts = [max(at for at, (s, _) in enumerate(given.offset_mapping[i]) if s < probes[i].end) for i in batch]
        with torch.inference_mode():
            layers = model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        for number, layer in enumerate(layers):
            found[number, batch] = layer[range(len(batch)), lasts].numpy()
    return found


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came of it."""
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def main() -> None:
    """Both ways by turns, then the measures."""
    given = study.parser(__doc__).parse_args()
    release = splits.load(TRACK)
    facts = [fact for split in (Split.HELD, Split.KNOWN, Split.UNKNOWN) for fact in release.splits[split]][:FACTS]
    probes = [drift.of_fact(fact) for fact in facts]
    assert all(probe.text == ask(fact.question) for probe, fact in zip(probes, facts, strict=True))
    model, tokenizer = bases.load(bases.find(BASE), device="cpu")
    drift.states(model, tokenizer, probes[: drift.TOGETHER])  # warm
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    states = {}
    for _ in range(ROUNDS):
        for name, way in (("ours", drift.states), ("plain", plain)):
            took, states[name] = timed(lambda way=way: way(model, tokenizer, probes))
            seconds[name].append(took)
    apart = float(drift.cosine_distance(states["ours"], states["plain"]).max())
    took, _ = timed(lambda: (drift.cosine_distance(*states.values()), drift.linear_cka(*states.values())))
    study.tell(
        {
            "track": TRACK,
            "facts": len(facts),
            "layers": len(states["ours"]),
            "hardware": bases.hardware(),
            "seconds": {name: [round(value, 1) for value in values] for name, values in seconds.items()},
            "measures_seconds": round(took, 1),
            "drift_seconds": round(2 * min(seconds["ours"]) + took, 1),
            "ratio": round(min(seconds["plain"]) / min(seconds["ours"]), 2),
            "largest_cosine_distance": round(apart, 6),
        },
        given.out,
    )


if __name__ == "__main__":
    main()
