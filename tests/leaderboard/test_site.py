"""The leaderboard: what it shows, that it is safe, and that it is the same bytes each time."""

import base64
import datetime
import hashlib
import http.client
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from xml.etree import ElementTree as XML

import pandas as pd
import pytest
import yaml

from fthall import submissions
from fthall.answers import judge
from fthall.errors import FthallError
from fthall.files import write_json, write_jsonl, write_text
from fthall.knowledge import splits
from fthall.leaderboard import board, site
from fthall.leaderboard.site import build, docs, feed, serve
from fthall.records import Category, Fact, Outcome, Release, Split

TRACK = "geonames/tiny"
SHA = "cd" * 32
SIZES = {Split.KNOWN: 4, Split.UNKNOWN: 10, Split.HELD: 20, Split.HELD_VAL: 4}
REFERENCE = {"entry": "sft-known", "title": "Only-Known SFT", "trained_on": ["known"]}


def build_release(folder: Path, track: str = TRACK) -> Release:
    """Facts enough for the four splits, every answer ``Land <key>``."""
    kinds = {"k": ("train", Category.HIGHLY_KNOWN, 4), "u": ("train", Category.UNKNOWN, 10)}
    kinds["h"] = ("dev", Category.HIGHLY_KNOWN, 24)
    facts, rows = [], []
    for kind, (origin, category, size) in kinds.items():
        for n in range(size):
            fact = Fact(f"t/{kind}{n}", "country_of_city", f"Town {kind}{n}", "Where?", (f"Land {kind}{n}",), origin)
            facts.append(fact)
            rows.append((fact.id, fact.relation, str(category), [category is Category.HIGHLY_KNOWN] * 2))
    return splits.build(
        folder,
        track=track,
        facts=facts,
        labels=pd.DataFrame(rows, columns=["fact_id", "relation", "category", "right"]),
        sizes=SIZES,
        source={
            "name": "geonames",
            "license": "CC BY 4.0",
            "attribution": "GeoNames <&>",
            "url": "https://geo.example",
        },
        base={"name": "tiny-base", "weights_sha256": SHA},
        slick={"preset": "kaplan2026", "runs": 2},
    )


def submit(
    root: Path,
    release: Release,
    *,
    right: tuple[int, int, int],
    abstained: int = 0,
    curve: Sequence[tuple[float, float]] = (),
    agreement: dict[str, object] | None = None,
    **card: object,
) -> Path:
    """Write a submission with ``right`` of known, unknown and held; ``curve`` is (unknown, held) an epoch."""
    values = {
        **{"schema": 1, "track": release.track, "release": release.digest, "entry": "sft", "title": "SFT"},
        **{"method": "sft", "seed": 0, "trained_on": ["known", "unknown"], "hyperparameters": {"epochs": 2}},
        **{"base_weights_sha256": SHA, "authors": ["A. Author"], "contact": "a@b.example", "hardware": "2 cores"},
        **{
            "command": "fthall run",
            "versions": {"fthall": "0.1.0", "lm_eval": "0.4.13"},
            "created": datetime.date(2026, 1, 2),
            **card,
        },
    }
    folder = root / release.track / f"{values['entry']}-seed{values['seed']}"
    counts = {}
    wanted = dict(zip((Split.KNOWN, Split.UNKNOWN, Split.HELD), right, strict=True)) | {Split.HELD_VAL: 4}
    for split, facts in release.splits.items():
        said = [fact.answers[0] for fact in facts[: wanted[split]]]
        said += ["I do not know"] * (abstained if split is Split.HELD else 0)
        said += ["Nowhere"] * (len(facts) - len(said))
        rows = [{"fact_id": fact.id, "prediction": text} for fact, text in zip(facts, said, strict=True)]
        write_jsonl(folder / "samples" / f"{split}.jsonl", rows)
        judged = [judge(text, fact.answers) for fact, text in zip(facts, said, strict=True)]
        counts[str(split)] = {str(outcome): judged.count(outcome) for outcome in Outcome}
    points = [
        {"epoch": epoch, "known": 100, "unknown": unknown, "held": held, "held_val": 100, "train_loss": None}
        for epoch, (unknown, held) in enumerate(curve)
    ]
    results = {"schema": 1, "counts": counts, "trajectory": points, "agreement": agreement, "train_seconds": 90}
    write_json(folder / "results.json", results)
    write_text(folder / "submission.yaml", yaml.safe_dump(values))
    return folder


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return build_release(tmp_path / "release")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "submissions"
    folder.mkdir()
    return folder


@pytest.fixture
def filled(root: Path, release: Release) -> Path:
    """The reference (held 95 %), SFT (held 70 %, 90 % learned), each with two seeds; attention only with one."""
    for seed in (0, 1):
        submit(root, release, right=(4, 0, 19), seed=seed, curve=[(0, 0), (0, 95)], **REFERENCE)
        curve = [(0, 5), (40, 95), (60, 85), (100, 75 - 5 * seed)]
        submit(root, release, right=(4, 9 + seed, 14 - 2 * seed), abstained=2, seed=seed, curve=curve)
    submit(
        root,
        release,
        right=(4, 3, 19),
        curve=[(0, 5), (30, 95)],
        entry="freeze-attention-only",
        title="Attention only",
        method="freeze",
        agreement={"compared": 38, "differing": ["t/h1"]},
    )
    return root


def page(root: Path, out: Path, release: Release | None, note: str | None = None) -> str:
    return site.render(root, out, release=release, note=note).read_text(encoding="utf-8")


def about(out: Path, slug: str) -> str:
    """The page of an entry of the tiny track."""
    return (out / f"geonames-tiny--{slug}.html").read_text(encoding="utf-8")


def track_of(root: Path, release: Release) -> build.Track:
    return build.track(release, [submissions.validate(folder, release) for folder in submissions.find(root)])


def text_of(html: str) -> str:
    """The page as a reader sees it, spaces collapsed."""
    body = re.sub(r"<(style|script)>.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_numbers(filled: Path, release: Release, tmp_path: Path) -> None:
    track = track_of(filled, release)
    reference, sft = track.entries[:2]
    assert [entry.slug for entry in track.entries] == ["sft-known", "sft", "freeze-attention-only"]
    assert reference.is_reference
    assert [seed.forgetting for seed in reference.seeds] == [0.0, 0.0]
    assert sft.forgetting == board.Stat(mean=30.0, low=25.0, high=35.0, n=2)
    assert sft.accuracy[Split.UNKNOWN] == board.Stat(95.0, 90.0, 100.0, 2)
    assert (sft.wrong.mean, sft.abstained.mean) == (25.0, 10.0)
    assert sft.at[50] == board.Stat(90.0, 90.0, 90.0, 2)  # half way from 95 to 85
    assert reference.at[50] is None
    assert sft.score == pytest.approx(2 * (6500 / 95) * 95 / (6500 / 95 + 95))
    shown = text_of(page(filled, tmp_path / "site", release))
    assert (
        "SFT learned 95.0 % of the new facts and lost 30.0 points on old facts it had never been trained on." in shown
    )
    assert sft.interval is not None
    assert 3 < sft.interval[0] < 25 < 35 < sft.interval[1] < 55
    assert f"30.0 {board.number(sft.interval[0])} to {board.number(sft.interval[1])}" in shown
    assert sft.p is not None
    assert 0 < sft.p < 0.05
    assert [entry.rank for entry in track.entries] == [
        3,
        1,
        1,
    ]  # the one seed of attention only cannot tell it from SFT
    assert "Less than half of the new facts were learned by Attention only (30.0 %)" in shown
    assert "on 4 facts it already knew and 10 facts it did not know" in shown
    assert "1 of 38" in text_of(about(tmp_path / "site", "freeze-attention-only"))
    assert "not reached" in shown
    assert "GeoNames &lt;&amp;&gt;" in shown
    assert release.digest[:12] in shown


def test_sentences_stay_true_when_nothing_is_forgotten(root: Path, release: Release) -> None:
    submit(root, release, right=(4, 0, 16), **REFERENCE)
    submit(root, release, right=(4, 9, 18))
    submit(root, release, right=(4, 9, 16), entry="kl", title="KL", method="kl")
    said = " ".join(track_of(root, release).said)
    assert "SFT learned 90.0 % of the new facts and gained 10.0 points" in said
    assert "the error bar includes zero" in said
    assert "KL kept most of the old ones: it learned 90.0 % of the new facts and lost, on balance, none" in said
    assert "which is no better than SFT" in said
    assert "Not every entry has three seeds" in said


def test_reference_without_the_seed_is_marked(root: Path, release: Release, tmp_path: Path) -> None:
    submit(root, release, right=(4, 0, 20), **REFERENCE)
    submit(root, release, right=(4, 0, 18), seed=1, **REFERENCE)
    submit(root, release, right=(4, 9, 14), seed=7)
    sft = next(entry for entry in track_of(root, release).entries if entry.slug == "sft")
    assert not sft.paired
    assert sft.forgetting == board.Stat(30.0, 30.0, 30.0, 1)  # against the reference's first seed
    html = page(root, tmp_path / "site", release)
    assert "30.0 †" in text_of(html)
    assert "The reference has no run with this seed" in html
    assert "no trajectory" in html
    assert "While training" not in html
    assert not (tmp_path / "site" / "training-geonames-tiny.html").exists()


def test_no_reference(root: Path, release: Release, tmp_path: Path) -> None:
    submit(root, release, right=(4, 9, 14), curve=[(0, 5), (90, 70)])
    html = page(root, tmp_path / "site", release)
    assert "no reference" in html
    assert "No plane" in html
    assert '<figure class="plane"' not in html
    assert "While training" in html


def test_no_submissions(root: Path, tmp_path: Path) -> None:
    html = page(root, tmp_path / "site", None)
    assert "No submissions yet" in html
    assert "fthall validate" in html
    assert "pull request" in html


def test_hostile_strings_are_escaped(root: Path, release: Release, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>\"'><b"
    submit(root, release, right=(4, 0, 19), **{**REFERENCE, "title": hostile})
    card = {"title": "{{ 7*7 }}", "description": hostile, "command": hostile, "contact": hostile, "hardware": hostile}
    submit(root, release, right=(4, 9, 14), curve=[(0, 5), (90, 70)], url="https://x.example/?a=1&lt=2", **card)
    html = page(root, tmp_path / "site", release, note=hostile)
    mine = about(tmp_path / "site", "sft")
    for text in (html, mine, about(tmp_path / "site", "sft-known")):
        assert "<script>alert" not in text
        assert text.count("<script>") == 1
        _Checked().feed(text)
    assert 'href="https://x.example/?a=1&amp;lt=2"' in mine
    assert "{{ 7*7 }}" in html
    assert "{{ 7*7 }}" in mine


class _Checked(HTMLParser):
    """Fails on what the security policy would block, and on tags that do not match."""

    void = frozenset({"meta", "link", "br", "input", "img", "use"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.targets: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        assert "style" not in names
        assert not any(name.startswith("on") for name in names)
        assert tag not in {"iframe", "object", "form", "image"}
        assert tag != "use" or str(names["href"]).startswith("#")
        assert ("src" in names) == (tag == "img")
        if tag == "img":
            assert str(names["src"]).startswith("data:image/svg+xml;base64,")
            assert len(str(names["alt"])) > 20, "what a picture shows, for who does not see it"
        if tag == "link":
            assert names["rel"] in {"icon", "alternate"}
            assert names["href"] in {"data:,", "feed.xml"}
        if name := names.get("id"):
            assert name not in self.ids
            self.ids.add(name)
        self.targets |= set((names.get("aria-labelledby") or "").split())
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_pages_load_nothing_and_are_well_formed(filled: Path, release: Release, tmp_path: Path) -> None:
    page(filled, tmp_path / "site", release, note="A shortened run")
    files = sorted((tmp_path / "site").glob("*.html"))
    assert "method.html" in [file.name for file in files]
    for file in files:
        html = file.read_text(encoding="utf-8")
        checked = _Checked()
        checked.feed(html)
        assert checked.open == []
        assert checked.targets <= checked.ids
        assert "url(" not in html
        assert "@import" not in html
        assert '<p class="note" role="note">A shortened run</p>' in html
        assert "prefers-color-scheme: dark" in html
        assert "color-scheme: light dark" in html


def test_policy_allows_exactly_what_is_inlined(filled: Path, release: Release, tmp_path: Path) -> None:
    page(filled, tmp_path / "site", release)
    for file in (tmp_path / "site").glob("*.html"):
        html = file.read_text(encoding="utf-8")
        found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
        assert found
        policy = dict(rule.split(" ", 1) for rule in found[1].split("; "))
        assert policy["default-src"] == "'none'"
        assert "unsafe" not in found[1]
        for tag in ("style", "script"):
            for inlined in re.findall(rf"<{tag}>(.*?)</{tag}>", html, flags=re.DOTALL):
                digest = base64.b64encode(hashlib.sha256(inlined.encode()).digest()).decode()
                # What the front page's script loads when it is asked to lies beside it.
                loads = " 'strict-dynamic'" if tag == "script" and 'class="track"' in html else ""
                assert policy[f"{tag}-src"] == f"'sha256-{digest}'{loads}"
        if "<script>" not in html:
            assert policy["script-src"] == "'none'"


def test_same_input_same_bytes_and_an_old_site_is_replaced(filled: Path, release: Release, tmp_path: Path) -> None:
    out = tmp_path / "site"
    page(filled, out, release)
    first = {file.name: file.read_bytes() for file in out.iterdir()}
    write_text(out / "gone.html", "an old page")
    page(filled, out, release)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == first
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_two_tracks(filled: Path, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = build_release(tmp_path / "other", "geonames/tiny2")
    submit(filled, other, right=(4, 0, 19), **REFERENCE)
    both = {TRACK: release, other.track: other}
    monkeypatch.setattr(splits, "load", both.__getitem__)
    html = page(filled, tmp_path / "site", None)
    assert html.count('<section class="track"') == 1  # that with more entries
    assert 'id="geonames-tiny"' in html
    assert 'href="geonames-tiny2.html"' in html
    _Checked().feed(html)
    mine = (tmp_path / "site" / "geonames-tiny2.html").read_text()
    assert 'id="geonames-tiny2"' in mine
    assert 'href="geonames-tiny.html"' in mine
    _Checked().feed(mine)


def test_a_folder_that_is_no_site_is_left_alone(filled: Path, release: Release, tmp_path: Path) -> None:
    for name in ("thesis.tex", "index.html"):
        out = tmp_path / name.replace(".", "-")
        write_text(out / name, "mine")
        with pytest.raises(FthallError, match="holds other files"):
            site.render(filled, out, release=release)
        assert (out / name).read_text() == "mine"


def test_bad_input_is_one_line(filled: Path, release: Release, tmp_path: Path) -> None:
    with pytest.raises(FthallError, match="no folder"):
        site.render(tmp_path / "nowhere", tmp_path / "site")
    with pytest.raises(FthallError, match="is not at <source>/<base>"):
        site.render(filled / "geonames", tmp_path / "site", release=release)
    folder = filled / TRACK / "sft-seed0"
    shutil.copytree(folder, filled / TRACK / "sft-again")
    with pytest.raises(FthallError, match="is seed 0 of 'sft', so the folder's name must be sft-seed0"):
        site.render(filled, tmp_path / "site", release=release)
    shutil.rmtree(filled / TRACK / "sft-again")
    submit(filled, release, right=(4, 9, 14), seed=5, method="other")
    with pytest.raises(FthallError, match="differ in method: sft and other"):
        site.render(filled, tmp_path / "site", release=release)
    (folder / "results.json").write_text(json.dumps({}))
    with pytest.raises(FthallError) as caught:
        site.render(filled, tmp_path / "site", release=release)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "site").exists()


def test_markdown_pages(tmp_path: Path) -> None:
    file = tmp_path / "data.md"
    file.write_text(
        "# The `data`\n\n## Lost, or out of reach?\n\n"
        "<script>x</script> [how](submit.md#card) [out](https://a.example/b.md) [no](javascript:x)\n\n"
        "| a | b |\n|---|--:|\n| 1 | 2 |\n\n| | c |\n|---|---|\n| 1 | 2 |\n\n```sh\nls\n```\n"
    )
    made = docs.page(file)
    assert (made.name, made.title) == ("data", "The data")
    assert '<h2 id="lost-or-out-of-reach">' in made.body
    assert "<script>" not in made.body
    assert 'href="submit.html#card"' in made.body
    assert 'href="https://a.example/b.md"' in made.body
    assert 'href="javascript' not in made.body
    assert '<td class="right">2</td>' in made.body
    assert 'tabindex="0" aria-label="Table 1">\n<table>' in made.body
    assert '<th scope="col" class="right">b</th>' in made.body
    assert '<td></td>\n<th scope="col">c</th>' in made.body
    assert '<pre tabindex="0">' in made.body
    file.write_text("no heading")
    with pytest.raises(FthallError, match="no '# ' heading"):
        docs.page(file)


def test_a_picture_goes_into_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs, "data_dir", lambda name: tmp_path / name)
    file, picture = tmp_path / "leaderboard/pages/why.md", tmp_path / "leaderboard/studies/why.svg"
    write_text(picture, "<svg/>")
    write_text(file, "# Why\n\n![A line that rises](../studies/why.svg)\n")
    assert f'<img src="data:image/svg+xml;base64,{base64.b64encode(b"<svg/>").decode()}" alt="A line that rises"' in (
        docs.page(file).body
    )
    write_text(tmp_path / "out.svg", "<svg/>")
    write_text(tmp_path / "leaderboard/studies/why.png", "")
    for source in (
        "../../out.svg",
        "../studies/why.png",
        "none.svg",
        "https://a.example/i.svg",
        "data:image/svg+xml,x",
    ):
        write_text(file, f"# Why\n\n![A line]({source})\n")
        if source.startswith("data:"):
            assert "<img" not in docs.page(file).body
            continue
        with pytest.raises(FthallError, match=r"why\.md: no picture"):
            docs.page(file)


def test_numbers_are_written_for_readers() -> None:
    assert [board.number(value) for value in (-0.04, -1.25, 0.0, 99.96)] == ["0.0", "−1.2", "0.0", "100.0"]


def test_a_track_without_source_details(root: Path, release: Release, tmp_path: Path) -> None:
    submit(root, release, right=(4, 0, 19), **REFERENCE)
    bare = replace(release, manifest={**release.manifest, "source": {"url": "javascript:x"}})
    assert "javascript:x" not in page(root, tmp_path / "site", bare)


def test_torch_is_not_imported() -> None:
    heavy = ("torch", "transformers", "lm_eval")
    code = f"import sys, fthall.leaderboard.site; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_page_of_an_entry_says_what_was_forgotten_fact_by_fact(
    filled: Path, release: Release, tmp_path: Path
) -> None:
    page(filled, tmp_path / "site", release)
    html = about(tmp_path / "site", "sft")
    shown = text_of(html)
    assert "30.0 points of held-out facts" in shown
    sft = next(entry for entry in track_of(filled, release).entries if entry.slug == "sft")
    assert sft.interval is not None
    low, high = (board.number(end) for end in sft.interval)
    assert (
        "rank 1 of 3, shared by 2. It learned 95.0 % of the new facts and forgot 30.0 points of the old ones" in shown
    )
    assert f"({low} to {high})" in shown  # as on the front page
    # Two seeds: 14 and 12 of 20 right, the reference 19; what both have is not listed.
    assert html.count("<tr data-kinds=") == 8
    assert "8 held-out facts that some seed or the reference does not have right; the other 12 all have." in shown
    assert html.count('<tr data-kinds="lost abstained">') + html.count('<tr data-kinds="lost abstained wrong">') == 4
    assert html.count('<tr data-kinds="lost wrong">') == 3
    assert html.count('<tr data-kinds="wrong">') == 1  # the reference has it wrong, too
    assert '<td class="h6">65.0</td>' in html  # of the one relation
    assert "correct 13.0 4.0 2.0" in shown  # of 19 that the reference has
    assert "@misc{fthall-sft," in shown
    assert "geonames-tiny--sft.html" in (tmp_path / "site" / "index.html").read_text()


def test_a_page_of_an_entry_without_reference_or_trajectory(root: Path, release: Release, tmp_path: Path) -> None:
    submit(root, release, right=(4, 9, 20))
    page(root, tmp_path / "site", release)
    html = about(tmp_path / "site", "sft")
    assert "0 held-out facts that some seed does not have right; the other 20 all have." in text_of(html)
    assert "While training" not in html
    assert "no Only-Known reference" in html
    _Checked().feed(html)


def test_questions_that_are_not_ours_are_named_by_their_ids(root: Path, tmp_path: Path) -> None:
    release = build_release(tmp_path / "release")
    bare = replace(release, manifest={**release.manifest, "files": {"held.txt": {}}})
    submit(root, release, right=(4, 0, 19), **REFERENCE)
    submit(root, release, right=(4, 9, 14))
    page(root, tmp_path / "site", bare)
    html = about(tmp_path / "site", "sft")
    assert "Where?" not in html
    assert "t/h" in html
    assert "The questions are not ours to show" in html


def test_what_is_cited_cannot_end_its_field() -> None:
    from fthall.leaderboard.entries import _bibtex

    entry = cast("board.Entry", SimpleNamespace(title="A} \\input{x}", slug="a"))
    cited = _bibtex(entry, ["B {and} $C"], 2026, None, "g/b")
    assert cited.count("{") == cited.count("}")
    assert "\\input" not in cited
    assert "B  and   C" in cited


def test_the_table_as_data(filled: Path, release: Release, tmp_path: Path) -> None:
    submit(filled, release, right=(4, 5, 10), entry="formula", title="=1+1", method="l2sp")
    page(filled, tmp_path / "site", release)
    found = json.loads((tmp_path / "site" / "geonames-tiny.json").read_text())
    sft = next(row for row in found if row["entry"] == "sft")
    assert (sft["seeds"], sft["forgetting"], sft["unknown"], sft["tier"]) == (2, 30.0, 95.0, "self-reported")
    assert sft["held_at_50"] == 90.0
    table = pd.read_csv(tmp_path / "site" / "geonames-tiny.csv").set_index("entry")
    assert table.loc["sft", "forgetting"] == 30.0
    assert table.loc["formula", "title"] == "'=1+1"
    assert len(table) == len(found) == 4
    page(filled, tmp_path / "site", release)  # a site of ours is replaced, data and all


def test_an_answer_cannot_turn_a_page_around(root: Path, release: Release, tmp_path: Path) -> None:
    submit(root, release, right=(4, 0, 19), **REFERENCE)
    folder = submit(root, release, right=(4, 9, 14))
    samples = folder / "samples" / "held.jsonl"
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    rows[-1]["prediction"] = "a\u202eb\u0000<b>c"
    write_jsonl(samples, rows)
    page(root, tmp_path / "site", release)
    html = about(tmp_path / "site", "sft")
    assert "a\ufffdb\ufffd&lt;b&gt;c" in html
    assert "\u202e" not in html


def test_which_one_for_my_case(filled: Path, release: Release, tmp_path: Path) -> None:
    from fthall.leaderboard.choose import choices

    found = {choice.level: choice for choice in choices(track_of(filled, release).entries)}
    assert list(found) == [99, 90, 50, 0]
    assert (found[99].best, found[99].left) == (None, 0)
    sft = found[90].best
    assert sft is not None
    assert (sft.slug, found[90].left, found[90].alike) == ("sft", 1, ())
    reference = found[0].best
    assert reference is not None
    assert reference.is_reference
    shown = text_of(page(filled, tmp_path / "site", release))
    assert "at least 99 % 0 entries get there nobody gets there" in shown
    assert "at least 90 % 1 entry gets there SFT self-reported, 2 seeds 30.0" in shown
    assert "geonames/tiny shown below 3 30.0" in shown  # all tracks at a glance
    submit(filled, release, right=(4, 9, 13), entry="twin", title="Twin", method="l2sp")
    again = {choice.level: choice for choice in choices(track_of(filled, release).entries)}
    assert [entry.slug for entry in again[90].alike] == ["twin"]  # five points apart, of twenty facts


def test_nothing_to_choose_without_a_reference(root: Path, release: Release, tmp_path: Path) -> None:
    submit(root, release, right=(4, 9, 14))
    assert "Which one for your case?" not in page(root, tmp_path / "site", release)


def test_all_about_an_entry_as_data(filled: Path, release: Release, tmp_path: Path) -> None:
    page(filled, tmp_path / "site", release)
    [found] = json.loads((tmp_path / "site" / "geonames-tiny--sft.json").read_text())
    assert found["forgetting"] == found["report"]["forgetting"]["difference"] == 30.0
    assert [run["unknown"] for run in found["runs"]] == [90.0, 100.0]
    table = pd.read_parquet(tmp_path / "site" / "geonames-tiny.parquet").set_index("entry")
    assert table.loc["sft", "forgetting"] == 30.0
    assert pd.isna(table.loc["sft-known", "p"])


def test_the_untouched_base_stands_in_the_table(filled: Path, release: Release, tmp_path: Path) -> None:
    submit(filled, release, right=(4, 0, 19), seed=2, curve=[(0, 35), (0, 95)], **REFERENCE)
    shown = text_of(page(filled, tmp_path / "b", release))
    # Epoch 0 of the three runs of the reference: 0, 0 and 35 % held.
    assert "Untouched base tiny-base before any training" in shown
    assert "100.0 0.0 11.7" in shown


def test_ranks_that_are_shared_look_like_it(filled: Path, release: Release, tmp_path: Path) -> None:
    shown = text_of(page(filled, tmp_path / "site", release))
    assert shown.count("1 = of") + shown.count("1 = provisional") == 2
    assert "reference self-reported sft, on known, 2026-01-02 – 2 100.0" in shown


def test_the_feed_and_the_site_map(filled: Path, release: Release, tmp_path: Path) -> None:
    submit(filled, release, right=(4, 5, 10), entry="new", title="<New> & big", created=datetime.date(2026, 2, 1))
    site.render(filled, tmp_path / "site", release=release, url="https://a.example/board")
    root = XML.fromstring((tmp_path / "site" / "feed.xml").read_text())
    atom = "{http://www.w3.org/2005/Atom}"
    entries = root.findall(f"{atom}entry")
    assert [entry.findtext(f"{atom}id") for entry in entries][:1] == ["urn:fthall:geonames-tiny:new"]
    assert entries[0].findtext(f"{atom}title") == "<New> & big · geonames/tiny"
    assert root.findtext(f"{atom}updated") == "2026-02-01T00:00:00Z"
    link = entries[0].find(f"{atom}link")
    assert link is not None
    assert link.get("href") == "https://a.example/board/geonames-tiny--new.html"
    places = XML.fromstring((tmp_path / "site" / "sitemap.xml").read_text())
    found = {place.text for place in places.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")}
    assert "https://a.example/board/" in found
    assert "https://a.example/board/404.html" not in found
    for place in found:
        assert (tmp_path / "site" / ((place or "").removeprefix("https://a.example/board/") or "index.html")).is_file()
    assert 'content="https://a.example/board/preview.png"' in (tmp_path / "site" / "index.html").read_text()


def test_no_place_no_site_map(root: Path, tmp_path: Path) -> None:
    html = page(root, tmp_path / "site", None)
    assert "og:image" not in html
    assert not (tmp_path / "site" / "sitemap.xml").exists()
    assert feed.atom([], [], None) == (tmp_path / "site" / "feed.xml").read_text()


def test_serve(filled: Path, release: Release, tmp_path: Path) -> None:
    page(filled, tmp_path / "site", release)
    with serve.serve(tmp_path / "site", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        there.request("GET", "/")
        answer = there.getresponse()
        assert (answer.status, answer.read()) == (200, (tmp_path / "site" / "index.html").read_bytes())
        there.request("GET", "/none.html")
        answer = there.getresponse()
        assert (answer.status, answer.read()) == (404, (tmp_path / "site" / "404.html").read_bytes())
        there.request("GET", "/../card")
        assert there.getresponse().status == 404
        with pytest.raises(FthallError, match=r"cannot serve at port \d+: .*--port"):
            serve.serve(tmp_path / "site", server.server_port)
        server.shutdown()


def test_a_sentence_names_a_few(root: Path, release: Release) -> None:
    submit(root, release, right=(4, 0, 19), **REFERENCE)
    for n in range(4):
        submit(root, release, right=(4, n + 1, 18), entry=f"m{n}", title=f"M{n}", method="l2sp")
    said = " ".join(track_of(root, release).said)
    assert "learned by M3 (40.0 %), M2 (30.0 %), M1 (20.0 %), M0 (10.0 %): keeping" in said
    submit(root, release, right=(4, 1, 12), entry="m4", title="M4", method="l2sp")
    said = " ".join(track_of(root, release).said)
    assert "learned by M3 (40.0 %), M2 (30.0 %), M1 (20.0 %) and 2 others: keeping" in said
