"""Inside a training: batches, packing, copies of the weights, teachers; against the long way round."""

import logging
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from builders import Killed, killed_after, tiny_release
from fthall.engines.shared import head
from fthall.errors import FthallError
from fthall.finetune import read_trajectory
from fthall.finetune.loop.data import IGNORED, MULTIPLE, Collate, EvenBatches, Example, completions, encode
from fthall.finetune.loop.optimiser import Copies, CopiesAdamW
from fthall.finetune.loop.passes import Graphs, can_pack, states
from fthall.finetune.loop.teacher import Average, Frozen
from fthall.finetune.recipe import Run, Training
from fthall.finetune.train import train
from fthall.records import Release, Split

FAST = Training(epochs=2, batch_size=4, learning_rate=1e-2, precision="fp32")
SFT = Run(entry="sft", title="SFT", method="sft")
KNOWN = SFT.model_copy(update={"trained_on": (Split.KNOWN,)})


def distil(start="base", **settings) -> Run:
    return Run(entry="sd", title="SD", method="self-distill", start=start, distill=settings)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return tiny_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def examples(release, tokenizer):
    return encode(completions([*release.splits[Split.KNOWN], *release.splits[Split.UNKNOWN]], "known"), tokenizer)


def fresh(tiny_base: Path):
    return AutoModelForCausalLM.from_pretrained(tiny_base)


def trained(tiny_base, tokenizer, release, folder, run=SFT, training=FAST, **options):
    model = fresh(tiny_base)
    return model, train(release, model, tokenizer, run, training, 0, folder, resumable=False, **options)


def equal(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_batches_are_as_equal_as_can_be_and_hold_each_fact_once(count, size, accumulation):
    batches = EvenBatches([f"u{n}" for n in range(count)], 0, size, accumulation)
    found = list(batches)
    assert sorted(n for batch in found for n in batch) == list(range(count))
    assert len(found) == len(batches)
    sizes = [len(batch) for batch in found]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    steps = math.ceil(count / (size * accumulation))
    assert len(found) == min(steps * accumulation, count), "no step of fewer batches than the others"


def test_each_epoch_has_an_order_of_its_own():
    batches = EvenBatches([f"u{n}" for n in range(20)], 0, 4)
    first = list(batches)
    batches.set_epoch(1)
    assert list(batches) != first


def test_a_packed_batch_by_hand():
    batch = [Example(7, (1, 2, 3, 4), 3), Example(8, (1, 2, 5), 2), Example(9, (1, 2, 3, 6), 3, "apart")]
    found = Collate()(batch)
    ids = found["input_ids"][0].tolist()
    assert ids[:9] == [1, 2, 3, 4, 5, 1, 2, 3, 6], "the second shares two nodes, another family none"
    assert len(ids) == MULTIPLE
    assert found["position_ids"][0].tolist()[:9] == [0, 1, 2, 3, 2, 0, 1, 2, 3]
    mask = found["attention_mask"][0, 0]
    assert mask[4].nonzero()[:, 0].tolist() == [0, 1, 4]
    assert mask[8].nonzero()[:, 0].tolist() == [5, 6, 7, 8]
    learned = found["labels"] != IGNORED
    assert found["labels"][learned].tolist() == [4, 5, 6]
    assert found["predicting"][learned].tolist() == [2, 1, 7]
    weight: dict[int, int] = {}
    for node, count in zip(found["compared"].tolist(), found["weight"].tolist(), strict=True):
        weight[node] = weight.get(node, 0) + count
    assert weight == {0: 2, 1: 2, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1}
    assert (found["owner"][3], found["offset"][3]) == (7, 3)


@pytest.mark.parametrize(("positions", "expected"), [("all", 11), ("prompt", 2 + 1 + 2), ("answer", 2 + 2 + 2)])
def test_what_counts_for_distillation(positions, expected):
    batch = [Example(0, (1, 2, 3, 4), 3), Example(1, (1, 2, 5), 2), Example(2, (1, 2, 3, 6), 3)]
    assert int(Collate(positions=positions)(batch)["weight"].sum()) == expected
    assert int(Collate(positions="all", counted=frozenset({1}))(batch)["weight"].sum()) == 3


@pytest.mark.parametrize("positions", ["all", "prompt", "answer"])
def test_packed_states_and_gradients_are_those_of_the_examples_apart(tiny_base, examples, positions):
    assert can_pack(fresh(tiny_base), examples)
    found = []
    for packed in (True, False):
        model = fresh(tiny_base)
        inputs = Collate(packed, positions)(examples)
        logits = head(model, states(model, inputs)[inputs["predicting"]])
        loss = torch.nn.functional.cross_entropy(logits, inputs["labels"], reduction="sum")
        loss.backward()
        found.append((loss.detach(), int(inputs["weight"].sum()), {n: p.grad for n, p in model.named_parameters()}))
    torch.testing.assert_close(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    for name, gradient in found[1][2].items():
        torch.testing.assert_close(found[0][2][name], gradient, rtol=1e-4, atol=1e-4)


def test_where_it_would_not_be_the_same_nothing_is_packed(examples):
    shape = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 300}
    assert not can_pack(GPT2LMHeadModel(GPT2Config(**shape)), examples), "dropout"
    still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "summary_first_dropout": 0.0}
    assert can_pack(GPT2LMHeadModel(GPT2Config(**shape, **still)), examples)


def test_the_learning_rate_rises_and_falls_to_zero(tiny_base, tokenizer, release, tmp_path, monkeypatch):
    from fthall.finetune import train as module

    rates = {}
    for schedule in ("constant", "linear", "cosine"):
        seen = rates.setdefault(schedule, [])
        monkeypatch.setattr(
            module._Moments,
            "on_step_end",
            lambda self, args, state, control, seen=seen, **kwargs: seen.append(
                kwargs["lr_scheduler"].get_last_lr()[0]
            ),
        )
        training = Training(epochs=5, batch_size=2, learning_rate=1.0e-3, schedule=schedule, warmup=0.2)
        trained(tiny_base, tokenizer, release, tmp_path / schedule, training=training)
    assert all(len(seen) == 15 for seen in rates.values())
    for seen in rates.values():
        assert seen[:3] == pytest.approx([1 / 3e3, 2 / 3e3, 1e-3])
    assert rates["constant"][2:] == [1e-3] * 13
    assert rates["linear"][3:] == pytest.approx([1e-3 * (12 - n) / 12 for n in range(1, 13)])
    assert rates["cosine"][8] == pytest.approx(5e-4)
    assert rates["linear"][-1] == rates["cosine"][-1] == pytest.approx(0, abs=1e-12)


def test_copies_are_updated_as_adamw_updates(tiny_base):
    ours, theirs = fresh(tiny_base), fresh(tiny_base)
    copies = Copies(ours)
    assert ours.lm_head.weight.dtype == torch.bfloat16
    assert ours.model.norm.weight.dtype == torch.float32
    groups = [{"params": list(ours.parameters()), "weight_decay": 0.1}]
    optimiser = CopiesAdamW(groups, copies, lr=1e-2)
    usual = torch.optim.AdamW(theirs.parameters(), lr=1e-2, weight_decay=0.1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            gradient = torch.randn(other.shape, generator=generator).to(one.dtype)
            one.grad, other.grad = gradient, gradient.float().clone()
        norm = optimiser.clip(1.0)
        torch.testing.assert_close(norm, torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0))
        optimiser.step()
        usual.step()
    weights = [copies.weights.get(parameter, parameter.data) for parameter in ours.parameters()]
    for (name, other), weight in zip(theirs.named_parameters(), weights, strict=True):
        torch.testing.assert_close(weight, other.data, msg=lambda text, name=name: f"{name}: {text}")
    for parameter, weight in copies.weights.items():
        assert torch.equal(parameter.data, weight.bfloat16())
    with copies.whole():
        assert ours.lm_head.weight.dtype == torch.float32
    assert ours.lm_head.weight.dtype == torch.bfloat16
    saved = optimiser.state_dict()
    again = fresh(tiny_base)
    others = Copies(again)
    resumed = CopiesAdamW([{"params": list(again.parameters()), "weight_decay": 0.1}], others, lr=1e-2)
    resumed.load_state_dict(saved)
    copies.close()
    others.close()
    assert again.lm_head.weight.dtype == torch.float32
    assert equal(ours, again)


def test_training_in_bfloat16_ends_near_training_in_float32(tiny_base, tokenizer, release, tmp_path):
    gentle = FAST.model_copy(update={"learning_rate": 1e-3})
    exact, _ = trained(tiny_base, tokenizer, release, tmp_path / "a", training=gentle)
    rounded, _ = trained(
        tiny_base, tokenizer, release, tmp_path / "b", training=gentle.model_copy(update={"precision": "bf16"})
    )
    assert {parameter.dtype for parameter in rounded.parameters()} == {torch.float32}
    before = fresh(tiny_base)
    moved = torch.cat([(a - b).flatten() for a, b in zip(exact.parameters(), before.parameters(), strict=True)])
    other = torch.cat([(a - b).flatten() for a, b in zip(rounded.parameters(), before.parameters(), strict=True)])
    assert torch.nn.functional.cosine_similarity(moved, other, dim=0) > 0.9


def test_a_start_from_the_format_is_the_only_known_run(tiny_base, tokenizer, release, tmp_path):
    twin, _ = trained(tiny_base, tokenizer, release, tmp_path / "twin", KNOWN)
    still = FAST.model_copy(update={"learning_rate": 0.0})
    run = SFT.model_copy(update={"start": "format", "format_epochs": 2, "learning_rate": 0.0})
    started, trajectory = trained(tiny_base, tokenizer, release, tmp_path / "started", run)
    assert equal(started, twin)
    assert not equal(started, trained(tiny_base, tokenizer, release, tmp_path / "still", training=still)[0])
    assert trajectory[0].known == trajectory[-1].known


def test_without_weight_a_teacher_changes_nothing(tiny_base, tokenizer, release, tmp_path):
    plain, _ = trained(tiny_base, tokenizer, release, tmp_path / "sft", SFT.model_copy(update={"start": "format"}))
    idle = distil("format", teacher="format", weight=0.0)
    assert equal(plain, trained(tiny_base, tokenizer, release, tmp_path / "idle", idle)[0])


@pytest.mark.parametrize(
    "run",
    [
        distil(teacher="snapshot"),
        distil(teacher="format"),
        distil(start="format", teacher="format"),
        distil(teacher="format", positions="answer", splits=["known"]),
        distil(teacher="base"),
        distil(teacher="few-shot", shots=1),
        distil(teacher="ema", decay=0.5),
    ],
    ids=lambda run: f"{run.distill.teacher}-{run.start}-{run.distill.positions}",
)
def test_each_teacher_holds_the_student_back_and_a_killed_run_ends_where_a_whole_one_does(
    tiny_base, tokenizer, release, tmp_path, run
):
    whole = fresh(tiny_base)
    training = FAST.model_copy(update={"epochs": 3})
    trajectory = train(release, whole, tokenizer, run, training, 0, tmp_path / "whole")
    other = SFT.model_copy(update={"start": run.start})
    assert not equal(whole, trained(tiny_base, tokenizer, release, tmp_path / "sft", other, training)[0])
    assert not list((tmp_path / "whole").glob("*.safetensors"))

    with pytest.raises(Killed):
        train(release, fresh(tiny_base), tokenizer, run, training, 0, tmp_path / "killed", on_epoch=killed_after(2))
    again = fresh(tiny_base)
    assert train(release, again, tokenizer, run, training, 0, tmp_path / "killed") == trajectory
    assert equal(whole, again)


def test_a_teacher_behind_exemplars_says_what_the_base_says_behind_them(tiny_base, tokenizer, examples):
    model = fresh(tiny_base).eval()
    context = tokenizer("Q: x?\nA: y\n\n").input_ids
    chosen = [replace(example, family="x") for example in examples[:2]]
    teacher = Frozen.of(model, chosen, Collate(), contexts=[context] * 2)
    inputs = Collate()(chosen)
    for row, example in zip(inputs["rows"], chosen, strict=True):
        nodes = row[: len(example.input_ids)]
        expected = model(input_ids=torch.tensor([[*context, *example.input_ids]])).logits[0, len(context) :]
        torch.testing.assert_close(teacher.logits(model, inputs, nodes), expected, rtol=1e-4, atol=1e-4)


def test_a_moving_average_by_hand(tiny_base):
    model = fresh(tiny_base)
    teacher = Average(model, 0.75)
    teacher.update([weight + 1 for weight in model.parameters()])
    for own, weight in zip(teacher._model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(own, weight + 0.25)


def test_too_few_known_facts_for_exemplars(tiny_base, tokenizer, release, tmp_path):
    with pytest.raises(
        FthallError, match=r"few-shot teacher lacks known facts: .* has 3 exemplars.*lower distill: shots"
    ):
        trained(tiny_base, tokenizer, release, tmp_path, distil(teacher="few-shot", shots=3))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_mean_of_the_last_weights(tiny_base, tokenizer, release, tmp_path, precision):
    constant = FAST.model_copy(update={"epochs": 3, "schedule": "constant", "warmup": 0.0, "precision": precision})
    after = [
        trained(tiny_base, tokenizer, release, tmp_path / f"{n}", training=constant.model_copy(update={"epochs": n}))[0]
        for n in (2, 3)
    ]
    averaged = constant.model_copy(update={"average_epochs": 2})
    mean, trajectory = trained(tiny_base, tokenizer, release, tmp_path / "mean", training=averaged)
    for a, b, c in zip(after[0].parameters(), after[1].parameters(), mean.parameters(), strict=True):
        torch.testing.assert_close(c, (a + b) / 2)
    assert len(trajectory) == 4


def test_evaluations_are_as_far_apart_as_asked(tiny_base, tokenizer, release, tmp_path):
    few = (Split.UNKNOWN, Split.HELD)
    seldom = FAST.model_copy(update={"epochs": 5, "evaluate_every": 3, "evaluate_on": few})
    asked = []
    _, trajectory = trained(tiny_base, tokenizer, release, tmp_path, training=seldom, on_answers=asked.append)
    assert [point.epoch for point in trajectory] == [0, 3, 5]
    assert [point.known is None for point in trajectory] == [False, True, False]
    assert sum(asked) == 12 + 7 + 12


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_what_was_saved(tiny_base, tokenizer, release, tmp_path):
    model, wild = fresh(tiny_base), FAST.model_copy(update={"epochs": 3})

    def spoil(point):
        if point.epoch == 2:
            with torch.no_grad():
                model.lm_head.weight.fill_(float("nan"))

    with pytest.raises(FthallError, match=r"the loss is nan at step 5 of 6 .* lower learning_rate") as caught:
        train(release, model, tokenizer, SFT, wild, 0, tmp_path, on_epoch=spoil)
    assert "\n" not in str(caught.value)
    saved = sorted((tmp_path / "trainer").glob("checkpoint-*/model.safetensors"))
    assert saved
    assert [point.epoch for point in read_trajectory(tmp_path)] == [0, 1, 2]


def test_graphs_give_the_states_and_gradients_of_the_plain_pass(tiny_base, examples, monkeypatch, caplog) -> None:
    recorded = []

    def record(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> torch.nn.Module:
        recorded.append(given[0].shape)
        if len(recorded) > 2:
            raise RuntimeError("operation not permitted when stream is capturing\nand so on")
        return module

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", record)
    model = fresh(tiny_base)
    graphs = Graphs(model)
    for multiple, shapes in ((128, 1), (128, 1), (256, 2)):
        inputs = Collate(multiple=multiple)(examples[:3])
        model.zero_grad()
        plain = states(model, inputs)
        plain.sum().backward()
        expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        model.zero_grad()
        found = graphs.states(model, inputs)
        found.sum().backward()
        assert torch.equal(found, plain)
        assert all(torch.equal(p.grad, expected[n]) for n, p in model.named_parameters() if p.grad is not None)
        assert len(recorded) == shapes, "one a shape"
    inputs = Collate(multiple=512)(examples[:3])
    with caplog.at_level(logging.WARNING):
        assert torch.equal(graphs.states(model, inputs), states(model, inputs)), "it goes on without"
        assert torch.equal(graphs.states(model, inputs), states(model, inputs))
    assert caplog.text.count("no CUDA graph") == 1
    assert "\nand so on" not in caplog.text
