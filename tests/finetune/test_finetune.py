"""Training on a two-layer model: what each method changes, and that a killed run ends where a whole one does."""

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from builders import tiny_release
from fthall.engines.questions import evaluate
from fthall.engines.shared import head
from fthall.errors import FthallError
from fthall.finetune import read_answers, read_outcomes
from fthall.finetune import train as training_module
from fthall.finetune.loop.data import Collate, EvenBatches, completions, encode
from fthall.finetune.loop.teacher import Frozen
from fthall.finetune.loop.trainer import FactTrainer
from fthall.finetune.methods.freeze import choose_parameters
from fthall.finetune.recipe import Run, Training, load_recipe
from fthall.finetune.train import train
from fthall.records import Release, Split

RECIPES = Path(__file__).parents[2] / "benchmark/recipes"
FAST = Training(epochs=2, batch_size=4, learning_rate=1e-2, precision="fp32")
SFT = Run(entry="sft", title="SFT", method="sft")
DISTILL = Run(entry="self-distill", title="SD", method="self-distill", distill={"teacher": "snapshot"})


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return tiny_release(tmp_path_factory.mktemp("release"))


def fresh(tiny_base: Path):
    return AutoModelForCausalLM.from_pretrained(tiny_base)


def trained(tiny_base, tokenizer, release, folder, run=SFT, settings=FAST, seed=0, **options):
    model = fresh(tiny_base)
    trajectory = train(release, model, tokenizer, run, settings, seed, folder, **options)
    return model, trajectory


def equal(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_sft_learns_what_it_is_trained_on(tiny_base, tokenizer, release, tmp_path):
    settings = FAST.model_copy(update={"epochs": 30})
    _, trajectory = trained(tiny_base, tokenizer, release, tmp_path, settings=settings, resumable=False)
    assert [point.epoch for point in trajectory] == list(range(31))
    assert trajectory[0].known == 0
    assert trajectory[-1].known > 60, "a two-layer model that cannot learn a dozen facts is not being trained"
    assert trajectory[-1].train_loss < trajectory[1].train_loss
    # what is saved is what was evaluated
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint")
    from fthall.engines.hf import HfEngine

    again = evaluate(HfEngine(saved, tokenizer), release)
    assert again == read_answers(tmp_path / "answers.jsonl")
    assert not (tmp_path / "trainer").exists()


def test_the_untouched_base_is_asked_once_for_all_runs(tiny_base, tokenizer, release, tmp_path):
    kept, asked = tmp_path / f"base-{release.digest[:12]}.jsonl", []
    options = {"shared": tmp_path, "resumable": False, "on_answers": asked.append}
    _, first = trained(tiny_base, tokenizer, release, tmp_path / "a", **options)
    before, answers = sum(asked), read_answers(kept)
    assert sum(answer.outcome == "correct" for answer in answers[Split.HELD]) * 100 / len(answers[Split.HELD]) == (
        first[0].held
    )
    kept.write_text(kept.read_text().replace('"wrong"', '"correct"'))
    _, second = trained(tiny_base, tokenizer, release, tmp_path / "b", **options)
    assert second[0].held == 100, "it was read, not asked"
    assert second[1:] == first[1:]
    assert sum(asked) == 2 * before, "progress is the same"
    started = SFT.model_copy(update={"start": "format"})
    _, third = trained(tiny_base, tokenizer, release, tmp_path / "c", started, **options)
    assert third[0].held < 100, "this one does not begin with the base"


@pytest.mark.parametrize(("group", "changed", "kept"), [("attention", "self_attn", "mlp"), ("ffn", "mlp", "self_attn")])
def test_freezing_leaves_all_other_parameters_untouched(tiny_base, tokenizer, release, tmp_path, group, changed, kept):
    run = Run(entry="freeze", title="F", method="freeze", trained=group)
    model, _ = trained(tiny_base, tokenizer, release, tmp_path, run, resumable=False)
    before = fresh(tiny_base).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == (changed not in name), name
    assert any(kept in name for name in before)


@pytest.mark.parametrize(("precision", "expected"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_precision_is_that_of_the_matrix_products_and_the_weights_stay_float32(
    tiny_base, tokenizer, release, tmp_path, precision, expected
):
    model, seen = fresh(tiny_base), set()
    layer = model.model.layers[0].mlp.up_proj
    layer.register_forward_hook(lambda module, _, output: seen.add(output.dtype) if module.training else None)
    settings = FAST.model_copy(update={"precision": precision})
    train(release, model, tokenizer, DISTILL, settings, 0, tmp_path, resumable=False)
    assert seen == {expected}
    assert {
        parameter.dtype for parameter in AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint").parameters()
    } == {torch.float32}


def test_a_learning_rate_of_zero_changes_no_answer(tiny_base, tokenizer, release, tmp_path):
    settings = FAST.model_copy(update={"learning_rate": 0.0})
    model, trajectory = trained(tiny_base, tokenizer, release, tmp_path, settings=settings, resumable=False)
    assert equal(model, fresh(tiny_base))
    first, last = trajectory[0], trajectory[-1]
    assert (first.known, first.unknown, first.held) == (last.known, last.unknown, last.held)


def test_the_only_known_twin_sees_the_known_facts_in_the_same_order(release):
    known = [*release.splits[Split.KNOWN]]
    both = [*known, *release.splits[Split.UNKNOWN]]
    for epoch in range(3):
        twin, full = EvenBatches([fact.id for fact in known], 5, 2), EvenBatches([fact.id for fact in both], 5, 4)
        twin.set_epoch(epoch)
        full.set_epoch(epoch)
        assert [known[i].id for i in twin.order()] == [both[i].id for i in full.order() if both[i] in known]
    assert (
        EvenBatches([fact.id for fact in both], 5, 4).order() != EvenBatches([fact.id for fact in both], 6, 4).order()
    )


def trainer_for(model, tokenizer, release, tmp_path, weight=0.0, temperature=0.5, **arguments):
    from transformers import TrainingArguments

    facts = [*release.splits[Split.KNOWN], *release.splits[Split.UNKNOWN]]
    examples = encode(completions(facts, "known"), tokenizer)
    options = {"use_cpu": True, "report_to": [], "save_strategy": "no", "max_steps": 2, "learning_rate": 1e-2}
    options |= {"disable_tqdm": True, "remove_unused_columns": False, "lr_scheduler_type": "constant"}
    made = FactTrainer(
        model=model,
        args=TrainingArguments(output_dir=str(tmp_path), **(options | arguments)),
        train_dataset=examples,
        batches=EvenBatches(
            [fact.id for fact in facts],
            0,
            arguments.get("per_device_train_batch_size", 8),
            arguments.get("gradient_accumulation_steps", 1),
        ),
        collate=Collate(),
        distill_weight=weight,
        distill_temperature=temperature,
    )
    return made, examples


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_accumulated_batches_have_the_gradient_of_one_large_batch(tiny_base, tokenizer, release, tmp_path, weight):
    gradients = []
    for batch, accumulation in ((6, 1), (3, 2), (2, 3)):
        model = fresh(tiny_base)
        trainer, examples = trainer_for(
            model,
            tokenizer,
            release,
            tmp_path,
            weight,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
            max_steps=1,
            learning_rate=0.0,
            max_grad_norm=0.0,
        )
        if weight:
            teacher = fresh(tiny_base)
            with torch.no_grad():
                for parameter in teacher.parameters():
                    parameter.mul_(1.1)
            trainer.teacher = Frozen.of(teacher, examples, Collate(), batch_size=4)
        caught = {}

        class Catch(training_module.TrainerCallback):
            def on_pre_optimizer_step(self, args, state, control, **kwargs):
                caught.update({n: p.grad.clone() for n, p in kwargs["model"].named_parameters()})  # noqa: B023

        trainer.add_callback(Catch())
        trainer.train()
        gradients.append(caught)
    for other in gradients[1:]:
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=3e-6)  # nodes add up in another order


def test_without_weight_self_distillation_is_sft_to_the_bit(tiny_base, tokenizer, release, tmp_path):
    models = []
    for with_teacher in (False, True):
        model = fresh(tiny_base)
        trainer, examples = trainer_for(model, tokenizer, release, tmp_path, weight=0.0, per_device_train_batch_size=4)
        if with_teacher:
            trainer.teacher = Frozen.of(fresh(tiny_base), examples, Collate(), batch_size=4)
        trainer.train()
        models.append(model)
    assert equal(*models)
    assert not equal(models[0], fresh(tiny_base))


def test_distillation_counts_all_real_positions_and_starts_at_zero(tiny_base, tokenizer, release, tmp_path):
    model = fresh(tiny_base)
    trainer, examples = trainer_for(model, tokenizer, release, tmp_path, weight=1.0)
    batch = Collate()(examples[:3])
    plain = trainer.compute_loss(model, batch)
    trainer.teacher = Frozen.of(model, examples, Collate(), batch_size=2)
    # the student is its own teacher: the term vanishes
    torch.testing.assert_close(trainer.compute_loss(model, batch), plain)
    # against another teacher: the mean over non-padded positions of τ² KL, computed the long way
    other = fresh(tiny_base)
    with torch.no_grad():
        other.lm_head.weight.mul_(1.5)
    trainer.teacher = Frozen.of(other, examples, Collate(), batch_size=2)
    expected, positions = 0.0, 0
    for example in examples[:3]:
        ids = torch.tensor([example.input_ids])
        student = torch.log_softmax(model(input_ids=ids).logits[0] / 0.5, -1)
        teacher = torch.log_softmax(other(input_ids=ids).logits[0] / 0.5, -1)
        expected += 0.25 * float((teacher.exp() * (teacher - student)).sum())
        positions += len(example.input_ids)
    found = float(trainer.compute_loss(model, batch) - plain)
    assert found == pytest.approx(expected / positions, rel=1e-3)
    assert found > 0


class Killed(Exception):
    pass


@pytest.mark.parametrize("run", [SFT, DISTILL], ids=["sft", "self-distill"])
def test_a_killed_run_goes_on_and_ends_where_a_whole_one_does(tiny_base, tokenizer, release, tmp_path, run):
    settings = FAST.model_copy(update={"epochs": 4})
    whole, trajectory = trained(tiny_base, tokenizer, release, tmp_path / "whole", run, settings)

    def kill(point):
        if point.epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        trained(tiny_base, tokenizer, release, tmp_path / "killed", run, settings, on_epoch=kill)
    seen = []
    again, resumed = trained(tiny_base, tokenizer, release, tmp_path / "killed", run, settings, on_epoch=seen.append)
    assert [point.epoch for point in seen] == [3, 4], "epochs 1 and 2 were saved and must not be repeated"
    assert resumed == trajectory
    assert read_outcomes(tmp_path / "killed") == read_outcomes(tmp_path / "whole")
    assert equal(whole, again)


def test_a_finished_run_is_not_repeated_and_not_overwritten(tiny_base, tokenizer, release, tmp_path):
    _, trajectory = trained(tiny_base, tokenizer, release, tmp_path, resumable=False)
    before = (tmp_path / "run.json").read_bytes()
    seen = []
    _, again = trained(tiny_base, tokenizer, release, tmp_path, on_epoch=seen.append)
    assert (again, seen) == (trajectory, [])
    assert (tmp_path / "run.json").read_bytes() == before
    with pytest.raises(FthallError, match="other settings"):
        trained(tiny_base, tokenizer, release, tmp_path, seed=1)


def test_head_is_the_models_own(tiny_base):
    model = fresh(tiny_base)
    ids = torch.tensor([[5, 6, 7]])
    hidden = model.base_model(input_ids=ids).last_hidden_state
    torch.testing.assert_close(head(model, hidden), model(input_ids=ids).logits)


def test_unknown_parameter_groups_are_refused(tiny_base):
    with pytest.raises(FthallError, match="known groups: all, attention, ffn"):
        choose_parameters(fresh(tiny_base), ["heads"])
    with pytest.raises(FthallError, match="no parameters of the group"):
        choose_parameters(torch.nn.Linear(2, 2), ["attention"])


@pytest.mark.parametrize(
    "path", [p for p in sorted(RECIPES.glob("*.yaml")) if not p.stem.endswith("-sweep")], ids=lambda path: path.stem
)
def test_the_recipes_of_the_repository_load(path):
    recipe = load_recipe(path)
    # What a sweep chose is compared with the reference of its track, which another recipe runs.
    chosen = path.stem.endswith("-tuned")
    assert (recipe.runs[0].trained_on == (Split.KNOWN,)) != chosen, "the reference comes first"
    assert all(bool(run.tuned) == chosen for run in recipe.runs)


@pytest.mark.parametrize(
    "make",
    [
        lambda shape: Qwen2ForCausalLM(Qwen2Config(**shape)),
        lambda shape: LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=False)),
    ],
    ids=["qwen2.5", "llama3.1"],
)
def test_the_groups_of_the_papers_architectures(make):
    shape = {"vocab_size": 50, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2}
    model = make({**shape, "num_attention_heads": 2, "num_key_value_heads": 1})
    chosen = {}
    for group in ("attention", "ffn"):
        choose_parameters(model, [group])
        chosen[group] = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    layers = {name for name, _ in model.named_parameters() if ".layers." in name and "norm" not in name}
    assert chosen["attention"] | chosen["ffn"] == layers
    assert not chosen["attention"] & chosen["ffn"]


DISTILLED = {"entry": "x", "title": "X", "method": "self-distill"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": []}, "seeds"),
        ({"colour": 1}, "colour: no such field; known are track, base"),
        ({"runs": [{"entry": "x", "title": "X", "method": "magic"}]}, "method"),
        ({"runs": [{"entry": "x", "title": "X", "method": "freeze"}]}, "freeze needs"),
        ({"training": {"schedule": "polynomial"}}, "schedule: Input should be 'constant', 'linear' or 'cosine'"),
        ({"training": {"warmup": 1.5}}, "warmup"),
        ({"training": {"epochs": 2, "average_epochs": 3}}, "average_epochs is 3, but there are only 2 epochs"),
        ({"training": {"evaluate_on": ["known"]}}, "evaluate_on needs unknown and held"),
        ({"runs": [DISTILLED]}, "self-distill needs a block distill:"),
        ({"runs": [{**DISTILLED, "distill": {"teacher": "oracle"}}]}, "teacher: Input should be 'snapshot', 'format'"),
        ({"runs": [{**DISTILLED, "distill": {"splits": ["held"]}}]}, "splits.0: Input should be 'known', 'unknown'"),
        (
            {"runs": [{**DISTILLED, "trained_on": ["known"], "distill": {"splits": ["unknown"]}}]},
            "splits names none that is trained on",
        ),
        ({"runs": [{"entry": "x", "title": "X", "method": "sft", "distill": {}}]}, "type method: self-distill"),
        ({"runs": [{"entry": "x", "title": "X", "method": "sft", "trained": "ffn"}]}, "type method: freeze"),
        ({"runs": [{"entry": "x", "title": "X", "method": "freeze", "trained": "heads"}]}, "known groups: all, atten"),
        ({"runs": [{"entry": "x", "title": "X", "method": "freeze", "layers": [3, 1]}]}, "layers are given as"),
        (
            {"runs": [{"entry": "x", "title": "X", "method": "lora", "lora": {"rnk": 8}}]},
            "lora.rnk: no such field; known are rank",
        ),
        ({"runs": [{"entry": "x", "title": "X", "method": "lora", "trained": "ffn", "lora": {}}]}, "adapters alone"),
        ({"runs": [{"entry": "x", "title": "X", "method": "sft", "trained_on": ["held"]}]}, "never trained on"),
        (
            {"runs": [{"entry": "x", "title": "X", "method": "lora", "lora": {}, "l2sp": {}}]},
            "set weight_decay to hold its adapters back",
        ),
        ({"runs": [{"entry": "x", "title": "X", "method": "oplora", "lora": {}}]}, "needs lora: {orthogonal: k}"),
        ({"runs": [{"entry": "x", "title": "X", "method": "anchor", "replay": {}}]}, "replay: {targets: soft}"),
        (
            {"runs": [{"entry": "x", "title": "X", "method": "wise-ft", "interpolate": {"of": "sft"}, "lora": {}}]},
            "of trains nothing; leave out lora",
        ),
        (
            {"runs": [{**DISTILLED, "distill": {"epoch": 2}}], "training": {"epochs": 2}},
            "x: the snapshot after epoch 2 of 2 teaches nothing; lower distill: epoch",
        ),
        (
            {
                "runs": [{"entry": "x", "title": "X", "method": "early-stop", "early_stop": {}}],
                "training": {"average_epochs": 2},
            },
            "x: early_stop keeps the weights of one epoch; leave out average_epochs",
        ),
        ({"runs": [{"entry": "x", "title": "X", "method": "sft", "schedule": "steps"}]}, "schedule: Input should be"),
    ],
)
def test_bad_recipes_get_one_clear_line(tmp_path, change, message):
    import yaml

    good = {"track": "t/b", "base": "b", "seeds": [0], "runs": [{"entry": "sft", "title": "SFT", "method": "sft"}]}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(good))
    assert load_recipe(path).runs[0].entry == "sft"
    path.write_text(yaml.safe_dump(good | change))
    with pytest.raises(FthallError) as caught:
        load_recipe(path)
    said = str(caught.value)
    assert message in said
    assert "\n" not in said and "Value error" not in said and "a dict" not in said


@pytest.mark.parametrize("configured", [None, 7, [7, 9]])
def test_the_checkpoint_ends_an_answer_with_the_token_it_was_taught(
    tiny_base, tokenizer, release, tmp_path, configured
):
    model = fresh(tiny_base)
    model.generation_config.eos_token_id = configured
    train(release, model, tokenizer, SFT, FAST, 0, tmp_path / "run", resumable=False)
    saved = GenerationConfig.from_pretrained(tmp_path / "run/checkpoint").eos_token_id
    others = configured if isinstance(configured, list) else [configured] if configured else []
    assert saved == [*others, tokenizer.eos_token_id]
