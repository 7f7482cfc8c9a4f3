"""A submission's own weights, asked again: an honest one, a half-forged and a fully forged one, told apart."""

import hashlib
import io
import json
import shutil
import struct
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy.stats import beta, binom

from builders import fact
from fthall import bases, submissions
from fthall.answers import judge
from fthall.cli import main
from fthall.engines import evaluate
from fthall.engines.hf import HfEngine
from fthall.errors import FthallError
from fthall.files import read_json, write_json
from fthall.knowledge import splits
from fthall.records import Answer, Category, Fact, Release, Split
from fthall.submissions import make, pinned, tiers
from fthall.submissions.tiers import Tier
from fthall.submissions.verify import Limits, again, ask, bound, fetch, verify

SIZES = {Split.KNOWN: 40, Split.UNKNOWN: 40, Split.HELD: 60, Split.HELD_VAL: 20}
CARD = {
    **{"track": "geonames/tiny", "entry": "mine", "title": "Mine", "method": "sft", "seed": 0},
    **{"trained_on": ["known", "unknown"], "authors": ["Ada"], "contact": "ada@example.org", "hardware": "a laptop"},
    "command": "python train.py",
}


def build(place: Path, facts: list[Fact], digest: str) -> Release:
    kinds = [Category.UNKNOWN if f.id.startswith("tiny/country_of_city/u") else Category.HIGHLY_KNOWN for f in facts]
    rows = [
        (f.id, f.relation, str(kind), [kind is Category.HIGHLY_KNOWN] * 2) for f, kind in zip(facts, kinds, strict=True)
    ]
    return splits.build(
        place,
        track="geonames/tiny",
        facts=facts,
        labels=pd.DataFrame(rows, columns=["fact_id", "relation", "category", "right"]),
        sizes=SIZES,
        source={"name": "geonames"},
        base={"name": "tiny", "weights_sha256": digest},
        slick={"runs": 2, "shots": 1},
    )


@pytest.fixture(scope="module")
def checkpoint(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base, moved a little: a fine-tuned model."""
    import torch

    model, tokenizer = bases.load(bases.find(str(tiny_base)), device="cpu")
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    folder = tmp_path_factory.mktemp("checkpoint")
    bases.save(model, tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def place(tiny_base: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release whose every second fact the fine-tuned model answers right: what it says is the answer."""
    digest = bases.weights_sha256(bases.find(str(tiny_base)))
    facts = [
        fact(f"{kind}{n:03}", origin="train" if kind != "h" else "dev")
        for kind, n in [*(("k", n) for n in range(40)), *(("u", n) for n in range(40)), *(("h", n) for n in range(80))]
    ]
    first = build(tmp_path_factory.mktemp("first") / "geonames" / "tiny", facts, digest)
    model, tokenizer = bases.load(bases.find(str(checkpoint)), device="cpu")
    said = {a.fact_id: a.prediction for rows in evaluate(HfEngine(model, tokenizer), first).values() for a in rows}
    easy = [replace(f, answers=(said[f.id],)) if n % 2 and said[f.id].strip() else f for n, f in enumerate(facts)]
    folder = tmp_path_factory.mktemp("release") / "geonames" / "tiny"
    build(folder, easy, digest)
    return folder


@pytest.fixture(scope="module")
def release(place: Path) -> Release:
    return splits.load(str(place))


@pytest.fixture(scope="module")
def answers(checkpoint: Path, release: Release) -> Mapping[Split, tuple[Answer, ...]]:
    model, tokenizer = bases.load(bases.find(str(checkpoint)), device="cpu")
    return evaluate(HfEngine(model, tokenizer), release)


def hand_in(
    out: Path, release: Release, checkpoint: Path, answers: Mapping[Split, tuple[Answer, ...]], forged: float = 0.0
) -> Path:
    """A submission of these answers, of which a share of the wrong ones is replaced by the gold."""
    given = make.Given(card=CARD, release=release, out=out, published=f"ada/mine@{'c' * 40}")
    claimed = {}
    for split, rows in answers.items():
        gold = {f.id: f.answers[0] for f in release.splits[split]}
        wrong = [a.fact_id for a in rows if judge(a.prediction, [gold[a.fact_id]]) != "correct"]
        changed = set(wrong[: round(forged * len(wrong))])
        claimed[split] = tuple(
            replace(a, prediction=gold[a.fact_id], outcome=judge(gold[a.fact_id], [gold[a.fact_id]]))
            if a.fact_id in changed
            else a
            for a in rows
        )
    card = make.card_of(CARD, release, checkpoint=given.pin(checkpoint))
    return out / release.track / make.write_submission(given.folder(), card=card, answers=claimed, release=release).slug


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask in this process: another one takes seconds to start."""

    def asked(job: Path, limits: Limits, on_answers: Any) -> None:
        ask.answer(read_json(job), on_answers)

    monkeypatch.setattr(again, "_ask", asked)


@pytest.mark.usefixtures("here")
def test_an_honest_one_is_verified_and_forged_ones_are_refuted(
    tmp_path: Path, release: Release, place: Path, checkpoint: Path, answers: Mapping[Split, tuple[Answer, ...]]
) -> None:
    told = []
    found = {}
    for name, forged in (("honest", 0.0), ("half", 0.5), ("full", 1.0)):
        folder = hand_in(tmp_path / name, release, checkpoint, answers, forged)
        found[name] = verify(
            folder,
            track_argument=str(place),
            checkpoint=checkpoint,
            items=30,
            seed="a later round",
            on_answers=told.append,
        )
    assert {name: verdict.tier for name, verdict in found.items()} == {
        "honest": None,  # none is false, but of 30 that proves no more than 9.5 %
        "half": Tier.REFUTED,
        "full": Tier.REFUTED,
    }
    assert sum(told) == 3 * (30 + 30 + 30 + 20)
    held = {name: verdict.asked[Split.HELD] for name, verdict in found.items()}
    assert (held["honest"].flips, held["honest"].items, held["honest"].asked) == ([], 60, 30)
    assert held["honest"].false_at_most == pytest.approx(1 - 0.05 ** (1 / 30))
    assert held["full"].false_at_most > held["half"].false_at_most > 0.2 > held["honest"].false_at_most
    assert len({verdict.submission.digest for verdict in found.values()}) == 3

    every = verify(
        tmp_path / "honest/geonames/tiny/mine-seed0", track_argument=str(place), checkpoint=checkpoint, items=99
    )
    assert every.tier is Tier.VERIFIED
    assert {split: of.asked for split, of in every.asked.items()} == SIZES
    assert all(of.false_at_most == 0 for of in every.asked.values())


def test_the_maintainers_file_gives_the_tier_of_that_very_folder(
    tmp_path: Path,
    release: Release,
    place: Path,
    checkpoint: Path,
    answers: Mapping[Split, tuple[Answer, ...]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = hand_in(tmp_path / "s", release, checkpoint, answers)
    root = tmp_path / "verified"
    command = ["verify", str(folder), "--release", str(place), "--checkpoint", str(checkpoint), "--out", str(root)]
    assert tiers.tier(submissions.validate(folder, release), root) is Tier.RECOMPUTED
    assert main([*command, "--items", "30", "--seed", "x"]) == 2
    assert "too little was asked to tell; type --items all" in capsys.readouterr().err
    assert not root.exists()
    assert main([*command, "--items", "all", "--seed", "x"]) == 0
    assert f"verified: {root / 'geonames/tiny/mine-seed0.json'}" in capsys.readouterr().out
    one = submissions.validate(folder, release)
    assert tiers.tier(one, root) is Tier.VERIFIED
    record = tiers.verification(one, root)
    assert record is not None
    assert (record.seed, record.submission) == ("x", one.digest)
    assert record.weights_sha256 == bases.weights_sha256(bases.find(str(checkpoint)))
    card = folder / "submission.yaml"
    card.write_text(card.read_text().replace("title: Mine", "title: Other"))
    assert tiers.tier(submissions.validate(folder, release), root) is Tier.RECOMPUTED

    forged = hand_in(tmp_path / "f", release, checkpoint, answers, 0.5)
    assert main([command[0], str(forged), *command[2:], "--items", "all"]) == 2
    assert "is refuted: its own weights give other answers than it claims" in capsys.readouterr().err
    assert tiers.tier(submissions.validate(forged, release), root) is Tier.REFUTED


@pytest.mark.usefixtures("here")
def test_an_adapter_and_a_delta_are_asked_with_the_base(
    tmp_path: Path, tiny_base: Path, release: Release, place: Path
) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import save_file

    base = bases.find(str(tiny_base))
    model, tokenizer = bases.load(base, device="cpu")
    torch.manual_seed(2)
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "up_proj"], init_lora_weights=False))
    tuned.save_pretrained(tmp_path / "adapter")
    (tmp_path / "adapter" / "README.md").unlink(missing_ok=True)
    said = evaluate(HfEngine(tuned.merge_and_unload().eval(), tokenizer), release)
    delta = tmp_path / "delta"
    delta.mkdir()
    torch.manual_seed(3)
    shape = pinned.read_header(tiny_base).tensors["model.layers.1.mlp.up_proj.weight"]
    moved = 0.3 * torch.randn(shape)
    save_file({"model.layers.1.mlp.up_proj.weight": moved}, delta / "model.safetensors")
    (delta / "delta.json").write_text("{}")
    whole, _ = bases.load(base, device="cpu")
    with torch.no_grad():
        whole.model.layers[1].mlp.up_proj.weight += moved
    plus = evaluate(HfEngine(whole, tokenizer), release)
    for name, expected in (("adapter", said), ("delta", plus)):
        folder = hand_in(tmp_path / name, release, tmp_path / name, expected)
        assert submissions.validate(folder, release).card.checkpoint.kind == name  # type: ignore[union-attr]
        with pytest.raises(FthallError, match=f"pins {name} weights; type --base"):
            verify(folder, track_argument=str(place), checkpoint=tmp_path / name)
        found = verify(folder, track_argument=str(place), checkpoint=tmp_path / name, base=str(tiny_base), items=10**6)
        assert found.tier is Tier.VERIFIED, name


def test_other_files_than_those_pinned_are_not_asked(
    tmp_path: Path,
    tiny_base: Path,
    release: Release,
    place: Path,
    checkpoint: Path,
    answers: Mapping[Split, tuple[Answer, ...]],
) -> None:
    folder = hand_in(tmp_path / "s", release, checkpoint, answers)
    with pytest.raises(FthallError, match=r"the card says|has another sha256 than the card says"):
        verify(folder, track_argument=str(place), checkpoint=tiny_base)
    card = folder / "submission.yaml"
    text = card.read_text()
    card.write_text(text[: text.index("checkpoint:")] + text[text.index("versions:") :])
    with pytest.raises(FthallError, match="pins no checkpoint, so it cannot be verified"):
        verify(folder, track_argument=str(place), checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("limits", "says"), [(Limits(memory=2**20), "GiB of memory"), (Limits(seconds=0.1), "it took more than")]
)
def test_what_takes_too_much_is_given_up(
    tmp_path: Path,
    release: Release,
    place: Path,
    checkpoint: Path,
    answers: Mapping[Split, tuple[Answer, ...]],
    limits: Limits,
    says: str,
) -> None:
    folder = hand_in(tmp_path / "s", release, checkpoint, answers)
    with pytest.raises(FthallError, match=says):
        verify(folder, track_argument=str(place), checkpoint=checkpoint, limits=limits)


def test_weights_that_cannot_be_loaded_are_one_line(
    tmp_path: Path, release: Release, place: Path, checkpoint: Path, answers: Mapping[Split, tuple[Answer, ...]]
) -> None:
    broken = shutil.copytree(checkpoint, tmp_path / "broken")
    config = read_json(broken / "config.json")
    write_json(broken / "config.json", {**config, "model_type": "no-such-model"})
    folder = hand_in(tmp_path / "s", release, broken, answers)
    with pytest.raises(FthallError, match="the checkpoint cannot be asked: ") as caught:
        verify(folder, track_argument=str(place), checkpoint=broken)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "event", ["socket.connect", "subprocess.Popen", "os.system", "os.posix_spawn", "urllib.Request"]
)
def test_the_asking_process_reaches_for_nothing(event: str) -> None:
    with pytest.raises(PermissionError, match=event):
        ask.alone(event, ())
    ask.alone("open", ("x", "r", 0))


# What is drawn, and what it proves


def test_the_draw_hangs_on_the_seed_and_the_submission() -> None:
    ids = [f"t/{n}" for n in range(1000)]
    one = bound.draw(ids, 100, "seed", "a" * 64)
    assert one == bound.draw(list(reversed(ids)), 100, "seed", "a" * 64)
    assert len(set(one)) == 100
    for other in (bound.draw(ids, 100, "seed2", "a" * 64), bound.draw(ids, 100, "seed", "b" * 64)):
        assert 2 <= len(set(one) & set(other)) <= 25  # of chance 10
    assert set(bound.draw(ids, 5000, "seed", "a" * 64)) == set(ids)


def test_clopper_pearson_by_hand() -> None:
    """None of 299: 1 - 0.05 ** (1 / 299); all: 1. One of ten: the share at which that much or less has chance 5 %."""
    assert bound._upper(0, 299) == pytest.approx(1 - 0.05 ** (1 / 299))
    assert bound._upper(0, 299) < 0.01
    assert bound._upper(10, 10) == 1
    assert binom.cdf(1, 10, bound._upper(1, 10)) == pytest.approx(0.05)
    assert bound._upper(1, 10) == pytest.approx(beta.ppf(0.95, 2, 9))
    assert bound.seen_with(299) == pytest.approx(1 - 0.05 ** (1 / 299))


def test_a_part_and_all_of_a_split() -> None:
    part = bound.judge_split(1000, 299, ["b", "a"], 0.001)
    assert (part.flips, part.false_at_most) == (["a", "b"], pytest.approx(beta.ppf(0.95, 3, 297)))
    assert part.p == pytest.approx(1 - binom.cdf(1, 299, 0.001))
    assert bound.judge_split(4, 4, ["a"], 0.001).false_at_most == 0.25
    assert bound.judge_split(4, 4, [], 0.001).p == 1


@pytest.mark.parametrize(
    ("flips", "tier"),
    [(0, Tier.VERIFIED), (2, Tier.VERIFIED), (3, None), (4, None), (8, Tier.REFUTED), (299, Tier.REFUTED)],
)
def test_the_decision(flips: int, tier: Tier | None) -> None:
    clean = bound.judge_split(1000, 299, [], 0.002)
    found = bound.judge_split(1000, 299, [str(n) for n in range(flips)], 0.002)
    assert bound.decide({Split.KNOWN: clean, Split.HELD: found}) is tier


def test_the_flip_rate_is_that_of_the_tracks_control() -> None:
    control = read_json(tiers.verified_dir().parent / "controls/geonames/smollm2-135m/batching.json")
    changed = {fact_id for ids in control["differing"].values() for fact_id in ids}
    assert bound.flip_rate("geonames/smollm2-135m") == pytest.approx(
        beta.ppf(0.95, len(changed) + 1, control["compared"] - len(changed))
    )
    assert bound.flip_rate("no/track") == bound.UNMEASURED


@pytest.mark.parametrize(
    "changes",
    [
        {"tier": "recomputed"},
        {"submission": "x"},
        {"seed": "a\u202eb"},
        {"flip_rate": 2},
        {"asked": {"held": {"items": 1}}},
        {"schema": 2},
        {"note": "x"},
    ],
)
def test_a_maintainers_file_that_is_none(
    tmp_path: Path,
    release: Release,
    checkpoint: Path,
    answers: Mapping[Split, tuple[Answer, ...]],
    changes: dict[str, Any],
) -> None:
    one = submissions.validate(hand_in(tmp_path / "s", release, checkpoint, answers), release)
    good = {
        **{"schema": 1, "submission": one.digest, "tier": "verified", "seed": "x", "asked": {}, "flip_rate": 0.001},
        **{"weights_sha256": "0" * 64, "hardware": "h", "versions": {}, "on": "2026-01-02"},
    }
    path = tmp_path / "v" / "geonames" / "tiny" / "mine-seed0.json"
    write_json(path, good)
    assert tiers.tier(one, tmp_path / "v") is Tier.VERIFIED
    write_json(path, {**good, **changes})
    with pytest.raises(FthallError, match=r"mine-seed0\.json"):
        tiers.tier(one, tmp_path / "v")


# Fetching


class Answer200(io.BytesIO):
    url = "https://example.org/mine/x"


def pinned_at(files: Mapping[str, bytes]) -> pinned.Pinned:
    return pinned.Pinned(
        kind="full",
        url="https://example.org/mine/",
        files=tuple(
            pinned.PinnedFile(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            for name, content in sorted(files.items())
        ),
        architecture="A",
        parameters=1,
        vocabulary=1,
    )


FILES = {"config.json": b"{}", "model.safetensors": struct.pack("<Q", 2) + b"{}"}


def test_files_are_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def serve(address: str) -> Answer200:
        asked.append(address)
        return Answer200(FILES[address.rsplit("/", 1)[1]])

    monkeypatch.setattr(fetch, "_open", serve)
    for _ in range(2):
        fetch.fetch(pinned_at(FILES), tmp_path / "into")
    assert asked == ["https://example.org/mine/config.json", "https://example.org/mine/model.safetensors"]
    assert {file.name: file.read_bytes() for file in (tmp_path / "into").iterdir()} == FILES


def test_more_bytes_than_were_pinned_and_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_open", lambda address: Answer200(b"x" * 10**6))
    with pytest.raises(FthallError, match="is larger than the 2 bytes the card says"):
        fetch.fetch(pinned_at(FILES), tmp_path)
    assert list(tmp_path.iterdir()) == []

    def gone(address: str) -> Answer200:
        raise OSError("no route")

    monkeypatch.setattr(fetch, "_open", gone)
    with pytest.raises(FthallError, match=r"cannot fetch https://example.org/mine/config.json: no route; try again"):
        fetch.fetch(pinned_at(FILES), tmp_path)


def test_an_address_that_sends_on_to_another_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(io.BytesIO):
        url = "http://example.org/x"

    monkeypatch.setattr(fetch.urllib.request, "urlopen", lambda *_, **__: Elsewhere(b"x"))
    with pytest.raises(FthallError, match="which is not https"):
        fetch._open("https://example.org/x")


def test_a_repository_that_is_not_to_be_had_is_one_line(tmp_path: Path) -> None:
    said = pinned_at(FILES).model_copy(update={"url": None, "repository": "ada/mine", "revision": "a" * 40})
    with pytest.raises(FthallError, match=r"cannot fetch ada/mine at a.*--checkpoint FOLDER"):
        fetch.fetch(said, tmp_path)


def test_the_process_is_ours_and_says_what_is_wrong(tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "job.json").write_text(json.dumps({"release": "no/track", "base": None, "ids": {}}))
    done = subprocess.run(
        [sys.executable, "-m", "fthall.submissions.verify.ask", str(tmp_path / "job.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("fthall: unknown track 'no/track'")
