"""``make check-site``: it finds what is wrong with a site, and nothing with one that is right."""

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
from test_site import REFERENCE, build_release, submit

from fthall.leaderboard import site

SCRIPT = Path(__file__).parents[2] / ".github/check_site.py"
URL = "https://me.example/board"


@pytest.fixture(scope="module")
def check() -> ModuleType:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("check_site", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_site"] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site that is right."""
    folder = tmp_path_factory.mktemp("check")
    release = build_release(folder / "release")
    (folder / "submissions").mkdir()
    submit(folder / "submissions", release, right=(4, 0, 19), **REFERENCE)
    submit(folder / "submissions", release, right=(4, 9, 14), url="https://x.example/code")
    return site.render(folder / "submissions", folder / "site", release=release, url=URL).parent


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """The site, to be spoiled."""
    return shutil.copytree(built, tmp_path / "site")


def told(check: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Findings about links and sizes."""
    code = check.main([str(folder), "--only", "links,sizes"])
    *found, last = capsys.readouterr().out.splitlines()
    assert code == (1 if found else 0)
    assert last.startswith("check-site: ")
    return found


def test_a_site_that_is_right(built: Path, check: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(check, built, capsys) == []


@pytest.mark.parametrize(
    ("planted", "finding"),
    [
        ('<a href="gone.html">x</a>', "'gone.html': there is no such file"),
        ('<a href="gone.html?a=b#c">x</a>', "'gone.html?a=b#c': there is no such file"),
        ('<a href="../site/index.html">x</a>', "'../site/index.html': there is no such file"),
        ('<a href="why.html#nowhere">x</a>', "'why.html#nowhere': there is no such place on that page"),
        ('<a href="#nowhere">x</a>', "'#nowhere': there is no such place on that page"),
        (f'<a href="{URL}/gone.html">x</a>', f"'{URL}/gone.html': there is no such file"),
        ('<a href="http://x.example" rel="nofollow">x</a>', "'http://x.example': a link to elsewhere must be https"),
        ('<a href="javascript:x">x</a>', "'javascript:x': a link to elsewhere must be https"),
        ('<a href="//x.example">x</a>', "'//x.example': a link to elsewhere must be https"),
        ('<a href="https://x.example">x</a>', "'https://x.example': a submission's link must have rel nofollow"),
        ('<p style="color: red">x</p>', "<p> has a style or a script as an attribute; the page's policy blocks it"),
        ('<b onclick="x()">x</b>', "<b> has a style or a script as an attribute; the page's policy blocks it"),
    ],
)
def test_what_is_wrong_is_a_line(
    planted: str, finding: str, copy: Path, check: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    page = copy / "geonames-tiny--sft.html"
    page.write_text(page.read_text().replace("</main>", f"{planted}</main>"))
    assert told(check, copy, capsys) == [f"{page.name}: {finding}"]


def test_what_is_right_is_no_finding(copy: Path, check: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    page = copy / "geonames-tiny--sft.html"
    right = '<a href="https://x.example" rel="noopener nofollow">x</a><a href="why.html">x</a><a href="?sort=x">x</a>'
    right += f'<a href="{URL}/">x</a><a href="{URL}/index.html#case">x</a><a href="geonames-tiny.html?a=b#case">x</a>'
    ours = '<article class="prose"><a href="https://x.example">x</a></article>'
    page.write_text(page.read_text().replace("</main>", f"{right}{ours}</main>"))
    assert told(check, copy, capsys) == []


def test_the_same_of_many_pages_is_one_line(copy: Path, check: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "method.html").unlink()
    found = told(check, copy, capsys)
    assert [line for line in found if "'method.html': there is no such file" in line and " more: " in line]
    assert any(line.startswith("sitemap.xml: ") for line in found)


def test_a_page_that_is_too_heavy(copy: Path, check: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    page = copy / "index.html"
    page.write_text(page.read_text() + "<!--" + "x" * 300_000 + "-->")
    [finding] = told(check, copy, capsys)
    assert finding.startswith("index.html: ")
    assert finding.endswith(" bytes; at most 300,000")


def test_nothing_to_check(tmp_path: Path, check: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(tmp_path)]) == 1
    assert "build it first: make site" in capsys.readouterr().out


def test_what_cannot_be_checked_is_said(
    built: Path, check: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(check, "TOOLS", tmp_path)
    assert check.main([str(built), "--only", "validity,lighthouse"]) == 0
    said = capsys.readouterr().out
    assert "NOT CHECKED: validity is left out, there is no html-validate" in said
    assert "NOT CHECKED: lighthouse is left out, there is no lighthouse" in said


def test_what_lighthouse_finds_too_low(check: ModuleType) -> None:
    category = {"id": "seo", "score": 0.94, "auditRefs": [{"id": "a", "weight": 1}, {"id": "b", "weight": 1}]}
    report = {"categories": {"seo": category}, "audits": {"a": {"score": 0.5}, "b": {"score": None}}}
    assert check._low(report) == ["seo 94, at least 95; it costs: a"]
    assert check._low({"categories": {}, "audits": {}, "failed": "no page"}) == ["it failed: no page"]
    category["score"] = 0.95
    assert check._low(report) == []
