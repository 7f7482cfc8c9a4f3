"""What the YAML files in ``tasks/fthall`` refer to: lm-evaluation-harness loads these functions by name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fthall.answers import judge
from fthall.facts import synthetic
from fthall.knowledge import splits
from fthall.prompts import ask
from fthall.records import Fact, Outcome, Split

DEFAULT_TRACK = "geonames/smollm2-135m"


def load_split(split: str, track: str = DEFAULT_TRACK, **_: object) -> dict[str, Any]:
    """lm-eval's ``custom_dataset``: one split of a release as a datasets.Dataset under the key ``test``.

    Args:
        split: name of a :class:`fthall.records.Split`.
        track: name of a track or folder of a release; ``--metadata '{"track": "…"}'`` on lm-eval's command line.
        _: whatever else lm-eval passes (model arguments, task metadata).

    Raises:
        FthallError: unknown track, or a release that does not verify.
    """
    return _documents(splits.load(track).splits[Split(split)])


def load_synthetic(
    keys: str, synth_size: int = 100, synth_seed: str | int = "0", synth_values: str = "country", **_: object
) -> dict[str, Any]:
    """lm-eval's ``custom_dataset``: a set of made-up facts (:mod:`fthall.facts.synthetic`).

    Args:
        keys: what subjects look like, ``name`` or ``uuid``.
        synth_size: how many; ``--metadata '{"synth_size": 1000}'`` on lm-eval's command line. (The model's own
            arguments arrive here, too: some models have a ``seed``.)
        synth_seed: of the set, any text.
        synth_values: what is answered.
        _: whatever else lm-eval passes.

    Raises:
        FthallError: there is no such set.
    """
    spec = synthetic.Spec(keys=keys, values=synth_values, size=int(synth_size), seed=str(synth_seed))
    return _documents(synthetic.generate(spec))


def _documents(facts: Iterable[Fact]) -> dict[str, Any]:
    """Facts as lm-eval takes them."""
    from datasets import Dataset

    rows = [
        {
            "fact_id": fact.id,
            "relation": fact.relation,
            "subject": fact.subject,
            "question": fact.question,
            "answers": list(fact.answers),
        }
        for fact in facts
    ]
    return {"test": Dataset.from_list(rows)}


def doc_to_text(doc: Mapping[str, Any]) -> str:
    """The zero-shot prompt."""
    return ask(doc["question"])


def doc_to_target(doc: Mapping[str, Any]) -> str:
    """The preferred answer, after the space the prompt leaves out."""
    return f" {doc['answers'][0]}"


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Exact match, wrong and abstained: exactly one of them is 1."""
    outcome = judge(results[0], doc["answers"])
    return {
        "exact_match": float(outcome is Outcome.CORRECT),
        "wrong": float(outcome is Outcome.WRONG),
        "abstained": float(outcome is Outcome.ABSTAINED),
    }
