"""Each family does what it says: on a two-layer random model, with numbers by hand where there are any."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from builders import Killed, fact, killed_after, tiny_facts, tiny_release
from fthall import facts as sources
from fthall.engines.hf import HfEngine
from fthall.errors import FthallError
from fthall.files import read_json, read_jsonl, write_jsonl
from fthall.finetune.folder import read_trajectory
from fthall.finetune.job import Job
from fthall.finetune.loop.data import Collate, EvenBatches, completions, encode
from fthall.finetune.methods.freeze import choose_parameters
from fthall.finetune.methods.pull import Pulling
from fthall.finetune.methods.replay import Replay, fresh_facts
from fthall.finetune.methods.stop import EarlyStop
from fthall.finetune.methods.targets import Mixing, MixSD, Relabel, Relabelling
from fthall.finetune.recipe import Run, Training
from fthall.finetune.train import train
from fthall.prompts import ask, few_shot
from fthall.records import Release, Split

FAST = Training(epochs=2, batch_size=4, learning_rate=1e-2, precision="fp32")
SFT = Run(entry="sft", title="SFT", method="sft")


def a(method: str, **settings) -> Run:
    return Run(entry="x", title="X", method=method, **settings)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return tiny_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(autouse=True)
def fresh_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source has the facts of the release, and twenty more."""
    more = [fact(f"n{n}") for n in range(20)]
    monkeypatch.setattr(sources, "load", lambda source, relations=None: [*tiny_facts(), *more])


def fresh(tiny_base: Path):
    return AutoModelForCausalLM.from_pretrained(tiny_base)


def trained(tiny_base, tokenizer, release, folder, run, training=FAST, **options):
    model = fresh(tiny_base)
    train(release, model, tokenizer, run, training, 0, folder, **{"resumable": False, **options})
    return model


@pytest.fixture(scope="module")
def plain(tiny_base, tokenizer, release, tmp_path_factory):
    """The weights of plain SFT."""
    return trained(tiny_base, tokenizer, release, tmp_path_factory.mktemp("sft"), SFT).state_dict()


def equal(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def distance(one, other) -> float:
    return sum(float((one[name] - other[name]).square().sum()) for name in one) ** 0.5


@pytest.mark.parametrize(
    "run",
    [
        a("l2sp", l2sp={"weight": 0}),
        a("ewc", ewc={"weight": 0, "to": "base"}),
        a("self-distill", distill={"weight": 0, "teacher": "base"}),
    ],
    ids=lambda run: run.method,
)
def test_a_weight_of_zero_is_sft_to_the_bit(tiny_base, tokenizer, release, tmp_path, plain, run):
    assert equal(trained(tiny_base, tokenizer, release, tmp_path, run).state_dict(), plain)


@pytest.mark.parametrize(
    ("settings", "moves"),
    [
        ({"trained": "gate-up"}, ("gate_proj", "up_proj")),
        ({"trained": "down"}, ("down_proj",)),
        ({"trained": "embeddings"}, ("embed_tokens", "lm_head")),
        ({"trained": ["attention", "down"], "layers": [1, 1]}, ("layers.1.self_attn", "layers.1.mlp.down_proj")),
    ],
    ids=str,
)
def test_what_is_frozen_has_not_moved_a_bit(tiny_base, tokenizer, release, tmp_path, settings, moves):
    base = fresh(tiny_base).state_dict()
    model = trained(tiny_base, tokenizer, release, tmp_path, a("freeze", **settings)).state_dict()
    moved = {name for name in base if not torch.equal(base[name], model[name])}
    assert moved == {name for name in base if any(part in name for part in moves)}


def test_a_group_that_is_not_there_is_said_though_another_is(tiny_base):
    model = fresh(tiny_base)
    for layer in model.model.layers:
        layer.feeds = layer._modules.pop("mlp")
    with pytest.raises(FthallError, match=r"no parameters of the group 'attention, ffn' .*found: .*attention"):
        choose_parameters(model, ["attention", "ffn"])


def test_layers_that_are_not_there(tiny_base, tokenizer, release, tmp_path):
    run = a("freeze", trained="ffn", layers=[5, 9])
    with pytest.raises(FthallError, match=r"in layers 5 to 9 of 0 to 1 .*found: all, attention, down, embeddings"):
        trained(tiny_base, tokenizer, release, tmp_path, run)


@pytest.mark.parametrize("orthogonal", [0, 3])
def test_lora_adds_what_has_a_low_rank_and_keeps_off_main_directions(
    tiny_base, tokenizer, release, tmp_path, orthogonal
):
    lora = {"rank": 2, "alpha": 4, "targets": ["q_proj", "down_proj"], "orthogonal": orthogonal}
    run = a("lora", lora=lora, weight_decay=0.01)
    base = fresh(tiny_base).state_dict()
    model = trained(tiny_base, tokenizer, release, tmp_path, run).state_dict()
    assert base.keys() == model.keys(), "it is an ordinary checkpoint"
    assert read_json(tmp_path / "run.json")["trained_parameters"] == 2 * 2 * (32 + 32 + 64 + 32)
    for name in base:
        change = model[name] - base[name]
        if "q_proj" not in name and "down_proj" not in name:
            assert not change.any(), name
            continue
        sizes = torch.linalg.svdvals(change)
        assert sizes[1] > 1e-5 > sizes[2], "rank 2"
        left, _, right = torch.linalg.svd(base[name], full_matrices=False)
        along = max((left[:, :3].T @ change).abs().max(), (change @ right[:3].T).abs().max())
        assert (along < 1e-6) == bool(orthogonal)


def test_lora_beside_modules_that_are_not_there(tiny_base, tokenizer, release, tmp_path):
    with pytest.raises(FthallError, match=r"no modules c_attn; it has down_proj, gate_proj, .*q_proj"):
        trained(tiny_base, tokenizer, release, tmp_path, a("lora", lora={"targets": ["c_attn"]}))


def test_directions_of_matrices_that_lie_on_their_side_and_no_more_than_there_are(tokenizer, release, tmp_path):
    """GPT-2's linear layers keep [in, out]."""
    ends = tokenizer.eos_token_id
    size = {"n_layer": 1, "n_head": 2, "n_embd": 32, "n_positions": 256, "vocab_size": len(tokenizer)}
    config = GPT2Config(**size, bos_token_id=ends, eos_token_id=ends)
    torch.manual_seed(0)
    base = GPT2LMHeadModel(config)
    start = {name: value.clone() for name, value in base.state_dict().items()}
    run = a("oplora", lora={"rank": 2, "targets": ["c_attn"], "orthogonal": 3})
    train(release, base, tokenizer, run, FAST, 0, tmp_path / "gpt2", resumable=False)
    name = "transformer.h.0.attn.c_attn.weight"
    change = (base.state_dict()[name] - start[name]).T
    left, _, right = (found.float() for found in torch.linalg.svd(start[name].T.double(), full_matrices=False))
    along = max((left[:, :3].T @ change).abs().max(), (change @ right[:3].T).abs().max())
    assert along < 1e-3 * change.abs().max()
    run = a("oplora", lora={"rank": 2, "orthogonal": 32})
    with pytest.raises(FthallError, match=r"orthogonal: 32 directions are all that .* has \(96 x 32\); lower it"):
        train(release, GPT2LMHeadModel(config), tokenizer, run, FAST, 0, tmp_path / "all", resumable=False)


def test_a_pull_by_hand():
    job = SimpleNamespace(run=SFT)
    pull = Pulling(100.0, "base", job, by_fisher=False)
    weights = {"w": torch.tensor([1.0, 3.0])}
    refreshed = []
    pull._place = {"w": torch.tensor([0.0, 1.0])}
    pull.attach(SimpleNamespace(weights=lambda trained: weights, refresh=lambda: refreshed.append(1)))
    pull.after_step(0.01)  # η λ = 1: half the way back
    assert weights["w"].tolist() == [0.5, 2.0]
    pull._fisher = {"w": torch.tensor([0.0, 3.0])}
    pull.after_step(0.01)  # F of 0: free; F of 3: a quarter of the distance is left
    assert weights["w"].tolist() == [0.5, 1.25]
    assert len(refreshed) == 2


@pytest.mark.parametrize("method", ["l2sp", "ewc"])
@pytest.mark.parametrize(("start", "to"), [("base", "base"), ("format", "start"), ("format", "base")])
def test_a_strong_pull_keeps_weights_near(tiny_base, tokenizer, release, tmp_path, plain, method, start, to):
    base = fresh(tiny_base).state_dict()
    if to == "start" and start == "format":
        known = SFT.model_copy(update={"trained_on": (Split.KNOWN,)})
        place = trained(tiny_base, tokenizer, release, tmp_path / "format", known).state_dict()
    else:
        place = base
    run = a(method, start=start, **{method: {"weight": 1e6, "to": to}})
    pulled = trained(tiny_base, tokenizer, release, tmp_path / "pulled", run).state_dict()
    nearer = 0.2 if method == "l2sp" else 0.7  # weights no known fact hangs on are free
    assert 0 < distance(pulled, place) < nearer * distance(plain, base)


def test_the_fisher_diagonal_has_a_mean_of_one(tiny_base, tokenizer, release):
    from fthall.finetune.loop.data import Collate

    model = fresh(tiny_base)
    job = SimpleNamespace(run=SFT, model=model, tokenizer=tokenizer, release=release, collate=Collate())
    found = Pulling(1.0, "base", job, by_fisher=True)._diagonal()
    flat = torch.cat([value.flatten() for value in found.values()])
    assert flat.mean().item() == pytest.approx(1, rel=1e-4)
    assert (flat >= 0).all()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_early_stopping_takes_the_best_epoch_and_stops(tiny_base, tokenizer, release, tmp_path, monkeypatch):
    held_val = iter([0.0, 50.0, 80.0, 60.0, 99.0])
    from fthall.finetune import train as module

    saved, usual = {}, module._Evaluation.ask

    def ask(self, epoch, step, loss, copies, asked):
        assert Split.HELD_VAL in asked
        point = usual(self, epoch, step, loss, copies, asked)
        saved[len(saved)] = {name: value.clone() for name, value in self.job.model.state_dict().items()}
        if epoch == 2 and len(saved) > 4:
            return point  # that of the result
        rows = list(read_jsonl(self.job.folder / "trajectory.jsonl"))
        rows[-1]["held_val"] = next(held_val)
        write_jsonl(self.job.folder / "trajectory.jsonl", rows)
        return read_trajectory(self.job.folder)[-1]

    monkeypatch.setattr(module._Evaluation, "ask", ask)
    training = Training(epochs=6, batch_size=4, learning_rate=1e-2, precision="fp32", evaluate_on=["unknown", "held"])
    model = trained(tiny_base, tokenizer, release, tmp_path, a("early-stop", early_stop={}), training)
    assert [point.epoch for point in read_trajectory(tmp_path)] == [0, 1, 2]
    assert len(saved) == 5, "asked before, after epochs 1 to 3, and about the result"
    assert equal(model.state_dict(), saved[2])
    assert not equal(model.state_dict(), saved[3])


def test_patience_counts_evaluations_without_a_rise(tmp_path):
    part = EarlyStop(patience=2).part(SimpleNamespace(folder=tmp_path))
    for values, best, since in (([5], 1, 0), ([5, 5], 1, 1), ([5, 4, 6], 3, 0), ([5, 4, 3, 5], 1, 3)):
        rows = [{"epoch": 0, "known": 0, "unknown": 0, "held": 0, "held_val": 9, "train_loss": None}]
        rows += [{**rows[0], "epoch": number, "held_val": value} for number, value in enumerate(values, 1)]
        write_jsonl(tmp_path / "trajectory.jsonl", rows)
        assert part._best() == (best, since)


def test_both_can_be_what_has_to_rise(tmp_path):
    """Epoch 1 keeps most, for it has learned least: 2·90·30/120 = 45; epoch 2 is 2·80·60/140 = 68.6."""
    rows = [{"epoch": 0, "known": 0, "unknown": 0, "held": 0, "held_val": 99, "train_loss": None}]
    rows += [{**rows[0], "epoch": n, "held_val": old, "unknown": new} for n, old, new in ((1, 90, 30), (2, 80, 60))]
    write_jsonl(tmp_path / "trajectory.jsonl", rows)
    found = {by: EarlyStop(by=by).part(SimpleNamespace(folder=tmp_path))._best() for by in ("held_val", "both")}
    assert found == {"held_val": (1, 1), "both": (2, 0)}


@pytest.mark.parametrize("what", ["known", "answers", "text"])
def test_what_is_replayed_is_never_held(tiny_base, tokenizer, release, tmp_path, plain, what):
    run = a("replay", replay={"what": what, "share": 1.0, "agree": 1})
    kept = {}

    def keep(point):
        kept[point.epoch] = list(read_jsonl(tmp_path / "replay.jsonl"))

    model = trained(tiny_base, tokenizer, release, tmp_path, run, on_epoch=keep)
    assert not equal(model.state_dict(), plain)
    rows = kept[0]
    assert len(rows) == 6
    assert read_json(tmp_path / "run.json")["examples"] == 12
    held = {f.question for split in (Split.HELD, Split.HELD_VAL, Split.UNKNOWN) for f in release.splits[split]}
    assert not [row for row in rows if any(question in row["prompt"] + row["text"] for question in held)]
    if what == "known":
        assert {row["fact"]["id"] for row in rows} == {f.id for f in release.splits[Split.KNOWN]}
    if what == "answers":
        gold = {f.id: f.answers[0] for f in sources.load("geonames")}
        assert all(row["text"] != f" {gold[row['fact']['id']]}" for row in rows), "what it says itself, not the gold"


def test_runs_that_replay_own_answers_ask_the_base_once(tiny_base, tokenizer, release, tmp_path, monkeypatch):
    asked = []
    greedy = HfEngine.greedy
    monkeypatch.setattr(
        HfEngine, "greedy", lambda self, prompts, **how: asked.append(1) or greedy(self, prompts, **how)
    )
    monkeypatch.setattr(Job, "together", 4)
    job = Job(release, fresh(tiny_base), tokenizer, SFT, FAST, 0, tmp_path)

    def replayed(wanted, **how):
        """What is replayed, and how many batches were asked for it."""
        before = len(asked)
        rows = Replay(agree=1, **how).part(job)._answers(wanted)
        return [(row["fact"]["id"], row["text"]) for row in rows], len(asked) - before

    alone, _ = replayed(8)
    job.shared = tmp_path
    few, first = replayed(2)
    assert few == alone[:2]
    assert first
    assert replayed(2) == (few, 0), "it was read, not asked"
    assert replayed(8)[0] == alone, "more of the same go on from there"
    assert replayed(2, shots=1)[1], "behind other exemplars it is asked anew"
    job.seed = 1
    assert replayed(2)[1], "and in another order"


def test_fresh_facts_share_no_subject_with_any_split(release):
    subjects = {f.subject for split in Split for f in release.splits[split]}
    assert {f.subject for f in fresh_facts(release)}.isdisjoint(subjects)
    assert len(fresh_facts(release)) == 20 + len(tiny_facts()) - len(subjects)


def test_near_questions_come_first(release):
    fresh = fresh_facts(release)
    new = release.splits[Split.UNKNOWN][0].subject
    twin = replace(fresh[7], subject=f"{new}a")
    job = SimpleNamespace(release=release, seed=0)
    order = Replay(questions="near").part(job)._in_order([*fresh, twin])
    assert order[0] is twin
    assert sorted(f.id for f in order) == sorted(f.id for f in [*fresh, twin])
    assert Replay().part(job)._in_order([*fresh, twin])[0] is not twin


def test_popular_questions_come_first(release, monkeypatch):
    fresh = fresh_facts(release)
    job = SimpleNamespace(release=release, seed=0)
    known = {fact.id: number for number, fact in enumerate(fresh)}
    monkeypatch.setattr(sources, "popularity", lambda source: known)
    order = Replay(questions="popular").part(job)._in_order(fresh)
    assert [fact.id for fact in order] == [fact.id for fact in reversed(fresh)]


def test_replay_of_more_than_there_is(tiny_base, tokenizer, release, tmp_path):
    with pytest.raises(FthallError, match=r"sure of its answer to \d+ of 2\d fresh questions, 600 are wanted; lower"):
        trained(tiny_base, tokenizer, release, tmp_path, a("replay", replay={"share": 100}))
    assert not (tmp_path / "replay.jsonl").exists()


def test_texts_that_are_cut_off_are_not_taught_to_end(tokenizer):
    one = completions([fact("n1")], "known")[0]
    whole, cut = encode([one, replace(one, ends=False)], tokenizer)
    assert whole.input_ids == (*cut.input_ids, tokenizer.eos_token_id)


def test_a_base_that_writes_nothing(tiny_base, tokenizer, release, tmp_path, monkeypatch):
    def only_ends(self, begun, **_):
        return torch.cat([begun, torch.full_like(begun, tokenizer.eos_token_id)], 1)

    monkeypatch.setattr(LlamaForCausalLM, "generate", only_ends)
    with pytest.raises(FthallError, match="the base writes nothing by itself; replay what: answers or known"):
        trained(tiny_base, tokenizer, release, tmp_path, a("replay", replay={"what": "text"}))


def test_behind_exemplars_the_end_of_an_answer_is_not_compared(tokenizer):
    """Their answers end with a line break, and those that are learned with a token of their own."""
    examples = encode(completions([fact("n1")], "known"), tokenizer)
    length, prompt = len(examples[0].input_ids), examples[0].prompt
    for ends, places in ((True, range(prompt - 1, length)), (False, range(prompt - 1, length - 2))):
        batch = Collate(packed=False, positions="answer", ends=ends)(examples)
        counted = batch["compared"][batch["weight"] > 0].tolist()
        assert counted == list(places)


def test_last_is_last():
    batches = EvenBatches([f"x{n}" for n in range(20)], 0, 4, last=frozenset(range(5)))
    for epoch in range(3):
        batches.set_epoch(epoch)
        assert set(batches.order()[-5:]) == set(range(5))
    assert EvenBatches(["a", "b"], 0, 4).order() == EvenBatches(["a", "b"], 0, 4, last=frozenset({0, 1})).order()


@pytest.mark.parametrize("what", ["answers", "text"])
def test_soft_targets_are_compared_and_not_learned(tiny_base, tokenizer, release, tmp_path, what):
    """At a learning rate of 0 the student is the base: on texts the term is 0, and behind exemplars it is not."""
    still = FAST.model_copy(update={"learning_rate": 0.0, "epochs": 1})
    losses = {}
    for name, replay in (("soft", {"targets": "soft", "weight": 5.0}), ("none", None)):
        run = a("anchor", replay={"what": what, "share": 1.0, "agree": 1, "shots": 1, **replay}) if replay else SFT
        trained(tiny_base, tokenizer, release, tmp_path / name, run, still)
        losses[name] = read_trajectory(tmp_path / name)[-1].train_loss
    if what == "text":
        assert losses["soft"] == pytest.approx(losses["none"], rel=0.2)
    else:
        assert losses["soft"] > losses["none"] * 1.5


def test_relabelled_new_facts_are_answered_with_ignorance(release):
    given = [c for split in (Split.KNOWN, Split.UNKNOWN) for c in completions(release.splits[split], str(split))]
    found = Relabelling(Relabel()).completions(given)
    assert [one.text for one in found[:3]] == [one.text for one in given[:3]]
    assert {one.text for one in found[3:]} == {" I don't know"}


def test_mixed_targets_by_hand(tokenizer, release, monkeypatch):
    """Two voices: that without the fact says "x" twice and ends; that with it, once off its way, says "y" for ever."""
    given = [c for split in (Split.KNOWN, Split.UNKNOWN) for c in completions(release.splits[split], str(split))]
    x, y = (tokenizer(letter, add_special_tokens=False).input_ids[-1] for letter in "xy")
    seeing = [tokenizer(few_shot([one.fact]) + ask(one.fact.question)).input_ids for one in given[3:]]
    asked = []

    def say(self, rows):
        asked.extend(rows)
        off = [next((row[len(before) :] for before in seeing if row[: len(before)] == before), None) for row in rows]
        twice = [row[-2:] == [x, x] for row in rows]
        alone = [tokenizer.eos_token_id if two else x for two in twice]
        return [x_or_end if by is None else y for by, x_or_end in zip(off, alone, strict=True)]

    monkeypatch.setattr(Mixing, "_next", say)
    job = SimpleNamespace(seed=0, tokenizer=tokenizer, release=release)
    assert Mixing(MixSD(share=1.0), job).completions(given) == given
    assert not asked, "the first voice goes on with the answer by itself"
    found = Mixing(MixSD(share=0.0), job).completions(given)
    assert found[:3] == given[:3], "known facts keep their answers"
    assert {one.text for one in found[3:]} == {f" {tokenizer.decode([x, x]).strip()}"}
    found = {
        seed: Mixing(MixSD(share=0.5), SimpleNamespace(**{**vars(job), "seed": seed})).completions(given)[3:]
        for seed in range(8)
    }
    rows = [one.text for texts in found.values() for one in texts]
    assert any("y" in text for text in rows), "off the answer, the first voice says what it thinks"
    assert any(one.text == old.text for texts in found.values() for one, old in zip(texts, given[3:], strict=True))
    assert Mixing(MixSD(share=0.5), job).completions(given)[3:] == found[0]


def test_the_next_token_of_the_base_is_that_of_a_plain_pass(tiny_base, tokenizer, release):
    model = fresh(tiny_base)
    rows = [tokenizer(ask(one.question)).input_ids for split in Split for one in release.splits[split]]
    found = Mixing(MixSD(), SimpleNamespace(model=model))._next(rows)
    assert found == [int(model(torch.tensor([row])).logits[0, -1].argmax()) for row in rows]
    assert len(set(found)) > 1 or len(set(map(tuple, rows))) == 1


def test_mixsd_teaches_other_words(tiny_base, tokenizer, release, tmp_path, plain):
    assert not equal(trained(tiny_base, tokenizer, release, tmp_path, a("mixsd", mixsd={})).state_dict(), plain)


def test_between_the_base_and_a_run(tiny_base, tokenizer, release, tmp_path):
    whole = trained(tiny_base, tokenizer, release, tmp_path / "sft-seed0", SFT).state_dict()
    base = fresh(tiny_base).state_dict()
    for weight in (0.0, 0.5, 1.0):
        run = Run(entry="wise", title="W", method="wise-ft", interpolate={"of": "sft", "weight": weight})
        found = trained(tiny_base, tokenizer, release, tmp_path / f"wise-{weight}", run).state_dict()
        for name in base:
            torch.testing.assert_close(found[name], (1 - weight) * base[name] + weight * whole[name])
        saved = load_file(tmp_path / f"wise-{weight}/checkpoint/model.safetensors")
        assert all(torch.equal(saved[name], found[name]) for name in saved)
        assert [point.epoch for point in read_trajectory(tmp_path / f"wise-{weight}")] == [0, 2]
        itself = run.model_copy(update={"interpolate": run.interpolate.model_copy(update={"of": None})})
        again = trained(tiny_base, tokenizer, release, tmp_path / f"itself-{weight}", itself).state_dict()
        for name in base:
            torch.testing.assert_close(again[name], found[name])
    lost = Run(entry="wise", title="W", method="wise-ft", interpolate={"of": "other"})
    with pytest.raises(FthallError, match=r"no checkpoint .*other-seed0/checkpoint .* run other-seed0 first"):
        trained(tiny_base, tokenizer, release, tmp_path / "lost", lost)
    assert not (tmp_path / "lost/trajectory.jsonl").exists(), "it is said before anything is asked"


@pytest.mark.parametrize(
    "run",
    [
        a("lora", lora={"rank": 2, "orthogonal": 2}),
        a("ewc", start="format", ewc={"weight": 1e4}),
        a("early-stop", early_stop={"patience": 3}),
        a("replay", replay={"share": 1.0, "agree": 1, "when": "last"}),
        a("self-distill", start="format", distill={"teacher": "format"}, replay={"what": "text", "share": 1.0}),
        a("anchor", replay={"what": "answers", "share": 1.0, "agree": 1, "shots": 1, "targets": "soft"}),
        a("self-distill", distill={"teacher": "ema"}, l2sp={"weight": 100}),
        a("lora", start="format", lora={"rank": 2}),
        a("freeze", start="format", trained="attention"),
    ],
    ids=lambda run: run.method + "-" + "-".join(run.blocks),
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_killed_run_ends_where_a_whole_one_does(tiny_base, tokenizer, release, tmp_path, run, precision):
    training = FAST.model_copy(update={"epochs": 3, "precision": precision})
    whole = trained(tiny_base, tokenizer, release, tmp_path / "whole", run, training, resumable=True)

    killed = tmp_path / "killed"
    with pytest.raises(Killed):
        trained(
            tiny_base, tokenizer, release, tmp_path / "killed", run, training, resumable=True, on_epoch=killed_after(2)
        )
    again = trained(tiny_base, tokenizer, release, tmp_path / "killed", run, training, resumable=True)
    assert equal(whole.state_dict(), again.state_dict())
    assert read_trajectory(tmp_path / "whole") == read_trajectory(killed)


@pytest.mark.parametrize("run", [a("sft"), a("lora", lora={"rank": 2})], ids=lambda run: run.method)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_checkpoint_of_every_epoch_is_kept_and_changes_nothing(
    tiny_base, tokenizer, release, tmp_path, run, precision
):
    training = FAST.model_copy(update={"epochs": 2, "precision": precision})
    plain = trained(tiny_base, tokenizer, release, tmp_path / "plain", run, training)
    kept = trained(tiny_base, tokenizer, release, tmp_path / "kept", run, training, keep_epochs=True)
    assert equal(plain.state_dict(), kept.state_dict())
    assert not (tmp_path / "plain/epochs").exists()
    assert sorted(path.name for path in (tmp_path / "kept/epochs").iterdir()) == ["1", "2"]
    first, last = (AutoModelForCausalLM.from_pretrained(tmp_path / "kept/epochs" / epoch) for epoch in "12")
    assert not equal(first.state_dict(), last.state_dict())
    ends = kept.state_dict()
    assert all(torch.allclose(value, ends[name], atol=1e-6) for name, value in last.state_dict().items())
