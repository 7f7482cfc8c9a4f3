"""What the README and the pages say, against what is there."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from fthall import cli
from fthall.commands.finetune.runs import check_settings
from fthall.facts import synthetic
from fthall.files import read_json
from fthall.finetune.recipe import load_recipe
from fthall.finetune.tuning import load_sweep
from fthall.knowledge import splits
from fthall.records import Category
from fthall.schema import read_yaml
from fthall.why import available, forecast, pictures, results, trace

ROOT = Path(__file__).parent.parent
SCORED = ("fine-tuned, no exemplars", "base, behind exemplars")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_file_of_the_readmes_tree_is_there():
    tree = re.search(r"## What is where\n.*?```\n(.*?)```", README, re.DOTALL)
    assert tree
    folder, named = ROOT, set()
    for line in tree[1].splitlines():
        inside = line.startswith(" ")
        for name in re.split(r"\s{2,}", line.strip())[0].split(", "):
            path = (folder if inside else ROOT) / name
            assert path.exists(), f"the README lists {name}"
            named.add(path)
            if not inside and name.endswith("/"):
                folder = path
    unnamed = {path for path in (ROOT / "benchmark/fthall").iterdir() if not path.name.startswith("_")} - named
    assert not unnamed, f"the README does not list {sorted(path.name for path in unnamed)}"


def test_the_rooms_say_what_they_are_and_hold_no_more_than_a_reader_can_keep_in_mind():
    package = ROOT / "benchmark/fthall"
    for file in package.rglob("*.py"):
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 450, f"{file} is two things: part them"
    rooms = [folder for folder in package.rglob("*") if folder.is_dir() and list(folder.glob("*.py"))]
    assert {package / name for name in ("facts", "knowledge", "measure")} <= set(rooms)
    for room in rooms:
        assert len(list(room.glob("*.py"))) <= 9, f"{room} is two rooms"


def test_the_readmes_commands_exist():
    for command in set(re.findall(r"\bfthall ([a-z]+)\b(?=[ `\n])", README)) - {"measures", "turns", "has"}:
        with pytest.raises(SystemExit) as left:
            cli.main([command, "--help"])
        assert left.value.code == 0, command


@pytest.mark.parametrize("page", sorted((ROOT / "leaderboard/pages").glob("*.md")), ids=lambda page: page.stem)
def test_the_commands_of_the_pages_parse(page: Path):
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    for command in (shlex.split(line, comments=True) for line in lines if line.startswith("fthall ")):
        cli._parser().parse_args(command[1:])  # exits where it does not understand
        for recipe in (part for part in command if part.endswith(".yaml") and part.startswith("benchmark/")):
            assert (ROOT / recipe).exists()


def test_the_readmes_results_are_those_of_the_committed_submissions(capsys):
    assert cli.main(["table", "--submissions", str(ROOT / "submissions")]) == 0
    tables = capsys.readouterr().out.split("\n**")
    embedded = [table for table in tables if table.splitlines()[0].strip("*").endswith("/smollm2-135m")]
    rows = [line for table in embedded for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) > 2
    for row in rows:
        assert row.rstrip("|").strip() in README, "run `fthall table` and copy its rows"


RECIPES = ROOT / "benchmark/recipes"
REFERENCE_RECIPES = {"geonames": "geonames-smollm2-135m", "entityquestions": "entityquestions"}
SEEN = (("sft", 1), ("sft-known", 1), ("sft", -1))
"""Entries, and the point of their trajectories that the page of the paper speaks of."""


def test_the_paper_page_has_the_figures_of_the_committed_submissions(capsys):
    page = " ".join((ROOT / "leaderboard/pages/paper.md").read_text(encoding="utf-8").split())
    assert cli.main(["table", "--submissions", str(ROOT / "submissions")]) == 0
    printed = capsys.readouterr().out
    told = {
        "attention only": "Attention only",
        "FFN only": "FFN only",
        "all": "SFT",
        "all, known facts only": "Only-Known SFT",
    }
    claims = {
        "geonames": (
            ("SFT", "SFT forgets {}, five seeds"),
            ("Self-distillation", "to {}, at"),
            ("Self-distillation, teacher of epoch 1", "changes nothing: {}"),
            ("Attention only", "forgets {}"),
            ("FFN only", "forgets {}"),
            ("SFT from the format", "without distillation forgets {} on GeoNames"),
        ),
        "entityquestions": (
            ("SFT", "| {} | yes, less"),
            ("Self-distillation", "to {}, at"),
            ("Self-distillation, teacher of epoch 1", "| {}, not told apart"),
            ("Attention only", "and {}; at a fifth"),
            ("FFN only", "| {}: not told apart"),
        ),
    }
    for column, (source, said) in enumerate(claims.items()):
        table = printed.split(f"**{source}/smollm2-135m**")
        if len(table) == 1:  # its facts are not here
            continue
        lines = [line for line in table[1].split("**")[0].splitlines() if line]
        rows = {cells[0]: cells for cells in ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)}
        for name, title in told.items():
            _, _, known, learned, kept, *_ = rows[title]
            (row,) = re.findall(rf"\| {name} \|{'([^|]+)[|]' * 9}", page)
            assert [row[at + column].strip() for at in (1, 4, 7)] == [known, learned, kept], title
        for title, before in said:
            points, interval = rows[title][5].split(" ", 1)
            assert before.format(f"{points} points {interval}") in page, title
    track = ROOT / "submissions/geonames/smollm2-135m"
    held = {
        entry: [
            [p["held"] for p in read_json(path)["trajectory"]] for path in track.glob(f"{entry}-seed?/results.json")
        ]
        for entry in ("sft", "sft-known")
    }
    ends = [[round(extreme(row[at] for row in held[entry])) for extreme in (min, max)] for entry, at in SEEN]
    assert "{} to {} % after an epoch of SFT, where Only-Known is at {} to {}".format(*ends[0], *ends[1]) in page
    assert "and {} to {} at the end (five seeds)".format(*ends[2]) in page


def test_the_data_card_counts_are_those_of_the_release():
    card = (ROOT / "leaderboard/pages/data-geonames.md").read_text(encoding="utf-8")
    manifest = splits.load("geonames/smollm2-135m").manifest
    for relation, row in manifest["relations"].items():
        cells = [
            f"`{relation}`",
            *(str(row[key]) for key in ("asked", Category.HIGHLY_KNOWN, Category.MAYBE_KNOWN, Category.UNKNOWN)),
            f"{100 * row['highly_known_share']:.1f} %",
            "yes" if row["kept"] else "no",
        ]
        assert f"| {' | '.join(cells)} |" in card
    for split in splits.Split:
        assert f"| `{split}` | {manifest['files'][f'{split}.jsonl']['facts']} |" in card


def test_the_data_card_of_entityquestions_has_the_counts_of_the_release():
    card = " ".join((ROOT / "leaderboard/pages/data-entityquestions.md").read_text(encoding="utf-8").split())
    manifest = splits.manifest("entityquestions/smollm2-135m")
    counted = read_json(ROOT / "leaderboard/studies/adaptive.json")
    for relation, row in manifest["relations"].items():
        cells = [
            row[key] for key in ("asked", Category.HIGHLY_KNOWN, Category.MAYBE_KNOWN, Category.UNKNOWN, "given_away")
        ]
        share = f"{100 * row['highly_known_share']:.1f} % | {'yes' if row['kept'] else 'no'}"
        assert f"| `{relation}` | {' | '.join(map(str, cells))} | {share} |" in card
        assert (counted[relation]["facts"], counted[relation]["given_away"]) == (row["asked"], row["given_away"])
    for split, count in splits.sizes(manifest).items():
        drawn = manifest["files"][f"{split}.txt"]["relations"]
        assert f"| `{split}` | {count} | {drawn['P17']} | {drawn['P407']} |" in card
    known, given = (sum(row[key] for row in manifest["relations"].values()) for key in ("HighlyKnown", "given_away"))
    assert f"Of its {known:,} HighlyKnown facts {given} are given away" in card


def test_the_numbers_of_the_method_page_are_those_of_the_committed_results():
    page = " ".join((ROOT / "leaderboard/pages/method.md").read_text(encoding="utf-8").split())
    studies, controls = (ROOT / "leaderboard" / name for name in ("studies", "controls/geonames/smollm2-135m"))
    first = controls.with_name("smollm2-135m@612a4852f763")
    rows = [
        f"| {name} | {row['coverage']:.1f} |"
        for name, row in read_json(studies / "interval-coverage.json")["scenes"].items()
    ]
    errors = read_json(studies / "type_one.json")["percent_of_tables_in_error"]
    rows += [f"| {name} | {row['ranks']:.1f} | {row['tests']:.1f} |" for name, row in errors.items()]
    told = [read_json(studies / "scorer.json")[name]["kinds"] for name in SCORED]
    kinds = set(told[0]) | set(told[1])
    rows += [f"| {kind} | {told[0].get(kind, 0):,} | {told[1].get(kind, 0):,} |" for kind in kinds]
    for run, title in (("sft", "SFT"), ("self-distill", "Self-distillation")):
        now = read_json(first / f"null-{run}-seed0.json")["forgotten_facts_are_now"]
        rows.append(f"| {title} | {sum(now.values())} | {' | '.join(map(str, now.values()))} |")
    null = read_json(controls / "null.json")
    rows.append(f"{null['missed']:.1f} % of answers missed ({null['low']:.1f} to {null['high']:.1f})")
    rows.append(
        f"{null['facts'] - null['categories']['HighlyKnown']} of {null['facts']} facts no longer right every time"
    )
    batching = read_json(controls / "batching.json")
    rows.append(f"float32 | no answer changed | 0 of {batching['compared']:,} each")
    assert not any(batching["differing"].values())
    assert {one["release"] for one in (null, batching)} == {splits.load("geonames/smollm2-135m").digest}
    assert [row for row in rows if row not in page] == []
    assert read_json(controls / "noop.json")["passed"]
    assert read_json(controls / "reference.json")["passed"]
    assert all(93 <= row["coverage"] <= 97 for row in read_json(studies / "interval-coverage.json")["scenes"].values())
    assert all(row["ranks"] <= 5 for name, row in errors.items() if ", 1 seeds" not in name)


def test_the_numbers_of_the_slick_page_are_those_of_the_committed_results():
    page = " ".join((ROOT / "leaderboard/pages/slick.md").read_text(encoding="utf-8").split())
    studies = ROOT / "leaderboard/studies"
    speed = read_json(studies / "engine-speed.json")
    rows = [f"| {rate:.1f} |" for rate in speed["questions_a_second"].values()]
    asked = list(read_json(studies / "adaptive.json").values())
    full, put = (sum(row[name] for row in asked) for name in ("questions", "asked"))
    bound = full / sum(row["questions"] / row["bound"] for row in asked)
    for row in [*asked, {"questions": full, "asked": put, "fewer": full / put, "bound": bound}]:
        rows.append(f"| {row['questions']:,} | {row['asked']:,} | {row['fewer']:.2f} × | {row['bound']:.2f} × |")
    for at in read_json(studies / "stability-geonames.json")["at"]:
        rows.append(f"| {at['runs']} | {at['shares']['Unknown']:.1f} | {at['shares']['HighlyKnown']:.1f} |")
    found = read_json(studies / "chances.json")
    rows.append(f"add up to {found['expected_from_chances']} ± {found['its_standard_deviation']}")
    peaks = read_json(studies / "label-memory.json")["peak_gib"]
    asked, gib = [f"{int(n):,}" for n in peaks], [f"{peak:.2f}" for peak in peaks.values()]
    rows.append(f"{asked[0]}, {asked[1]} and {asked[2]} questions peaked at {gib[0]}, {gib[1]} and {gib[2]} GiB")
    assert max(peaks.values()) < 1.05 * min(peaks.values())
    reading = read_json(studies / "read-speed.json")["readings"]
    for one, ten in zip(reading[::2], reading[1::2], strict=True):
        rows.append(f"| {one['seconds']} | {one['peak_gib']:.2f} | {ten['seconds']} | {ten['peak_gib']:.2f} |")
        assert (one["rows"], ten["rows"]) == (100_000, 1_000_000)
        assert ten["seconds"] <= 60
        assert ten["peak_gib"] <= one["peak_gib"] + 0.1
    first = read_json(studies / "first-look.json")
    shares = [f"{100 * first[way]['few_shot']:.0f} %" for way in ("with", "without")]
    rows.append(f"{shares[0]} with its `<bos>` and {shares[1]} without")
    again = read_json(studies / "relabel-geonames.json")
    reproduce = " ".join((ROOT / "leaderboard/pages/reproduce.md").read_text(encoding="utf-8").split())
    assert f"{again['same']:,} of the {again['facts']:,} labels of geonames come out the same" in reproduce
    assert not {"HighlyKnown to Unknown", "Unknown to HighlyKnown"} & again["moved"].keys()
    gpu = read_json(studies / "engine-speed-h200.json")
    rows.append(f"gives {gpu['questions_a_second']['verified']:,.0f} verdicts a second")
    rows.append(f"{gpu['verified_against_generate']:.1f} times as many as padded `generate`, but only")
    rows.append(f"only {gpu['verified_against_generate_stopped']:.1f} times as many")
    rows.append(f"and {100 * gpu['verified_share_of_floor']:.0f} % of what the layers could do")
    assert [row for row in rows if row not in page] == []
    assert speed["verified_against_generate"] >= 7
    assert speed["verified_against_vllm"] >= 4
    assert speed["verified_share_of_floor"] >= 0.6
    for name, compared in (("", 768), ("-gemma", 500), ("-qwen", 500)):
        alike = read_json(studies / f"engine-speed-float32{name}.json")
        assert not any(alike["verdicts_unlike_generate"].values())
        assert alike["verdicts_compared"] == compared
    ways = ("verified_against_generate", "verified_against_generate_stopped")
    large = [read_json(studies / f"engine-speed{name}.json") for name in ("-float32-qwen", "-qwen")]
    assert all(found["verified_against_generate"] >= 5 for found in large)
    times = [f"{found[way]:.1f}" for found in large for way in ways]
    assert "it is {} times as fast as padded `generate` there, and {} times".format(*times[:2]) in page
    assert "64 questions) {} and {} times".format(*times[2:]) in page


def test_the_page_of_three_bases_has_the_figures_of_the_committed_submissions(monkeypatch: pytest.MonkeyPatch):
    if any(splits.absent(track) for track in splits.tracks()):
        pytest.skip("EntityQuestions is not here")
    monkeypatch.syspath_prepend(ROOT / "benchmark/studies")
    study = importlib.import_module("bases")
    tables = study.tables()
    page = (ROOT / "leaderboard/pages/bases.md").read_text(encoding="utf-8")
    assert [len(rows) for rows in tables.values()] == [16, 19, 5, 9]
    assert [row for row in tables.pop("short") if row not in README] == []
    assert [row for rows in tables.values() for row in rows if row not in page] == []
    track = ROOT / "submissions/entityquestions/qwen2.5-coder-1.5b"
    courses = [
        {point["epoch"]: point for point in read_json(path)["trajectory"]}
        for path in track.glob("sft-seed?/results.json")
    ]
    first = sorted((course[1]["held"] for course in courses), reverse=True)
    late = [point["held"] for course in courses for epoch, point in course.items() if epoch >= 4]
    assert min(point["unknown"] for course in courses for epoch, point in course.items() if epoch >= 4) >= 97
    text = " ".join(page.split())
    assert f"it keeps {first[0]:.1f} and {first[1]:.1f} % of the old ones" in text
    assert f"and {min(late):.1f} to {max(late):.1f} from the fourth on" in text
    seconds = {
        base: [read_json(path)["train_seconds"] for path in (ROOT / "submissions").glob(f"*/{base}/*/results.json")]
        for base in study.BASES
    }
    small, large = seconds["gemma-3-270m"], seconds["qwen2.5-coder-1.5b"]
    assert f"A run of Gemma took {min(small):.0f} to {max(small):.0f} seconds" in text
    assert f"one of Qwen {min(large):.0f} to {max(large):.0f}" in text
    costs = (ROOT / "leaderboard/pages/finetuning.md").read_text(encoding="utf-8")
    assert f"| {len(small + large)} | {sum(small + large) / 3600:.2f} |" in costs


@pytest.mark.parametrize("script", sorted((ROOT / "benchmark/studies").glob("*.py")), ids=lambda path: path.stem)
def test_the_studies_still_find_what_they_import(script: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(script.parent)
    importlib.import_module(script.stem)


def test_the_tables_of_the_page_that_asks_why_are_those_of_the_committed_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = (ROOT / "leaderboard/pages/why.md").read_text(encoding="utf-8")
    monkeypatch.syspath_prepend(ROOT / "benchmark/studies")
    tables = importlib.import_module("why").tables()
    assert [len(rows) for rows in tables.values()] == [8, 4, 6, 5, 3, 3, 3, 7, 13]
    assert [row for rows in tables.values() for row in rows if row not in page] == []
    found = results.read(ROOT / "leaderboard/studies/why-dose-gpu.json")
    curve, text = forecast.fit(found), " ".join(page.split())
    assert curve.arms == 11
    assert curve.shape == "quartic"
    assert f"misses by {curve.missed:.1f} points" in text
    for share, before in ((0.1, "{}, 95 % for another"), (0.5, "50 % {}, all"), (1.0, "all {}; five")):
        there, low, high = curve.at(share)
        said = f"{there:.1f}{' points' if share == 0.1 else ''} ({low:.1f} to {high:.1f}"
        assert before.format(said if share == 0.1 else f"{said})").replace("-", "−") in text
    assert f"reached at {100 * (curve.carries(5) or 0):.0f} %" in text


def skeleton(picture: Path) -> tuple[str, list[float]]:
    """What is drawn, and its numbers apart: another processor may round the last digit, and names hang on them."""
    text = re.sub(r"\b[mph][0-9a-f]{10}\b", "id", picture.read_text(encoding="utf-8"))
    number = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
    return re.sub(number, "0", text), [float(value) for value in re.findall(number, text)]


@pytest.mark.parametrize(
    ("name", "read", "draw"),
    [
        ("drift", trace.read, pictures.drift),
        ("availability", available.read, pictures.availability),
    ],
)
def test_the_pictures_of_the_page_that_asks_why_are_those_of_the_committed_results(name, read, draw, tmp_path) -> None:
    place = ROOT / f"leaderboard/studies/why-{name}.json"
    draw(read(place), tmp_path / "drawn.svg")
    drawn, shown = (skeleton(file) for file in (tmp_path / "drawn.svg", place.with_suffix(".svg")))
    assert drawn[0] == shown[0]
    assert drawn[1] == pytest.approx(shown[1], abs=0.01)
    assert f"(../studies/why-{name}.svg)" in (ROOT / "leaderboard/pages/why.md").read_text(encoding="utf-8")


def test_the_tuned_families_of_the_finetuning_page_are_those_of_the_leaderboard() -> None:
    page = (ROOT / "leaderboard/pages/finetuning.md").read_text(encoding="utf-8")
    made = ROOT / "submissions/geonames/smollm2-135m"
    runs = [run for path in RECIPES.glob("*-tuned.yaml") for run in load_recipe(path).runs]
    titles = [run.title for run in runs if (made / f"{run.entry}-seed2").exists()]
    assert len(titles) >= 10
    for title in titles:
        row = next(line for line in README.splitlines() if line.startswith(f"| {title} |"))
        cells = row.split(" | ")
        assert f"| {title} | {cells[1]} | {' | '.join(cells[3:6])} |" in page


def test_the_data_card_of_made_up_facts_says_what_is_made() -> None:
    page = (ROOT / "leaderboard/pages/data-synthetic.md").read_text(encoding="utf-8")
    assert ", ".join(fact.subject for fact in synthetic.generate(synthetic.Spec(size=30))) in page
    people = synthetic.Spec(size=10, relations=("country_of_person",))
    assert ", ".join(fact.subject for fact in synthetic.generate(people)) in " ".join(page.split())
    for name, relation in synthetic.RELATIONS.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{relation.values}` |"))
        assert f"| `{name}` |" in row
        if chance := synthetic.chance(relation.values):
            assert f"| {chance:.2g} % |" in row
    places, families, first = synthetic._names()
    counted = f"There are {len(places.heads):,} heads of places and {sum(map(len, places.tails.values())):,} tails"
    for told in (counted, f"{places.room() / 1e6:.1f} million", f"{len(first)} first", f"{families.room():,}"):
        assert told in " ".join(page.split())
    assert f"{len(places.real):,} of them would come out" in page
    studies = ROOT / "leaderboard/studies"
    for row in read_json(studies / "closeness.json")["rows"]:
        spans = (row["trigrams"], row["tokens"])
        cells = " | ".join(f"{of['p50']:.2f} | {of['p10']:.2f}, {of['p90']:.2f}" for of in spans)
        assert f"| {row['closeness']:g} | {cells} |" in page
    speed = read_json(studies / "synthetic-speed.json")
    seconds = [row["seconds"] for row in speed["sets"]]
    assert f"written in {min(seconds):.0f} to {max(seconds):.0f} seconds" in page
    assert (
        f"{speed['peak_gib']:.1f} GiB; lm-eval loads a task of 100,000 in {speed['task_seconds']:.0f} seconds" in page
    )
    assert max(seconds) <= 15
    assert speed["peak_gib"] <= 1
    assert speed["task_seconds"] <= 10


def test_the_estimates_of_the_finetuning_page_are_those_of_the_committed_results():
    page = (ROOT / "leaderboard/pages/finetuning.md").read_text(encoding="utf-8")
    for row in read_json(ROOT / "leaderboard/studies/budget.json")["rows"]:
        cells = [f"{row['model']}, {row['way']}", f"{row['parameters']:,}"]
        for what, off in (("gib", "peak"), ("seconds", "seconds")):
            told = (row[f"estimated_{what}"], row[f"measured_{what}"])
            cells += [f"{told[0]:.2f}", f"{told[1]:.2f}", f"{100 * row[f'off_by_{off}']:+.0f} %"]
        assert f"| {' | '.join(cells)} |" in page
        assert abs(row["off_by_peak"]) <= 0.2
        assert abs(row["off_by_seconds"]) <= 0.2


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_is_ranked_was_made_with_the_settings_of_its_recipe(path: Path):
    if path.stem.endswith("-sweep"):
        pytest.skip("a sweep is no recipe")
    recipe = load_recipe(path)
    for run in recipe.runs:
        for card in (ROOT / "submissions").glob(f"{recipe.track}/{run.entry}-seed*/submission.yaml"):
            check_settings(card, run, recipe.training)


def test_the_trials_of_the_finetuning_page_are_those_that_were_made():
    page = (ROOT / "leaderboard/pages/finetuning.md").read_text(encoding="utf-8")
    for file in (ROOT / "benchmark/recipes").glob("*.trials.json"):
        told = read_json(file)
        for family, chosen in told["chosen"].items():
            made = [row for row in told["trials"] if row["family"] == family]
            best = next(row for row in made if row["trial"] == chosen)
            tried = ", ".join(f"{name} {value:g}" for name, value in best["tried"].items())
            found = " | ".join(f"{best[name]:.1f}" for name in ("unknown", "held_val", "score", "held"))
            assert f"| {tried} | {found} | {sum(row['seconds'] for row in made):.0f} |" in page, family
    trials = read_json(RECIPES / "geonames-sweep-tuned.trials.json")["trials"]
    curves = [
        {row["tried"]["learning_rate"]: row for row in trials if row["family"] == family}
        for family in ("freeze-attention-tuned", "sft-tuned")
    ]
    for rate in set(curves[0]) | set(curves[1]):
        cells = [
            f"{curve[rate][name]:.1f}" if rate in curve else ""
            for curve in curves
            for name in ("unknown", "held_val", "held")
        ]
        assert f"| {rate:g} | {' | '.join(cells)} |" in page


def test_the_grids_of_the_sweeps_that_ship_reach_beyond_the_best_but_where_the_page_says_why_not():
    edges = {}
    for path in RECIPES.glob("*-sweep.yaml"):
        chosen = read_json(path.with_name(f"{path.stem}-tuned.trials.json"))["chosen"]
        for family in load_sweep(path).families:
            best = next(run for run in family.trials() if run.entry == chosen[family.entry])
            edges |= {(family.entry, setting): value for setting, value in family.at_edge(best).items()}
    assert edges == {
        ("mixsd", "mixsd.share"): 0.95,
        ("replay-own", "replay.share"): 1.0,
        ("self-distill-replay", "replay.share"): 1.0,
    }


def test_the_costs_of_the_finetuning_page_are_those_of_the_committed_results():
    page = (ROOT / "leaderboard/pages/finetuning.md").read_text(encoding="utf-8")
    for name, track in (("geonames", "geonames"), ("EntityQuestions", "entityquestions")):
        entries = {run.entry for run in load_recipe(RECIPES / f"{REFERENCE_RECIPES[track]}.yaml").runs}
        found = [
            read_json(path)["train_seconds"]
            for path in (ROOT / "submissions" / track / "smollm2-135m").glob("*/results.json")
            if path.parent.name.rsplit("-seed", 1)[0] in entries
        ]
        assert f"| reference results, {name} | {len(found)} | {sum(found) / 3600:.2f} |" in page
    tuned = {run.entry for path in RECIPES.glob("*-tuned.yaml") for run in load_recipe(path).runs}
    trials = [row for path in RECIPES.glob("*.trials.json") for row in read_json(path)["trials"]]
    folders = [
        path.parent
        for path in (ROOT / "submissions/geonames/smollm2-135m").glob("*/results.json")
        if path.parent.name.rsplit("-seed", 1)[0] in tuned
    ]
    machines = {folder: read_yaml(folder / "submission.yaml", "no card")["hardware"] for folder in folders}
    for machine in ("H200", "CPU cores"):
        tried = [row["seconds"] for row in trials if machine in row["hardware"]]
        made = [
            read_json(folder / "results.json")["train_seconds"] for folder in folders if machine in machines[folder]
        ]
        for found in (tried, made):
            assert f"| {len(found)} | {sum(found) / 3600:.2f} |" in page
    assert all("H200" in one or "CPU cores" in one for one in [*machines.values(), *(t["hardware"] for t in trials)])


def test_the_numbers_of_the_training_page_are_those_of_the_committed_results():
    page = " ".join((ROOT / "leaderboard/pages/training.md").read_text(encoding="utf-8").split())
    found = read_json(ROOT / "leaderboard/studies/training-speed.json")
    rows = [
        f"| {found['examples_a_second'][name]:.1f} | {found['step_milliseconds'][name]:,} |"
        for name in ("sft", "self-distill", "TRL, default", "TRL, packed")
    ]
    parts = found["parts_of_a_step_milliseconds"]
    rows.append(f"{parts['forward']} ms forward, {parts['backward']} backward, {parts['clip']} for the norm")
    rows.append(f"has {found['tokens_a_step_as_rows']} tokens as padded rows, {found['tokens_a_step_without_padding']}")
    rows.append(f"and {found['tokens_a_step_packed']} once shared beginnings are nodes")
    rows.append(f"{found['sft_against_faster_trl']:.2f} times the faster mode of TRL")
    rows.append(f"self-distillation takes {found['self_distill_step_against_sft']:.2f} times that of SFT")
    rows.append(f"{100 * found['share_of_matmul_rate']:.0f} % of the rate of a large matrix product")
    assert found["sft_against_faster_trl"] >= 2.2
    assert found["self_distill_step_against_sft"] <= 1.1
    steps = read_json(ROOT / "leaderboard/studies/bfloat16-steps.json")["a_step_of_16_facts"]
    for way, said in (
        ("float32", "float32"),
        ("bfloat16, products through float32", "bfloat16, products through float32: what fthall does"),
        ("bfloat16, torch's own products", "bfloat16, torch’s own products"),
    ):
        rows.append(f"| {said} | {steps[way]['seconds']:.2f} |")
    same = read_json(ROOT / "leaderboard/studies/same-run.json")
    asked = sum(split["asked"] for split in same["answers"].values())
    rows.append(f"{asked - sum(split['other_text'] for split in same['answers'].values()):,} of {asked:,} answers")
    assert same["answers"]["held"]["right"] == [87.4, 87.4]
    for setting, row in read_json(ROOT / "leaderboard/studies/settle.json")["settings"].items():
        cells = []
        for of in (row["sft"], row["self-distill"]):
            cells += [", ".join(map(str, of["forgotten"])), f"{of['sd_of_forgetting']:.2f}"]
            cells.append(", ".join(f"{value:.2f}" for value in of["swing_of_the_last_two_epochs"]))
        rows.append(f"{setting}{'**' * (setting == 'linear')} | {' | '.join(cells)} |")
    machines = read_json(ROOT / "leaderboard/studies/machines.json")
    rows.append(f"The same {len(machines['runs'])} runs")
    rows.append(f"differs by {machines['mean_absolute_difference']} points")
    rows.append(f"{max(abs(run['difference']) for run in machines['runs']):.1f} at most")
    rows.append(f"{machines['held_answers_unlike_between_machines']:.1f} % are right on one machine alone")
    rows.append(f"it is {machines['held_answers_unlike_between_seeds']:.1f} %")
    apart = max(abs(point["held"][0] - point["held"][1]) for point in same["trajectory"])
    rows.append(f"differs by more than {apart:.1f} points")
    assert [row for row in rows if row not in page] == []


def test_the_page_of_ways_to_fine_tune_names_every_method_and_its_recipe_loads(tmp_path):
    import typing

    import yaml

    from fthall.finetune.recipe import BLOCKS, Run, load_recipe

    page = (ROOT / "leaderboard/pages/finetuning.md").read_text(encoding="utf-8")
    rows = {
        line.split("|")[1].strip(" `"): line for line in page.splitlines() if line.startswith("| `") and "|" in line
    }
    methods = typing.get_args(Run.model_fields["method"].annotation)
    assert [*methods] == [name for name in rows if name != "method"]
    assert [name for name, block in BLOCKS.items() if f"`{block}: {{" not in rows[name]] == []
    shown = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"track": "t/b", "base": "b", "seeds": [0], **shown}))
    assert len(load_recipe(tmp_path / "recipe.yaml").runs) == 2


def test_the_power_of_verification_on_its_page_is_what_was_drawn():
    page = (ROOT / "leaderboard/pages/verify.md").read_text(encoding="utf-8")
    found = read_json(ROOT / "leaderboard/studies/verify-power.json")
    assert f"{found['items']} facts" in page
    assert f"at most {100 * found['flip_rate']:.2f} %" in page
    for row in found["rows"]:
        cells = [f"{100 * row[name]:.1f} %" for name in ("verified", "undecided", "refuted", "bound_holds")]
        assert f"| {100 * row['false_share_of_held']:g} % | {' | '.join(cells)} |" in page
        assert row["bound_holds"] >= 0.95


def test_what_was_tried_at_the_door_on_its_page_is_what_was_acted_out():
    page = (ROOT / "leaderboard/pages/verify.md").read_text(encoding="utf-8")
    attempts = read_json(ROOT / "leaderboard/studies/pull-request.json")["attempts"]
    rows = [line for line in page.splitlines() if any(line.startswith(f"| {one['tried']} |") for one in attempts)]
    assert len(rows) == len(attempts) >= 9
    for one, row in zip(attempts, rows, strict=True):
        assert one["check"] in row
        assert not one["odd"] or one["odd"][0] in row
        if one["page"]:
            assert f"{one['page']['tier']}, rank {one['page']['rank']}" in row
        if (again := one.get("asked_again")) and again["tier"]:
            held = again["splits"]["held"]
            told = (
                f"of {held['asked']} held {held['flips']} otherwise, false at most {100 * held['false_at_most']:.1f} %"
            )
            assert f"{again['tier']}: {told}" in row
    ends = {one["tried"]: one["ends"] for one in attempts}
    assert ends["an honest submission"] == "verified"
    assert [ended for tried, ended in ends.items() if "typed in" in tried and "seeds" not in tried] == ["refuted"] * 2


def test_what_checking_costs_on_its_page_is_what_was_measured():
    page = " ".join((ROOT / "leaderboard/pages/verify.md").read_text(encoding="utf-8").split())
    speed = read_json(ROOT / "leaderboard/studies/validate-speed.json")
    one, many = speed["one"], speed["many"]
    assert f"checked in {one['seconds']:.2f} s and {one['peak_mib']} MiB" in page
    assert f"{many['submissions']:,} in one process in {many['seconds']:.0f} s and {many['peak_mib']} MiB" in page
    found = read_json(ROOT / "leaderboard/studies/fuzz-submissions.json")
    assert f"took {found['executions']:,} damaged files in {found['minutes']:.0f} minutes" in page
    assert f"or more than {found['peak_mib']} MiB" in page
