"""What the YAML files in ``tasks/fthall`` refer to: lm-evaluation-harness loads these functions by name."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lm_eval.api.metrics import mean
from lm_eval.api.task import ConfigurableTask

from fthall.answers import judge
from fthall.facts import synthetic
from fthall.knowledge import splits
from fthall.prompts import OTHERWISE, ask, document
from fthall.records import Fact, Outcome, Split

DEFAULT_TRACK = "geonames/smollm2-135m"
_LOG = logging.getLogger(__name__)


class FactTask(ConfigurableTask):  # type: ignore[misc]  # lm-eval has no types
    """A task that says so where lm-eval's own switches make it another one than the track's.

    Everything here is asked as plain text, without exemplars. A chat template (``--apply_chat_template``), a system
    instruction or exemplars (``--num_fewshot``) are done, and leave a trace: a warning, and the metric
    :data:`OTHERWISE`, 1 where there was any.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config={name: value for name, value in config.items() if name != "class"})
        self._otherwise = ""

    def fewshot_context(self, doc: Any, num_fewshot: int, *given: Any, **options: Any) -> Any:
        """The prompt of a document, as lm-eval makes it."""
        switches = {
            "a chat template": options.get("apply_chat_template"),
            "a system instruction": options.get("system_instruction"),
            f"{num_fewshot} exemplars": num_fewshot,
        }
        otherwise = ", ".join(name for name, on in switches.items() if on)
        if otherwise and not self._otherwise:
            _LOG.warning(
                "%s is asked with %s, its track as plain text without exemplars: these numbers are no submission's, "
                "and say so (%s)",
                self.config.task,
                otherwise,
                OTHERWISE,
            )
        self._otherwise = otherwise
        return super().fewshot_context(doc, num_fewshot, *given, **options)

    def process_results(self, doc: Any, results: Any) -> dict[str, float]:
        """The metrics of an answer."""
        found: dict[str, float] = super().process_results(doc, results)
        return {**found, OTHERWISE: 1.0} if self._otherwise else found

    def aggregation(self) -> dict[str, Any]:
        """How metrics are put together."""
        return {**super().aggregation(), OTHERWISE: mean}

    def higher_is_better(self) -> dict[str, Any]:
        """Which way metrics go."""
        return {**super().higher_is_better(), OTHERWISE: False}


def load_split(split: str, track: str = DEFAULT_TRACK, **_: object) -> dict[str, Any]:
    """lm-eval's ``custom_dataset``: one split of a release as a datasets.Dataset under the key ``test``.

    Under the key ``shown`` are facts for those who ask with exemplars, which no track does: held-out ones of another
    split, never trained on.

    Args:
        split: name of a :class:`fthall.records.Split`.
        track: name of a track or folder of a release; ``--metadata '{"track": "…"}'`` on lm-eval's command line.
        _: whatever else lm-eval passes (model arguments, task metadata).

    Raises:
        FthallError: unknown track, or a release that does not verify.
    """
    release, asked = splits.load(track), Split(split)
    shown = Split.HELD if asked is Split.HELD_VAL else Split.HELD_VAL
    return {"test": _documents(release.splits[asked]), "shown": _documents(release.splits[shown])}


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
    shown = spec.first(100, seed=f"{spec.seed}/shown")
    return {"test": _documents(synthetic.generate(spec)), "shown": _documents(synthetic.generate(shown))}


def _documents(facts: Iterable[Fact]) -> Any:
    """Facts as lm-eval takes them."""
    from datasets import Dataset

    return Dataset.from_list([document(fact) for fact in facts])


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
