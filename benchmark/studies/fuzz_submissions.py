"""Are there bytes that bring down what reads strangers' files? Minutes of random ones, most of them nearly right.

    python benchmark/studies/fuzz_submissions.py --minutes 10 --out leaderboard/studies/fuzz-submissions.json

The files of a good submission, of a checkpoint, of a verification and of a report are damaged, and the readers have to
take them or refuse them in one line that can be printed. It is a failure if another exception comes out, a message is
longer than a line, 512 MiB of address space do not suffice or ten seconds do not. The same seed gives the same files,
in the same order: ``--only N`` does the Nth again and lets its exception out. Linux only.
"""

import copy
import json
import math
import random
import re
import resource
import signal
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import yaml

from fthall.errors import FthallError
from fthall.files import read_json, write_json, write_jsonl, write_text
from fthall.knowledge import splits
from fthall.paths import data_dir
from fthall.records import Category, Fact, Release, Split
from fthall.submissions import pinned, pull, tiers, validate
from fthall.submissions.card import Submission

MEMORY = 512 * 2**20
LONGEST_LINE, LONGEST_SECONDS = 700, 10
TRACK = "geonames/tiny"
SIZES = {Split.KNOWN: 3, Split.UNKNOWN: 3, Split.HELD: 4, Split.HELD_VAL: 2}
TOKENS: tuple[bytes, ...] = (
    *(b"\n", b"\r\n", b"\x00", b"\x1b[2J", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b" ", b"\t", b"#"),
    *(b'"', b"'", b"\\", b"\\u", b"\\ud800", b"\\u0000", b"{", b"}", b"[", b"]", b",", b":", b": ", b"- ", b"? ", b"|"),
    *(b"null", b"true", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0.0", b"5e-324", b"9" * 30, b"9" * 5000),
    *(b"-1", b"0x" + b"f" * 5000, b"1:59:59", b"0", b"100", b"2026-13-45", b"!!python/name:os.system", b"!!binary "),
    *(b"&a ", b"*a", b"<<: {a: b}\n", b"---\n", b"...\n", b"%TAG ! x\n", b"[" * 2000, b"{" * 500, b"\xe2\x80\xae"),
    *(b"\xe2\x80\xa8", b"../", b"/etc/passwd", b"held", b"known", b"epoch", b"schema", b"cwa", b"c", b"F32", b"U8"),
)
STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 5e-324, 1e308, math.nan, math.inf),
    *("", "x", "x" * 600, "x" * 100_000, "\ud800", "\u202e", "\x00", "../..", "held", "a" * 64, "a" * 40),
    *([], {}, [[]], [0], {"": 0}, {"x" * 5000: 1}, {"a\nb": 1}, ["held"] * 5000),
)


def _release(folder: Path) -> Release:
    """Sixteen made-up facts."""
    import pandas as pd

    keys = [*(f"{kind}{n}" for kind in "ku" for n in range(1, 5)), *(f"h{n}" for n in range(1, 9))]
    facts = [
        Fact(
            id=f"tiny/country_of_city/{key}",
            relation="country_of_city",
            subject=f"Town {key}",
            question=f"In which country is the city of Town {key}?",
            answers=(f"Land {key}", f"Republic of {key}"),
            origin="dev" if key[0] == "h" else "train",
        )
        for key in keys
    ]
    categories = [Category.UNKNOWN if key[0] == "u" else Category.HIGHLY_KNOWN for key in keys]
    rows = [
        (fact.id, fact.relation, str(category), [category is Category.HIGHLY_KNOWN] * 2)
        for fact, category in zip(facts, categories, strict=True)
    ]
    return splits.build(
        folder,
        track=TRACK,
        facts=facts,
        labels=pd.DataFrame(rows, columns=["fact_id", "relation", "category", "right"]),
        sizes=SIZES,
        source={"name": "geonames"},
        base={"name": "tiny", "weights_sha256": _base()["weights_sha256"]},
        slick={"runs": 2},
    )


def _base() -> Any:
    return read_json(data_dir("tasks") / "bases" / "smollm2-135m.json")


def _submission(folder: Path, release: Release) -> None:
    """A good one: every file it may have, every field of the card."""
    base = _base()
    files = [{"name": name, "bytes": 5, "sha256": "0" * 64} for name in ("config.json", "model.safetensors")]
    card = {
        **{"schema": 1, "track": TRACK, "release": release.digest, "entry": "sft", "title": "SFT", "method": "sft"},
        **{"description": "Plain.", "seed": 0, "trained_on": ["known", "unknown"]},
        "hyperparameters": {"learning_rate": 0.00005, "epochs": 1, "packed": False, "note": None, "optimiser": "AdamW"},
        "base_weights_sha256": base["weights_sha256"],
        **{"authors": ["Ada"], "contact": "ada@example.org", "url": "https://example.org/x", "hardware": "a laptop"},
        "checkpoint": {
            **{"kind": "full", "repository": "ada/model", "revision": "a" * 40, "files": files},
            **{name: base[name] for name in ("architecture", "parameters", "vocabulary")},
        },
        **{"command": "fthall run", "versions": {"lm_eval": "0.4.13"}, "created": "2026-01-02"},
    }
    write_text(folder / "submission.yaml", yaml.safe_dump(card, sort_keys=False))
    counts, last = {}, {}
    for split, facts in release.splits.items():
        said = [fact.answers[0] if n else "Atlantis" for n, fact in enumerate(facts)]
        last[str(split)] = "w" + "c" * (len(facts) - 1)
        counts[str(split)] = {"correct": len(facts) - 1, "wrong": 1, "abstained": 0}
        rows = [{"fact_id": fact.id, "prediction": text} for fact, text in zip(facts, said, strict=True)]
        write_jsonl(folder / "samples" / f"{split}.jsonl", rows)
    asked = [{"epoch": epoch, "outcomes": last} for epoch in (0, 1)]
    write_jsonl(folder / "outcomes.jsonl", asked)
    shares = {split: 100 * letters.count("c") / len(letters) for split, letters in last.items()}
    points = [{"epoch": epoch, **shares, "train_loss": 0.5} for epoch in (0, 1)]
    agreement = {"compared": sum(SIZES.values()), "differing": []}
    results = {"schema": 1, "counts": counts, "trajectory": points, "agreement": agreement, "train_seconds": 1.5}
    write_json(folder / "results.json", results)
    write_text(folder / "trained_on.txt", "0123456789abcdef\n1123456789abcdef\n")


def _checkpoint(folder: Path) -> None:
    """Headers as of a model, and what it is loaded with."""
    told, at = {}, 0
    for name, shape in {"model.embed_tokens.weight": (10, 4), "model.norm.weight": (4,)}.items():
        size = 4 * math.prod(shape)
        told[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **told}).encode()
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))
    write_json(folder / "config.json", {"architectures": ["LlamaForCausalLM"], "vocab_size": 10})
    write_json(folder / "tokenizer.json", {"model": {"vocab": {"a": 0}}})


def _verification(path: Path, digest: str) -> None:
    asked = {"items": 4, "asked": 4, "flips": [], "false_at_most": 0.5, "p": 1.0}
    told = {
        **{"schema": 1, "submission": digest, "tier": "verified", "seed": "round 5", "asked": {"held": asked}},
        **{"flip_rate": 0.01, "weights_sha256": "0" * 64, "hardware": "a laptop", "versions": {"torch": "2"}},
        "on": "2026-01-02",
    }
    write_json(path, told)


def _report(path: Path) -> None:
    accuracy = {str(split): 50.0 for split in Split}
    one = {"folder": f"submissions/{TRACK}/sft-seed0", "accuracy": accuracy, "evidenced": True, "odd": ["a line"]}
    told = {"schema": 1, "accepted": True, "track": TRACK, "entry": "sft", "submissions": [one]}
    write_json(path, {**told, "refused": [], "notes": ["a line"]})


def prepare(folder: Path) -> None:
    """Everything that is damaged later, whole."""
    release = _release(folder / "release")
    place = folder / "submissions" / TRACK / "sft-seed0"
    _submission(place, release)
    one = validate(place, release)
    _checkpoint(folder / "checkpoint")
    _verification(folder / "verified" / TRACK / "sft-seed0.json", one.digest)
    _report(folder / "report.json")


# Damage


def damaged(content: bytes, rng: random.Random, name: str) -> bytes:
    """The content of a file with one to four things done to it."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if name.endswith((".json", ".jsonl", ".yaml")) and rng.random() < 0.5:
            content = _other_structure(content, rng, name)
        elif name.endswith(".safetensors") and rng.random() < 0.5 and len(content) > 8:
            length = int.from_bytes(content[:8], "little")
            header = _other_structure(content[8 : 8 + length], rng, "header.json")
            content = struct.pack("<Q", len(header)) + header + content[8 + length :]
        else:
            content = rng.choice(BYTES)(content, rng)
    return content


def _span(content: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(content) + 1)
    return start, min(len(content), start + rng.choice((0, 1, 2, 4, 16, 256, 10_000)))


def _flip(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return b"\x00"
    changed = bytearray(content)
    for _ in range(rng.choice((1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _put(content: bytes, rng: random.Random) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + rng.choice(TOKENS) + content[rng.choice((start, end)) :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + content[end:]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    start, end = _span(content, rng)
    return content[:start] + content[start:end] * rng.choice((2, 2, 3, 100)) + content[end:]


def _end(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _number(content: bytes, rng: random.Random) -> bytes:
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?", content))
    if not found:
        return content
    one = rng.choice(found)
    return content[: one.start()] + str(rng.choice((0, 1, -1, 2**63, 1e308, 33.3, 101))).encode() + content[one.end() :]


def _line(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    at = rng.randrange(len(lines))
    match rng.randrange(3):
        case 0:
            del lines[at]
        case 1:
            lines.insert(rng.randrange(len(lines) + 1), lines[at])
        case _:
            rng.shuffle(lines)
    return b"".join(lines)


BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (_flip, _put, _cut, _repeat, _end, _number, _line)


def _other_structure(content: bytes, rng: random.Random, name: str) -> bytes:
    """A part of what stands there replaced, removed, doubled, renamed or put elsewhere; of damaged files, bytes."""
    try:
        if name.endswith(".jsonl"):
            lines = content.splitlines()
            at = rng.randrange(len(lines))
            lines[at] = _written(_edited(json.loads(lines[at]), rng), rng)
            return b"\n".join(lines) + b"\n"
        value = yaml.safe_load(content) if name.endswith(".yaml") else json.loads(content)
        changed = _edited(value, rng)
        if name.endswith(".yaml") and rng.random() < 0.7:
            return yaml.safe_dump(changed, sort_keys=False).encode("utf-8", "surrogatepass")
        return _written(changed, rng)
    except (ValueError, yaml.YAMLError, RecursionError, TypeError, OverflowError):
        return rng.choice(BYTES)(content, rng)


def _written(value: Any, rng: random.Random) -> bytes:
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.1 and (keys := re.findall(r'"\w+": ', text)):  # a name twice in one object
        key = rng.choice(keys)
        text = text.replace(key, f"{key}0, {key}", 1)
    return text.encode("utf-8", "surrogatepass")


def _edited(value: Any, rng: random.Random) -> Any:
    value = copy.deepcopy(value)
    places = [(holder, key) for holder in _holders(value) for key in _keys(holder)]
    if not places or rng.random() < 0.02:
        return copy.deepcopy(rng.choice(STRANGE))
    holder, key = rng.choice(places)
    match rng.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice((str(key) + "x", str(key).upper(), "", "\u200b" + str(key), "x" * 5000))] = holder.pop(
                key
            )
        case 1 | 2:
            other, name = rng.choice(places)
            if isinstance(other, dict) or name < len(other):
                holder[key] = copy.deepcopy(other.get(name) if isinstance(other, dict) else other[name])
        case 3 if isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        case 4 if isinstance(holder[key], str) and holder[key]:
            text, at = holder[key], rng.randrange(len(holder[key]))
            holder[key] = (
                text[:at] + rng.choice(("\n", "\u202e", "c", "w", "A", "0", "", "\x1b", "/", text)) + text[at + 1 :]
            )
        case _:
            holder[key] = copy.deepcopy(rng.choice(STRANGE))
    return value


def _holders(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for one in value.values() if isinstance(value, dict) else value:
            yield from _holders(one)


def _keys(holder: Any) -> Any:
    return list(holder) if isinstance(holder, dict) else range(len(holder))


# Readers


class Readers:
    """What reads strangers' files, each with the files it reads."""

    def __init__(self, folder: Path) -> None:
        self.release = splits.load(str(folder / "release"))
        self.place = folder / "submissions" / TRACK / "sft-seed0"
        self.good = validate(self.place, self.release)
        self.checkpoint, self.verified = folder / "checkpoint", folder / "verified"
        self.report = folder / "report.json"
        self.base = pinned.read_header(self.checkpoint)
        self.all: dict[str, tuple[Path, Callable[[], object]]] = {
            "submission": (self.place, self._submission),
            "checkpoint": (self.checkpoint, self._checkpoint),
            "verification": (self.verified, lambda: tiers.verification(self.good, self.verified)),
            "report": (self.report, lambda: pull.comment(pull.read_report(self.report))),
        }

    def _submission(self) -> Submission:
        """Taken, it shows what its files give, and nothing that cannot be printed."""
        one = validate(self.place, self.release)
        for split in Split:
            letters = [answer.outcome for answer in one.answers[split]]
            assert one.results.counts[split].correct == letters.count(letters[0].CORRECT)
        card = one.card
        assert all(text.isprintable() for text in (card.title, card.contact, card.command, *card.authors))
        one.card.model_dump_json()
        one.results.model_dump_json()
        return one

    def _checkpoint(self) -> None:
        pinned.fits(pinned.read_header(self.checkpoint), self.base, "full", "here")


def _files(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())


class TooSlow(BaseException):
    """Ten seconds are over."""


def _too_slow(*_: object) -> None:
    raise TooSlow


def _peak_mib() -> int:
    """Of this process alone; getrusage would count what the one took that it comes from."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return round(int(found[1]) / 1024) if found else 0


def fuzz(folder: Path, seed: int, seconds: float, only: int | None, back: Connection) -> None:
    """Damage, read, restore, until the time is over; within 512 MiB, and what was found goes back through a pipe."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, _too_slow)
    readers = Readers(folder).all
    whole = {path: path.read_bytes() for place, _ in readers.values() for path in _files(place)}
    told: dict[str, Counter[str]] = {name: Counter() for name in readers}
    messages: set[str] = set()
    failures: list[dict[str, Any]] = []
    began, n = time.monotonic(), only or 0
    while time.monotonic() - began < seconds and len(failures) < 20:
        rng = random.Random(f"{seed}/{n}")
        name = rng.choices(list(readers), weights=(5, 2, 1, 1))[0]
        place, read = readers[name]
        chosen = [rng.choice(_files(place)) for _ in range(rng.choice((1, 1, 1, 2)))]
        for path in chosen:
            path.write_bytes(damaged(path.read_bytes(), rng, path.name))
        signal.alarm(LONGEST_SECONDS)
        kind, said = "refusals", ""
        try:
            read()
            kind = "acceptances"
        except FthallError as error:
            said = str(error)
            if not said.isprintable() or len(said) > LONGEST_LINE:
                failures.append({"n": n, "reader": name, "kind": "not one short line", "said": said[:300]})
        except (Exception, TooSlow) as error:
            if only is not None:
                raise
            failures.append({"n": n, "reader": name, "kind": type(error).__name__, "said": str(error)[:300]})
        finally:
            signal.alarm(0)
        told[name][kind] += 1
        messages.add(re.sub(r"\(found .*|'.*'|\".*\"|\d+|x{9,}", "…", said.replace(str(folder), "")))
        for path in chosen:
            path.write_bytes(whole[path])
        if only is not None:
            back.send({"n": n, "reader": name, "said": said, "kind": kind})
            return
        n += 1
    back.send(
        {
            "minutes": round((time.monotonic() - began) / 60, 1),
            "executions": n,
            "a_second": round(n / (time.monotonic() - began)),
            **{kind: sum(counted[kind] for counted in told.values()) for kind in ("refusals", "acceptances")},
            "readers": {name: {k: counted[k] for k in ("refusals", "acceptances")} for name, counted in told.items()},
            "distinct_messages": len(messages),
            "peak_mib": _peak_mib(),
            "failures": failures,
        }
    )


def main() -> None:
    """Fuzz in a process of its own, and tell."""
    import study  # it needs the numbers, which the readers do without
    from fthall.bases import hardware

    parser = study.parser(__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="this one execution, to see what it does")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        here, there = get_context("spawn").Pipe(duplex=False)
        job = (Path(folder), given.seed, 60 * given.minutes, given.only, there)
        process = get_context("spawn").Process(target=fuzz, args=job)
        process.start()
        there.close()
        try:
            found = here.recv()
        except EOFError:
            process.join()
            raise SystemExit(f"the process that reads died ({process.exitcode})") from None
        process.join()
    study.tell({"hardware": hardware(), "seed": given.seed, "memory_limit_mib": MEMORY // 2**20, **found}, given.out)
    if found.get("failures"):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
