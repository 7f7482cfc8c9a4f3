"""A checkpoint's answers to a release: fast during training, and by lm-eval itself at the end.

Both ask the same zero-shot prompts and are scored by the one scorer; ``metrics.differing`` compares them.
"""

import contextlib
import io
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fthall.answers import first_line, judge
from fthall.bases import Checkpoint, load, load_tokenizer
from fthall.engines.engine import Engine
from fthall.paths import tasks_dir
from fthall.prompts import ask
from fthall.records import Answer, Release, Split

MAX_NEW_TOKENS = 16


def evaluate(
    engine: Engine,
    release: Release,
    splits: Iterable[Split] = tuple(Split),
    *,
    drafts: Mapping[Split, Sequence[Answer]] | None = None,
    on_answers: Callable[[int], None] | None = None,
) -> dict[Split, tuple[Answer, ...]]:
    """Ask a release's questions zero-shot and greedily.

    All splits are asked in one call, so that the engine shares what their prompts have in common. Answers given before
    to the same facts (``drafts``), or else the right ones, save the decoding of answers that are the same again.
    """
    asked = [(split, fact) for split in splits for fact in release.splits[split]]
    prompts = [ask(fact.question) for _, fact in asked]
    before = {answer.fact_id: answer.prediction for rows in (drafts or {}).values() for answer in rows}
    said = engine.greedy(
        prompts,
        drafts=[before.get(fact.id, fact.answers[0]) for _, fact in asked],
        max_new_tokens=MAX_NEW_TOKENS,
        on_batch=on_answers,
    )
    answers: dict[Split, list[Answer]] = {split: [] for split in splits}
    for (split, fact), text in zip(asked, said, strict=True):
        answers[split].append(Answer(fact.id, split, text, judge(text, fact.answers)))
    return {split: tuple(rows) for split, rows in answers.items()}


def lm_eval_answers(
    checkpoint: Checkpoint,
    track: str,
    *,
    dtype: str = "float32",
    batch_size: int | None = None,
    device: str | None = None,
    quiet: bool = False,
) -> tuple[dict[Split, tuple[Answer, ...]], Mapping[str, Any]]:
    """Evaluate a checkpoint with lm-evaluation-harness on the tasks of a track.

    Args:
        checkpoint: lm-eval loads it itself, but for an adapter, which is put into its base before.
        track: name of a track, or a release's folder.
        dtype: of the weights; in float32 answers do not hang on the batch they are asked in.
        batch_size: of lm-eval; by default what suits the device.
        device: of lm-eval; by default the GPU if there is one.
        quiet: without lm-eval's own progress bars.

    Returns:
        The answers per split, and lm-eval's own table of metrics (``results`` of its ``evaluate``), unchanged.
    """
    import torch
    from lm_eval import evaluate as lm_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns once a task of what it was asked to do
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    # Its tokenizer is given: what texts begin with is settled there.
    given: dict[str, Any] = {"pretrained": checkpoint.location, "revision": checkpoint.revision or "main"}
    if checkpoint.adapter:
        given["pretrained"], given["tokenizer"] = load(checkpoint, dtype=dtype, device=device)
    else:
        given["tokenizer"] = load_tokenizer(checkpoint)
    manager = TaskManager(include_path=str(tasks_dir()), include_defaults=False, metadata={"track": track})
    with contextlib.redirect_stderr(io.StringIO()) if quiet else contextlib.nullcontext():
        # What `lm_eval` itself runs, but for its survey of the machine, which takes seconds and calls git.
        found = lm_evaluate(
            lm=HFLM(
                **given,
                dtype=dtype,
                batch_size=batch_size or (64 if device == "cpu" else 512),
                device=device,
            ),
            task_dict=manager.load(["fthall"]),
            log_samples=True,
            bootstrap_iters=0,
        )
    answers: dict[Split, tuple[Answer, ...]] = {}
    for split in Split:
        rows = []
        for sample in found["samples"][f"fthall_{split}"]:
            document, text = sample["doc"], first_line(sample["filtered_resps"][0])
            rows.append(Answer(document["fact_id"], split, text, judge(text, document["answers"])))
        answers[split] = tuple(rows)
    return answers, found["results"]
