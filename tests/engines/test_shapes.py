"""Every shape of model with a tokenizer as it comes: labels, trainings and evaluations, the same by every way."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from builders import EXEMPLAR, fact, tiny_facts, tiny_release
from fthall import bases
from fthall import facts as sources
from fthall.engines import evaluate, lm_eval_answers
from fthall.engines.hf import HfEngine
from fthall.engines.plain import GenerateEngine
from fthall.finetune import read_answers
from fthall.finetune.recipe import Run, Training
from fthall.finetune.train import train
from fthall.knowledge import slick
from fthall.records import Split
from shapes import MODELS, base

METHODS: dict[str, dict[str, Any]] = {
    "sft": {},
    "freeze": {"trained": ["attention"]},
    "lora": {"lora": {"rank": 2, "alpha": 4}},
    "l2sp": {"l2sp": {"weight": 0.1}},
    "ewc": {"ewc": {"weight": 0.1, "to": "base"}},
    "self-distill": {"distill": {"weight": 1.0, "teacher": "few-shot", "shots": 2}},
    "replay": {"replay": {"what": "known", "share": 0.5}},
}
FAST = Training(epochs=1, batch_size=4, learning_rate=1e-3, precision="fp32")


@pytest.fixture(scope="module", params=MODELS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of that shape, saved."""
    return base(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def loaded(folder: Path) -> tuple[Any, Any]:
    return bases.load(bases.find(str(folder)))


def test_labels_are_those_of_generate_then_score(loaded: tuple[Any, Any], tmp_path: Path) -> None:
    model, tokenizer = loaded
    asked = [f"{EXEMPLAR}Q: {one.question}\nA:" for one in tiny_facts()]
    said = GenerateEngine(model, tokenizer).greedy(asked, max_new_tokens=4)
    assert len(set(said)) > 1, "it does not say the same of all"
    assert HfEngine(model, tokenizer).greedy(asked, max_new_tokens=4) == said
    # Half of what it says is right.
    facts = [
        fact(f"f{n}", origin="train" if n % 2 else "dev", answer=text if text and n % 2 else "Nowhere")
        for n, text in enumerate(said)
    ]
    config = slick.SlickConfig(runs=2, shots=2, max_new_tokens=4)
    tables = [
        slick.label(facts, engine, config, tmp_path / f"{type(engine).__name__}.parquet", identity={})
        for engine in (HfEngine(model, tokenizer), GenerateEngine(model, tokenizer))
    ]
    assert [list(row) for row in tables[0]["right"]] == [list(row) for row in tables[1]["right"]]


def test_every_way_to_evaluate_says_the_same(folder: Path, loaded: tuple[Any, Any], tmp_path: Path) -> None:
    release = tiny_release(tmp_path)
    ours = evaluate(HfEngine(*loaded), release)
    assert evaluate(GenerateEngine(*loaded), release) == ours
    assert lm_eval_answers(bases.find(str(folder)), str(tmp_path / "release"), quiet=True)[0] == ours


@pytest.mark.parametrize("method", METHODS)
def test_every_family_trains_it(method: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = [fact(f"n{n}") for n in range(20)]
    monkeypatch.setattr(sources, "load", lambda source, relations=None: [*tiny_facts(), *more])
    release = tiny_release(tmp_path)
    model, tokenizer = bases.load(bases.find(str(folder)), for_training=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run = Run(entry="x", title="X", method=method, **METHODS[method])
    train(release, model, tokenizer, run, FAST, 0, tmp_path / "run", resumable=False)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "checkpoint").state_dict()
    moved = {name for name in before if not (before[name] == saved[name]).all()}
    assert moved, "it learned something"
    assert not moved or method != "freeze" or all("att" in name for name in moved)
    again = evaluate(HfEngine(*bases.load(bases.find(str(tmp_path / "run" / "checkpoint")))), release)
    assert again == {split: read_answers(tmp_path / "run" / "answers.jsonl")[split] for split in Split}
    own = AutoTokenizer.from_pretrained(tmp_path / "run" / "checkpoint")
    assert own("Q: x").input_ids == tokenizer("Q: x").input_ids
