"""Whole submissions as an attacker would hand them in: a table, and the good one that each of them was made of."""

import json
import os
import pickle
import shutil
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from builders import fact, labels_of, write_submission_folder
from fthall.files import read_json, write_json, write_jsonl, write_text
from fthall.knowledge import splits
from fthall.paths import data_dir
from fthall.records import Category, Release, Split

TRACK = "geonames/tiny"
SIZES = {Split.KNOWN: 20, Split.UNKNOWN: 20, Split.HELD: 30, Split.HELD_VAL: 10}
RIGHT = {Split.KNOWN: 20, Split.UNKNOWN: 12, Split.HELD: 24, Split.HELD_VAL: 8}
SILENT = {Split.HELD: 2}
ITEMS = sum(SIZES.values())
BASE = read_json(data_dir("tasks") / "bases" / "smollm2-135m.json")
ASKED: list[dict[str, Any]] = [
    {
        "epoch": 0,
        "outcomes": {"known": "c" * 18 + "wa", "unknown": "w" * 20, "held": "c" * 29 + "w", "held_val": "c" * 10},
    },
    {"epoch": 1, "outcomes": {"unknown": "cw" * 10, "held": "wa" + "c" * 28}},
    {
        "epoch": 2,
        # Of two old facts lm-eval found something else than the training did: the first and the last.
        "outcomes": {
            **{"known": "c" * 20, "unknown": "c" * 12 + "w" * 8},
            **{"held": "w" + "c" * 23 + "aa" + "www" + "c", "held_val": "c" * 8 + "ww"},
        },
    },
]
FILES = [{"name": name, "bytes": 5, "sha256": "0" * 64} for name in ("config.json", "model.safetensors")]
PINNED = {
    **{"kind": "full", "repository": "ada/model", "revision": "a" * 40, "files": FILES},
    **{name: BASE[name] for name in ("architecture", "parameters", "vocabulary")},
}
HASHES = ["0123456789abcdef", "1123456789abcdef"]


def make_release(folder: Path) -> Release:
    kinds = [*(("k", n) for n in range(20)), *(("u", n) for n in range(20)), *(("h", n) for n in range(40))]
    facts = [fact(f"{kind}{n:02}", origin="dev" if kind == "h" else "train") for kind, n in kinds]
    unknown = {f.id for f, (kind, _) in zip(facts, kinds, strict=True) if kind == "u"}
    return splits.build(
        folder,
        track=TRACK,
        facts=facts,
        labels=labels_of(facts, {f.id: Category.UNKNOWN if f.id in unknown else Category.HIGHLY_KNOWN for f in facts}),
        sizes=SIZES,
        source={"name": "geonames"},
        base={"name": "tiny", "weights_sha256": BASE["weights_sha256"]},
        slick={"runs": 2},
    )


def write_good(root: Path, release: Release) -> Path:
    """A good submission with all that one may have."""
    points = []
    for row in ASKED:
        shares = {split: 100 * said.count("c") / len(said) for split, said in row["outcomes"].items()}
        points.append({**dict.fromkeys(map(str, Split)), **shares, "epoch": row["epoch"], "train_loss": 0.5})
    folder = write_submission_folder(
        root,
        release,
        "sft-seed0",
        entry="sft",
        seed=0,
        trained_on=["known", "unknown"],
        right=RIGHT,
        abstained=SILENT,
        trajectory=points,
        card={"url": "https://example.org/x", "description": "Plain.", "checkpoint": PINNED},
    )
    held = release.splits[Split.HELD]
    results = read_json(folder / "results.json")
    results["agreement"] = {"compared": ITEMS, "differing": sorted((held[0].id, held[-1].id))}
    write_json(folder / "results.json", {**results, "train_seconds": 12.5})
    write_jsonl(folder / "outcomes.jsonl", ASKED)
    write_text(folder / "trained_on.txt", "".join(f"{one}\n" for one in HASHES))
    return folder


# Attacks


class Whole(yaml.SafeDumper):
    """Writes what stands twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@dataclass
class At:
    """A submission's folder, and ways to change it."""

    folder: Path
    release: Release

    def text(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def put(self, name: str, content: str | bytes) -> None:
        (self.folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def swap(self, name: str, old: str, new: str) -> None:
        assert self.text(name).count(old) == 1, old
        self.put(name, self.text(name).replace(old, new))

    def card(self, **changes: Any) -> None:
        said = {**yaml.safe_load(self.text("submission.yaml")), **changes}
        self.put("submission.yaml", yaml.dump(said, Dumper=Whole, sort_keys=False))

    def results(self, edit: Callable[[Any], object]) -> None:
        said = json.loads(self.text("results.json"))
        edit(said)
        self.put("results.json", json.dumps(said))

    def lines(self, name: str, edit: Callable[[list[Any]], object]) -> None:
        rows = [json.loads(line) for line in self.text(name).splitlines()]
        edit(rows)
        self.put(name, "".join(json.dumps(row) + "\n" for row in rows))

    def remove(self, *names: str) -> None:
        for name in names:
            (self.folder / name).unlink()


Edit = Callable[[At], object]
ATTACKS: dict[str, tuple[Edit, str, str]] = {}
"""By a name: what is done, the file or place that the message has to name, and the reason it has to give."""


def attack(where: str, rows: Iterable[tuple[str, Edit, str]]) -> None:
    for name, edit, says in rows:
        assert name not in ATTACKS, name
        ATTACKS[name] = (edit, where, says)


def results(edit: Callable[[Any], object]) -> Edit:
    return lambda at: at.results(edit)


def card(**changes: Any) -> Edit:
    return lambda at: at.card(**changes)


def checkpoint(**changes: Any) -> Edit:
    return card(checkpoint={**PINNED, **changes})


def asked(edit: Callable[[list[Any]], object]) -> Edit:
    return lambda at: at.lines("outcomes.jsonl", edit)


def held(edit: Callable[[list[Any]], object]) -> Edit:
    return lambda at: at.lines("samples/held.jsonl", edit)


def put(name: str, content: str | bytes) -> Edit:
    return lambda at: at.put(name, content)


def swap(name: str, old: str, new: str) -> Edit:
    return lambda at: at.swap(name, old, new)


def letters(epoch: int, split: str, said: str) -> Edit:
    return asked(lambda rows: rows[epoch]["outcomes"].update({split: said}))


def count(split: str, **changes: Any) -> Edit:
    return results(lambda r: r["counts"][split].update(changes))


def point(at: int, **changes: Any) -> Edit:
    return results(lambda r: r["trajectory"][at].update(changes))


def agreement(**changes: Any) -> Edit:
    return results(lambda r: r["agreement"].update(changes))


def unproven(edit: Edit) -> Edit:
    """The same, of a submission without outcomes."""

    def both(at: At) -> None:
        at.remove("outcomes.jsonl")
        edit(at)

    return both


attack(
    "results.json",
    [
        ("one more right", count("held", correct=25, wrong=3), "held claims 25 correct / 3 wrong / 2 abstained"),
        ("wrong as silent", count("held", wrong=0, abstained=6), "held claims 24 correct / 0 wrong / 6 abstained"),
        ("all right", count("unknown", correct=20, wrong=0), "unknown claims 20 correct / 0 wrong"),
        ("more than asked", count("known", correct=21), "known claims 21 correct"),
        ("a count below nothing", count("known", wrong=-1), "counts.known.wrong: Input should be greater"),
        ("a count of 2^63", count("known", correct=2**63), "counts.known.correct: Input should be less"),
        ("a count of 4,000 digits", count("held_val", correct=10**4000), "counts.held_val.correct: Input should be"),
        ("a count as text", count("held", correct="24"), "counts.held.correct: Input should be a valid integer"),
        ("a count as truth", count("held_val", wrong=True), "counts.held_val.wrong: Input should be a valid integer"),
        ("half a count", count("held", correct=24.5), "counts.held.correct: Input should be a valid integer"),
        ("no counts of a split", results(lambda r: r["counts"].pop("unknown")), "no counts for 'unknown'"),
        ("counts of no split", results(lambda r: r["counts"].update(tests=r["counts"]["held"])), "counts.tests"),
        ("counts are none", results(lambda r: r.update(counts=None)), "counts: Input should be a valid dict"),
        ("counts are a list", results(lambda r: r.update(counts=[1])), "counts: Input should be a valid dict"),
        ("counts twice", swap("results.json", '"schema": 1', '"schema": 1, "counts": {}'), '"counts" stands twice'),
        ("a split twice", swap("results.json", '"held": {', '"held": {}, "held": {'), '"held" stands twice'),
        ("a key twice by escapes", swap("results.json", '"held": {', '"h\\u0065ld": {}, "held": {'), '"held" stands'),
        ("a field nobody knows", results(lambda r: r.update(verified=True)), "verified: no such field"),
        ("a field of 100,000 letters", results(lambda r: r.update({"x" * 100_000: 1})), "xx: no such field"),
        ("a split of 100,000 letters", results(lambda r: r["counts"].update({"x" * 10**5: {}})), "counts.xxx"),
        ("a newline in a field", results(lambda r: r.update({"a\n\x1b[2J": 1})), "a\\n\\x1b[2J': no such field"),
        ("schema 2", results(lambda r: r.update(schema=2)), "schema: Input should be 1"),
        ("time below nothing", results(lambda r: r.update(train_seconds=-1)), "train_seconds: Input should be"),
        ("no time", results(lambda r: r.update(train_seconds=float("nan"))), "train_seconds: Input should be"),
        ("all time", swap("results.json", "12.5", "1e999"), "train_seconds: Input should be a finite number"),
        ("time of 400 digits", results(lambda r: r.update(train_seconds=10**400)), "train_seconds: Input should"),
        ("a number of 5,000 digits", swap("results.json", "12.5", "9" * 5000), "not readable JSON: Exceeds the limit"),
        ("brackets without end", put("results.json", "[" * 100_000), "not readable JSON: maximum recursion"),
        ("objects without end", put("results.json", '{"a":' * 100_000), "not readable JSON: maximum recursion"),
        ("millions of lists", put("results.json", "[" + "[]," * 300_000 + "[]]"), "top level: Input should be"),
        ("a mark of byte order", put("results.json", b"\xef\xbb\xbf{}"), "not readable JSON: Unexpected UTF-8 BOM"),
        ("UTF-16", put("results.json", '{"schema": 1}'.encode("utf-16")), "not readable JSON: 'utf-8' codec"),
        ("overlong UTF-8", put("results.json", b'{"\xc0\xaf": 1}'), "not readable JSON: 'utf-8' codec"),
        ("half a pair as bytes", put("results.json", b'{"\xed\xa0\x80": 1}'), "not readable JSON: 'utf-8' codec"),
        ("a pickle by our name", put("results.json", pickle.dumps({"schema": 1})), "not readable JSON"),
        ("an archive behind it", lambda at: at.put("results.json", at.text("results.json") + "PK\x03"), "Extra data"),
        ("a script in front", lambda at: at.put("results.json", "#!/bin/sh\n" + at.text("results.json")), "Expecting"),
        ("a remark", lambda at: at.put("results.json", "// x\n" + at.text("results.json")), "not readable JSON: Exp"),
        ("nothing", put("results.json", ""), "not readable JSON: Expecting value"),
        ("zeros", put("results.json", bytes(1000)), "not readable JSON: Expecting value"),
        ("a better middle, unproven", unproven(point(1, held=95.0)), "epoch 1 claims 95 % on held, 28.50 of its 30"),
        ("a point twice", results(lambda r: r["trajectory"].append(r["trajectory"][1])), "has epoch 1 twice"),
        ("minus nothing", results(lambda r: r["trajectory"].append({**r["trajectory"][0], "epoch": -0.0})), "0 twice"),
        ("no base", results(lambda r: r["trajectory"].pop(0)), "the trajectory lacks epoch 0"),
        ("nearly the base", point(0, epoch=5e-324), "the trajectory lacks epoch 0"),
        ("an epoch before", point(1, epoch=-1), "trajectory.1.epoch: Input should be greater"),
        ("an epoch too late", point(2, epoch=1e5 + 1), "trajectory.2.epoch: Input should be less"),
        ("an epoch of 400 digits", point(2, epoch=10**400), "trajectory.2.epoch: Input should be a valid"),
        ("no number of an epoch", point(2, epoch=float("nan")), "trajectory.2.epoch: Input should be a finite"),
        ("an epoch as text", point(2, epoch="2"), "trajectory.2.epoch: Input should be a valid number"),
        ("over 100 %", point(1, held=100.0001), "trajectory.1.held: Input should be less"),
        ("below 0 %", point(1, held=-5e-324), "trajectory.1.held: Input should be greater"),
        ("endless %", point(1, held=float("inf")), "trajectory.1.held: Input should be a finite number"),
        ("held as none", point(1, held=None), "trajectory.1.held: Input should be a valid number"),
        ("% as text", point(1, held="90"), "trajectory.1.held: Input should be a valid number"),
        ("endless loss", point(1, train_loss=float("-inf")), "trajectory.1.train_loss: Input should be a finite"),
        ("a point with a remark", point(1, note="x"), "trajectory.1.note"),
        (
            "too many points",
            results(lambda r: r.update(trajectory=[{**r["trajectory"][0], "epoch": n} for n in range(2001)])),
            "trajectory: List should have at most 2000 items",
        ),
        ("a trajectory as a mapping", results(lambda r: r.update(trajectory={})), "trajectory: Input should be a"),
        ("compared fewer", agreement(compared=ITEMS - 1), "agreement.compared is 79, the release has 80"),
        ("compared 2^63", agreement(compared=2**63), "agreement.compared: Input should be less"),
        ("compared below nothing", agreement(compared=-80), "agreement.compared: Input should be greater"),
        ("a foreign fact differs", agreement(differing=["tiny/else"]), "agreement.differing must name facts of the"),
        (
            "one differs twice",
            results(lambda r: r["agreement"]["differing"].append(r["agreement"]["differing"][0])),
            "each once",
        ),
        ("100,000 differ", agreement(differing=["x"] * 100_000), "agreement.differing must name facts of the"),
        (
            "too many differ",
            lambda at: at.results(
                lambda r: r["agreement"].update(differing=[f.id for f in at.release.splits[Split.KNOWN]])
            ),
            "agreement.differing names 20 of 80 facts; where more than 5 % differ",
        ),
        ("an unseen one differs", agreement(differing=["x\u200b"]), "agreement.differing.0: character 2 is U+200B"),
        ("differing as text", agreement(differing="held"), "agreement.differing: Input should be a valid list"),
        (
            "a better end, unproven",
            unproven(point(2, held=100.0)),
            "the trajectory ends at 100.00 % on held, its answers give 80.00 %",
        ),
        ("an end without old facts", unproven(point(2, held_val=None)), "the last point of the trajectory lacks held_"),
    ],
)
attack(
    "outcomes.jsonl",
    [
        ("a better middle", point(1, held=100.0), "epoch 1, held: its outcomes give 93.33 %, the trajectory says 100"),
        ("a worse base", point(0, unknown=5.0), "epoch 0, unknown: its outcomes give 0.00 %, the trajectory says 5.00"),
        ("a tiny lie", point(1, held=100 * 28 / 30 + 2e-6), "epoch 1, held: its outcomes give 93.33 %"),
        ("an epoch renamed", point(1, epoch=1.5), "has epochs 0, 1, 2, the trajectory in results.json 0, 1.5, 2"),
        ("an epoch left out", results(lambda r: r["trajectory"].pop(1)), "has epochs 0, 1, 2, the trajectory"),
        (
            "an epoch made up",
            results(lambda r: r["trajectory"].append({**r["trajectory"][2], "epoch": 3})),
            "has epochs 0, 1, 2, the trajectory in results.json 0, 1, 2, 3",
        ),
        ("no trajectory", results(lambda r: r.update(trajectory=[])), "the trajectory in results.json none"),
        ("what was not asked", point(1, known=100.0), "epoch 1, known: a point without outcomes"),
        ("what was asked, hidden", point(0, held_val=None), "epoch 0, held_val: outcomes without a point"),
        ("a letter flipped", letters(1, "held", "wc" + "c" * 28), "epoch 1, held: its outcomes give 96.67 %"),
        (
            "letters exchanged at the end",
            letters(2, "unknown", "w" + "c" * 12 + "w" * 7),
            "the last epoch says wrong of tiny/country_of_city/u",
        ),
        (
            "wrong as silent at the end",
            letters(2, "held_val", "c" * 8 + "wa"),
            "the last epoch says abstained of tiny/country_of_city/h",
        ),
        ("a letter too many", letters(1, "held", "c" * 31), "epoch 1, held: 31 letters, the release has 30 items"),
        ("a letter too few", letters(1, "held", "c" * 29), "epoch 1, held: 29 letters, the release has 30 items"),
        ("no letters", letters(1, "held", ""), "epoch 1, held: 0 letters, the release has 30 items"),
        ("no letters of no point", letters(1, "known", ""), "epoch 1, known: outcomes without a point"),
        ("another letter", letters(1, "held", "x" + "c" * 29), "epoch 1, held: 30 letters, the release has 30"),
        ("capital letters", letters(1, "held", "WA" + "C" * 28), "epoch 1, held: 30 letters, the release has 30"),
        ("a Cyrillic letter", letters(1, "held", "wa" + "с" * 28), "epoch 1, held: 30 letters, the release has 30"),
        ("a million letters", letters(1, "held", "c" * 1_000_000), "epoch 1, held: 1000000 letters, the release"),
        ("letters as a list", asked(lambda rows: rows[1]["outcomes"].update(held=["c"] * 30)), "outcomes.held: Input"),
        ("outcomes of no split", letters(1, "test", "c"), "outcomes.test"),
        ("an epoch as a word", asked(lambda rows: rows[1].update(epoch="one")), "epoch: Input should be a valid num"),
        ("lines in another order", asked(list.reverse), "has epochs 2, 1, 0, the trajectory in results.json 0, 1, 2"),
        ("a line twice", asked(lambda rows: rows.insert(1, rows[0])), "has epochs 0, 0, 1, 2, the trajectory"),
        ("no lines", put("outcomes.jsonl", ""), "is empty; it has a line an epoch"),
        ("a list as a line", put("outcomes.jsonl", "[1]\n"), "line 1: expected a JSON object, found list"),
        ("epoch twice in a line", swap("outcomes.jsonl", '{"epoch":1', '{"epoch":0,"epoch":1'), 'line 2: not JSON ("'),
        ("a line with a remark", asked(lambda rows: rows[0].update(by="me")), "by: no such field; known are epoch"),
        (
            "one that differs, hidden",
            results(lambda r: r["agreement"]["differing"].pop()),
            "and agreement.differing does not name it",
        ),
        (
            "one that does not differ",
            lambda at: at.results(lambda r: r["agreement"]["differing"].append(at.release.splits[Split.KNOWN][3].id)),
            "and agreement.differing names it all the same",
        ),
        ("no agreement", results(lambda r: r.update(agreement=None)), "the last epoch says wrong of tiny/country_of_"),
    ],
)


def _gold(at: At) -> None:
    """Answers of held replaced by the gold; the counts stay."""
    gold = {f.id: f.answers[0] for f in at.release.splits[Split.HELD]}
    at.lines("samples/held.jsonl", lambda rows: [row.update(prediction=gold[row["fact_id"]]) for row in rows])


def _exchanged(at: At) -> None:
    """One right answer made wrong and a wrong one right: the counts stay."""
    gold = {f.id: f.answers[0] for f in at.release.splits[Split.HELD]}

    def edit(rows: list[Any]) -> None:
        rows[5]["prediction"], rows[28]["prediction"] = "Atlantis", gold[rows[28]["fact_id"]]

    at.lines("samples/held.jsonl", edit)


attack(
    "outcomes.jsonl",
    [("two answers exchanged", _exchanged, "the last epoch says correct of tiny/country_of_city/h")],
)


def _other_split(at: At) -> None:
    one, other = at.text("samples/known.jsonl"), at.text("samples/unknown.jsonl")
    at.put("samples/known.jsonl", other)
    at.put("samples/unknown.jsonl", one)


def fact_id(change: Callable[[str], str]) -> Edit:
    return held(lambda rows: rows[0].update(fact_id=change(rows[0]["fact_id"])))


attack("results.json", [("the gold as answers", _gold, "held claims 24 correct / 4 wrong / 2 abstained, its answers")])
attack(
    "samples/known.jsonl",
    [("answers of another split", _other_split, "20 facts of the release missing, 20 not in it")],
)
attack(
    "samples/held.jsonl",
    [
        ("a foreign fact", held(lambda rows: rows.append({"fact_id": "x", "prediction": "y"})), "0 facts of the"),
        ("hard ones left out", held(list.pop), "1 facts of the release missing, 0 not in it"),
        ("a second try", held(lambda rows: rows.append({**rows[-1], "prediction": "Land"})), "line 31: a duplicate"),
        ("the same again", held(lambda rows: rows.append(rows[0])), "line 31: a duplicate: the fact_id"),
        ("an outcome of its own", held(lambda rows: rows[0].update(outcome="correct")), "line 1: expected fact_id"),
        ("several answers", held(lambda rows: rows[0].update(prediction=["a", "b"])), "line 1: expected fact_id"),
        ("a number as an answer", held(lambda rows: rows[9].update(prediction=1)), "line 10: expected fact_id"),
        ("no answer", held(lambda rows: rows[9].pop("prediction")), "line 10: expected fact_id and prediction"),
        ("a long answer", held(lambda rows: rows[0].update(prediction="x" * 501)), "line 1: the prediction has 501"),
        ("a long line", held(lambda rows: rows[0].update(prediction="x" * 4_000_000)), "the prediction has 4000000"),
        ("half a pair", held(lambda rows: rows[0].update(prediction="\ud800")), "line 1: half a surrogate pair"),
        ("half a pair in an id", fact_id(lambda said: said + "\udfff"), "line 1: half a surrogate pair"),
        ("a look-alike", fact_id(lambda said: said.replace("country", "соuntry")), "1 facts of the release missing, 1"),
        ("an id with no width", fact_id(lambda said: said + "\u200b"), "1 facts of the release missing, 1"),
        ("an id that ends in zero", fact_id(lambda said: said + "\0"), "1 facts of the release missing, 1 not in"),
        ("an id that climbs", fact_id(lambda said: "../../../etc/passwd"), "1 facts of the release missing, 1 not"),
        ("an id with a new line", fact_id(lambda said: f"{said}\n\x1b[31m"), "1 facts of the release missing, 1"),
        ("an id of a million letters", fact_id(lambda said: "x" * 1_000_000), "1 facts of the release missing, 1"),
        (
            "two lines in one",
            lambda at: at.put("samples/held.jsonl", at.text("samples/held.jsonl").replace("\n", " ", 1)),
            "line 1: not JSON (Extra data",
        ),
        ("an empty line", lambda at: at.put("samples/held.jsonl", "\n" + at.text("samples/held.jsonl")), "line 1: not"),
        ("one list", lambda at: at.put("samples/held.jsonl", "[]"), "line 1: expected a JSON object, found list"),
        ("NaN as a line", put("samples/held.jsonl", "NaN\n"), "line 1: expected a JSON object, found float"),
        ("a raw zero", swap("samples/held.jsonl", '/h39"', '/h39\0"'), "not JSON (Invalid control character"),
        ("a line without end", put("samples/held.jsonl", '{"a":' * 50_000), "line 1: not JSON (maximum recursion"),
        ("compressed", put("samples/held.jsonl", b"\x1f\x8b\x08\x00" + bytes(50)), "cannot read"),
        ("a line in UTF-16", put("samples/held.jsonl", '{"fact_id": "x"}\n'.encode("utf-16")), "cannot read"),
        (
            "a name twice",
            lambda at: at.put(
                "samples/held.jsonl",
                at.text("samples/held.jsonl").replace('"prediction":', '"prediction":"Land","prediction":', 1),
            ),
            'line 1: not JSON ("prediction" stands twice in one object',
        ),
    ],
)
BOMB = "a: &a [x, x]\n" + "".join(
    f"{y}: &{y} [{', '.join([f'*{x}'] * 10)}]\n" for x, y in zip("abcdefgh", "bcdefghi", strict=True)
)
attack(
    "submission.yaml is not readable YAML",
    [
        ("a bomb", put("submission.yaml", BOMB), "aliases (*name) are not allowed"),
        ("itself in itself", swap("submission.yaml", "title: Sft", "title: &a [*a]"), "aliases (*name) are not"),
        ("a merge", swap("submission.yaml", "title: Sft", "<<: {title: Best}"), "merges (<<) are not allowed"),
        ("a hidden merge", swap("submission.yaml", "title: Sft", "title: Sft\n<<: [{seed: 1}]"), "merges (<<) are"),
        (
            "a command",
            swap("submission.yaml", "title: Sft", "title: !!python/object/apply:os.system [touch pwned]"),
            "c",
        ),
        ("a function", swap("submission.yaml", "title: Sft", "title: !!python/name:os.system"), "could not determine"),
        ("a module", swap("submission.yaml", "title: Sft", "title: !!python/module:pwned"), "could not determine a"),
        ("a tag of its own", swap("submission.yaml", "title: Sft", "title: !me x"), "could not determine a constr"),
        (
            "unseen in what is no YAML",
            swap("submission.yaml", "title: Sft", "title: {S\u202e\u200bft"),
            "\\u202e\\u200bft",
        ),
        (
            "unseen tags in no YAML",
            swap("submission.yaml", "title: Sft", "title: {" + "\U000e0041" * 90),
            "\\U000e0041",
        ),
        ("two documents", lambda at: at.put("submission.yaml", at.text("submission.yaml") + "---\na: 1\n"), "single"),
        ("seed twice", lambda at: at.put("submission.yaml", at.text("submission.yaml") + "seed: 1\n"), "'seed' stands"),
        ("seed twice, quoted", lambda at: at.put("submission.yaml", at.text("submission.yaml") + '"seed": 1\n'), "'se"),
        (
            "seed twice, escaped",
            lambda at: at.put("submission.yaml", at.text("submission.yaml") + '"\\x73eed": 1\n'),
            "'",
        ),
        ("a list as a name", lambda at: at.put("submission.yaml", at.text("submission.yaml") + "? [a]\n: b\n"), "hash"),
        ("flows without end", put("submission.yaml", "title: " + "[" * 2_000), "maximum recursion depth"),
        ("no such month", swap("submission.yaml", "2026-01-02", "2026-13-45"), "month must be in 1..12"),
        ("a raw zero in the card", swap("submission.yaml", "title: Sft", "title: S\0ft"), "special characters"),
        ("a bell in the card", swap("submission.yaml", "title: Sft", "title: S\aft"), "special characters"),
        (
            "a card in UTF-16",
            lambda at: at.put("submission.yaml", at.text("submission.yaml").encode("utf-16")),
            "utf-8",
        ),
        ("a card that is a pickle", put("submission.yaml", pickle.dumps([1], protocol=4)), "utf-8"),
        ("a card with tabs", swap("submission.yaml", "authors:\n", "authors:\n\t"), "cannot start any token"),
        (
            "a number to base 60 beyond all",
            swap("submission.yaml", "epochs: 3", "epochs: 1" + ":59" * 8000 + ".5"),
            "int too large to convert to float",
        ),
    ],
)
UNSEEN = {
    "title": ("S\u200bft", "U+200B"),
    "description": ("a\u202eb", "U+202E"),
    "contact": ("a\x1b[2Jb", "U+001B"),
    "hardware": ("a\u2028b", "U+2028"),
    "command": ("a\nb", "U+000A"),
    "authors": (["Ada", "\u2066x"], "U+2066"),
    "versions": ({"lm_eval": "0.4.13", "a\u00ad": "1"}, "U+00AD"),
    "hyperparameters": ({"note": "x\U000e0041"}, "U+E0041"),
}
attack(
    "submission.yaml: ",
    [
        *((f"unseen in {name}", card(**{name: value}), f"is {says}") for name, (value, says) in UNSEEN.items()),
        ("half a pair in the title", swap("submission.yaml", "Sft", '"\\ud800"'), "title: "),
        ("a title of nothing", card(title=""), "title: String should have at least 1"),
        ("a title too long", card(title="x" * 81), "title: String should have at most 80"),
        ("a title of bytes", swap("submission.yaml", "title: Sft", "title: !!binary AAECAw=="), "title: character 1"),
        ("a seed of 2^63", card(seed=2**63), "seed: Input should be less"),
        ("a seed below nothing", card(seed=-1), "seed: Input should be greater"),
        ("a seed as truth", card(seed=False), "seed: Input should be a valid integer"),
        ("a seed in 5,000 hex digits", swap("submission.yaml", "seed: 0", "seed: 0x" + "f" * 5000), "seed: Input"),
        ("a seed to base 60", swap("submission.yaml", "seed: 0", "seed: 1" + ":59" * 8000), "seed: Input should be"),
        (
            "a setting without end",
            swap("submission.yaml", "epochs: 3", "epochs: 0x" + "f" * 5000),
            "hyperparameters.ep",
        ),
        ("a setting that is none", card(hyperparameters={"a": float("nan")}), "hyperparameters.a"),
        ("a setting in a setting", card(hyperparameters={"a": {"b": 1}}), "hyperparameters.a"),
        ("a setting's name with a tag", card(hyperparameters={"<b>": 1}), "hyperparameters.<b>"),
        ("an entry that climbs", card(entry="../../x"), "entry: String should match pattern"),
        ("an entry in capitals", card(entry="SFT"), "entry: String should match pattern"),
        ("an entry that looks alike", card(entry="sfт"), "entry: String should match pattern"),
        ("an entry with a new line", card(entry="sft\n"), "entry: String should match pattern"),
        ("a track that climbs", card(track="geonames/../../etc"), "track: String should match pattern"),
        ("a track from the root", card(track="/etc/passwd"), "track: String should match pattern"),
        ("a track with a zero", swap("submission.yaml", "geonames/tiny", '"geonames/tiny\\0"'), "track: String should"),
        ("a track with another slash", card(track="geonames∕tiny"), "track: String should match pattern"),
        ("a track of one dot", card(track="geonames/."), "track: String should match pattern"),
        ("a track that looks alike", card(track="geonаmes/tiny"), "track: String should match pattern"),
        ("a release in capitals", card(release="AB" * 32), "release: String should match pattern"),
        ("trained on held-out facts", card(trained_on=["known", "held"]), "trained_on: known and unknown may be"),
        ("trained on known, twice", card(trained_on=["known", "known"]), "trained_on: known and unknown may be"),
        ("trained on nothing", card(trained_on=[]), "trained_on: Tuple should have at least 1"),
        ("trained on everything", card(trained_on=["known", "unknown", "held"]), "trained_on: Tuple should have at"),
        ("an address that runs", card(url="javascript:alert(1)"), "url: String should match pattern"),
        ("an address of data", card(url="data:text/html,<script>"), "url: String should match pattern"),
        ("an address with a quote", card(url='https://x.org/"onload=x'), "url: String should match pattern"),
        ("an address in the clear", card(url="http://x.org"), "url: String should match pattern"),
        ("an address with a new line", card(url="https://x.org\n"), "url: String should match pattern"),
        ("made tomorrow and after", card(created="2999-01-01"), "created: 2999-01-01 is in the future"),
        ("made at no day", card(created="soon"), "created: Input should be a valid date"),
        ("made at an hour", swap("submission.yaml", "2026-01-02", "2026-01-02 10:00:00"), "created: Datetimes"),
        ("made beyond time", swap("submission.yaml", "2026-01-02", "1.0e+300"), "created: Input should be a valid"),
        ("asked by nothing", card(versions={"fthall": "0.1.0"}), "versions: lm_eval is missing"),
        ("asked by another", card(versions={"lm_eval": "0.4.12"}), "versions: lm_eval '0.4.12' is no version"),
        ("asked by a number", card(versions={"lm_eval": 0.4}), "versions.lm_eval: Input should be a valid string"),
        ("a tier of its own", card(tier="verified"), "tier: no such field; known are schema, track"),
        ("a rank of its own", card(forgotten=0.0), "forgotten: no such field"),
        ("a field of 5,000 letters", lambda at: at.put("submission.yaml", f"? {'x' * 5000}\n: 1\n"), "schema: Field"),
        ("a card that is a list", put("submission.yaml", "- a\n"), "top level: Input should be a valid dictionary"),
        ("a card that is empty", put("submission.yaml", "# nothing\n"), "top level: Input should be a valid"),
        ("5,000 fields", lambda at: at.put("submission.yaml", "".join(f"k{n}: 1\n" for n in range(5000))), "Field re"),
        ("a branch", checkpoint(revision="main"), "checkpoint.revision: String should match pattern"),
        ("a tag", checkpoint(revision="v1.0"), "checkpoint.revision: String should match pattern"),
        ("a short commit", checkpoint(revision="a" * 12), "checkpoint.revision: String should match pattern"),
        ("no commit", checkpoint(revision=None), "checkpoint: give repository and revision"),
        ("a repository that climbs", checkpoint(repository="../x"), "checkpoint.repository: String should match"),
        ("two places", checkpoint(url="https://x.org/m/"), "checkpoint: give repository and revision (40 hex"),
        (
            "weights in the clear",
            checkpoint(repository=None, revision=None, url="http://x.org/m/"),
            "checkpoint.url: String should match pattern",
        ),
        ("code among the files", checkpoint(files=[*FILES, {**FILES[0], "name": "x.py"}]), "x.py is no file that is"),
        ("a pickle among the files", checkpoint(files=[*FILES, {**FILES[0], "name": "w.bin"}]), "w.bin is no file"),
        (
            "a file elsewhere",
            checkpoint(files=[*FILES, {**FILES[0], "name": "a/../b.json"}]),
            "checkpoint.files.2.name",
        ),
        ("a file twice", checkpoint(files=[*FILES, FILES[1]]), "files must be in order of their names, each once"),
        ("no weights", checkpoint(files=[FILES[0], {**FILES[0], "name": "x.json"}]), "no .safetensors file among"),
        ("too many files", checkpoint(files=FILES * 251), "checkpoint.files: Tuple should have at most 500"),
        ("remote code", checkpoint(trust_remote_code=True), "checkpoint.trust_remote_code: no such field"),
        ("a half hash", checkpoint(files=[FILES[0], {**FILES[1], "sha256": "0" * 32}]), "checkpoint.files.1.sha256"),
        ("a kind of its own", checkpoint(kind="pickle"), "checkpoint.kind: Input should be 'full', 'adapter'"),
        ("an adapter without its file", checkpoint(kind="adapter"), "adapter_config.json is among the files of kind"),
        ("another architecture", checkpoint(architecture="GPT2LMHeadModel"), "checkpoint.architecture is GPT2LMHead"),
        ("a larger model", checkpoint(parameters=360_000_000), "checkpoint.parameters is 360,000,000, the base has"),
        ("a smaller vocabulary", checkpoint(vocabulary=49_151), "checkpoint.vocabulary is 49151, the base's 49152"),
        ("a checkpoint in a word", card(checkpoint="main"), "checkpoint: Input should be a valid dictionary"),
    ],
)


def _renamed(name: str) -> Edit:
    return lambda at: at.folder.rename(at.folder.with_name(name))


def _moved(name: str) -> Edit:
    def edit(at: At) -> Path:
        target = at.folder.parents[2] / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return at.folder.rename(target)

    return edit


attack(
    "sft-seed",
    [
        ("another's folder", _renamed("other-seed0"), "other-seed0: is seed 0 of 'sft', so the folder's name must be"),
        ("another seed's folder", _renamed("sft-seed1"), "so the folder's name must be sft-seed0"),
        ("a second name of a seed", _renamed("sft-seed00"), "so the folder's name must be sft-seed0"),
        ("another entry in the card", card(entry="other"), "so the folder's name must be other-seed0"),
        ("another seed in the card", card(seed=7), "so the folder's name must be sft-seed7"),
        ("under another base", _moved("geonames/other/sft-seed0"), "must lie in a folder …/geonames/tiny/<slug>"),
        ("under another source", _moved("other/tiny/sft-seed0"), "must lie in a folder …/geonames/tiny/<slug>"),
        ("under a retired release", _moved("geonames/tiny@0123456789ab/sft-seed0"), "must lie in a folder …/geonames"),
        ("one folder deeper", _moved("geonames/tiny/x/sft-seed0"), "must lie in a folder …/geonames/tiny/<slug>"),
        (
            "another track",
            card(track="geonames/other"),
            "track 'geonames/other', but the release is of 'geonames/tiny'",
        ),
        ("another release", card(release="0" * 64), "made on release 000000000000…, but geonames/tiny is at"),
        ("another base", card(base_weights_sha256="0" * 64), "base_weights_sha256 is not that of the track's base"),
        ("no card", lambda at: at.remove("submission.yaml"), "lacks submission.yaml"),
        ("no results", lambda at: at.remove("results.json"), "lacks results.json"),
        ("no answers", lambda at: at.remove("samples/held.jsonl"), "lacks samples/held.jsonl"),
        (
            "no answers at all",
            lambda at: shutil.rmtree(at.folder / "samples"),
            "lacks samples/held.jsonl, samples/held",
        ),
    ],
)


def _link(name: str) -> Edit:
    def edit(at: At) -> None:
        target = at.folder.parents[2] / "elsewhere"
        (at.folder / name).rename(target)
        (at.folder / name).symlink_to(target)

    return edit


def _linked_folder(at: At) -> Path:
    link = at.folder.with_name("sft-seed1")
    link.symlink_to(at.folder)
    return link


def _linked_track(name: str) -> Edit:
    def edit(at: At) -> Path:
        root, source = at.folder.parents[2], name.split("/", maxsplit=1)[0]
        link, target = (source, "geonames") if source != "geonames" else (name, TRACK)
        (root / link).symlink_to(root / target)
        return root / name / at.folder.name

    return edit


def _pipe(name: str) -> Edit:
    def edit(at: At) -> None:
        at.remove(name)
        os.mkfifo(at.folder / name)

    return edit


def _device(at: At) -> None:
    at.remove("results.json")
    os.mknod(at.folder / "results.json", stat.S_IFCHR | 0o600, os.makedev(1, 3))  # needs more rights than most have


def _sparse(at: At) -> None:
    with (at.folder / "outcomes.jsonl").open("ab") as file:
        file.truncate(2**33)


def _folder(name: str) -> Edit:
    def edit(at: At) -> None:
        (at.folder / name).unlink(missing_ok=True)
        (at.folder / name).mkdir(parents=True)

    return edit


attack(
    "",
    [
        ("a link out", _link("results.json"), "results.json is a link; submissions hold plain files only"),
        ("a link for answers", _link("samples/known.jsonl"), "samples/known.jsonl is a link"),
        ("a linked folder of answers", _link("samples"), "samples is a link; submissions hold plain"),
        ("a link for hashes", _link("trained_on.txt"), "trained_on.txt is a link"),
        ("a link for the whole", _linked_folder, "sft-seed1 is a link; give the folder itself"),
        ("a link for the track", _linked_track("geonames/twice"), "geonames/twice is a link; give the folder itself"),
        ("a link for the source", _linked_track("more/tiny"), "more is a link; give the folder itself"),
        (
            "a link to nothing",
            lambda at: (at.folder / "outcomes.jsonl.bak").symlink_to("nowhere"),
            "outcomes.jsonl.bak is a link",
        ),
        ("a pipe", _pipe("results.json"), "results.json is not a plain file of at most 5 MiB"),
        ("a pipe for outcomes", _pipe("outcomes.jsonl"), "outcomes.jsonl is not a plain file of at most 5 MiB"),
        ("a device", _device, "results.json is not a plain file of at most 5 MiB"),
        ("eight gigabytes of nothing", _sparse, "outcomes.jsonl is not a plain file of at most 5 MiB"),
        (
            "a card of 64 KiB and one",
            lambda at: at.put("submission.yaml", "#" * (64 * 1024 + 1)),
            "yaml is larger than",
        ),
        ("a folder by our name", _folder("results.json"), "unexpected folder"),
        ("a hidden file", put(".env", "x"), "unexpected file"),
        ("a hidden folder", _folder(".git"), "unexpected folder"),
        ("folders in folders", _folder("samples/more/and/more"), "samples/more; allowed: samples"),
        ("another case", put("Results.json", "{}"), "Results.json; allowed: outcomes.jsonl, results.json"),
        ("all capitals", put("SUBMISSION.YAML", "{}"), "SUBMISSION.YAML; allowed: outcomes.jsonl, results.json"),
        ("a look-alike file", put("rеsults.json", "{}"), "rеsults.json; allowed: outcomes.jsonl, results.json"),
        ("another spelling of YAML", put("submission.yml", "{}"), "submission.yml; allowed: outcomes.jsonl"),
        ("a file that turns round", put("\u202enosj.exe", "{}"), "\\u202enosj.exe"),
        ("a file with a new line", put("a\nb", "{}"), "a\\nb"),
        ("a pickle beside", put("model.pkl", pickle.dumps(1)), "model.pkl; allowed: outcomes.jsonl"),
        ("code beside", put("conftest.py", "raise SystemExit"), "conftest.py; allowed: outcomes.jsonl"),
        ("code among the answers", put("samples/__init__.py", ""), "samples/__init__.py; allowed: outcomes.jsonl"),
        ("compressed answers", put("samples/held.jsonl.gz", b"\x1f\x8b"), "samples/held.jsonl.gz; allowed: out"),
        ("answers of no split", put("samples/test.jsonl", ""), "samples/test.jsonl; allowed: outcomes.jsonl"),
        ("a backslash", put("samples\\held.jsonl", ""), "samples\\held.jsonl; allowed: outcomes.jsonl"),
        ("weights", put("model.safetensors", b""), "model.safetensors; allowed: outcomes.jsonl"),
    ],
)
attack(
    "trained_on.txt",
    [
        ("hashes in capitals", put("trained_on.txt", f"{HASHES[0].upper()}\n"), "line 1: expected 16 hex digits"),
        ("hashes in disorder", put("trained_on.txt", f"{HASHES[1]}\n{HASHES[0]}\n"), "its lines must be in order"),
        ("a hash twice", put("trained_on.txt", f"{HASHES[0]}\n{HASHES[0]}\n"), "its lines must be in order, each once"),
        ("no hashes", put("trained_on.txt", ""), "line 1: expected 16 hex digits"),
        ("questions in the clear", put("trained_on.txt", "Where is Riga?\n"), "line 1: expected 16 hex digits"),
        ("lines as Windows ends them", put("trained_on.txt", "\r\n".join([*HASHES, ""])), "line 1: expected 16 hex"),
        ("a line of a megabyte", put("trained_on.txt", "a" * 2**20), "line 1: expected 16 hex digits"),
        ("hashes in full width", put("trained_on.txt", "０" * 16), "line 1: expected 16 hex digits"),
        ("a pickle of hashes", put("trained_on.txt", pickle.dumps(HASHES)), "line 1: expected 16 hex digits"),
    ],
)
