"""What no module may do: pull in torch where only numbers are read, print, or normalise answers a second way."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import fthall

PACKAGE = Path(fthall.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "_data" not in path.parts)
LIGHT = [
    *("answers", "prompts", "files", "cli", "facts", "bases", "engines", "knowledge", "finetune", "submissions"),
    *("submissions.make", "leaderboard", "measure.metrics", "measure.stats", "measure.report", "measure.controls"),
]
HEAVY = {"torch", "transformers", "lm_eval", "mlflow", "datasets", "vllm"}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def definitions(tree: ast.AST, prefix: str = "") -> list[tuple[str, ast.AST]]:
    """Public functions, classes and methods with their dotted names; none that stand inside functions."""
    found: list[tuple[str, ast.AST]] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            found.append((prefix + node.name, node))
            if isinstance(node, ast.ClassDef):
                found += definitions(node, f"{prefix}{node.name}.")
    return found


def test_the_modules_are_found() -> None:
    assert {"answers.py", "facts/geonames.py", "engines/hf.py"} <= {name_of(path) for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_everything_public_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module"
    undocumented = [name for name, node in definitions(tree) if not ast.get_docstring(node)]  # type: ignore[arg-type]
    assert undocumented == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_prints_evaluates_or_unpickles(path: Path) -> None:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    names = {func.id for func in calls if isinstance(func, ast.Name)}
    assert not names & {"print", "eval", "exec", "breakpoint", "input"}
    imports = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Import)]
    assert not {alias.name for node in imports for alias in node.names} & {"pickle", "dill", "joblib", "marshal"}


def test_there_is_one_normaliser() -> None:
    defined = [
        name_of(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.lstrip("_").startswith(("normalise", "normalize"))
    ]
    assert defined == ["answers.py"]


def test_light_modules_do_not_import_torch() -> None:
    """One process for all, and after each module what it has brought in."""
    there = [f"fthall.{name}" for name in LIGHT]
    code = (
        "import importlib, json, sys\n"
        f"for name in {there}:\n"
        "    importlib.import_module(name)\n"
        f"    sys.stdout.write(json.dumps([name, sorted({HEAVY} & set(sys.modules))]) + chr(10))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert [json.loads(line) for line in done.stdout.splitlines()] == [[name, []] for name in there]


def test_metrics_need_the_standard_library_only() -> None:
    code = "import sys, fthall.measure.metrics; sys.stdout.write(' '.join({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"numpy", "pandas", "yaml", "pydantic"}


def test_importing_writes_nothing(tmp_path: Path) -> None:
    code = "import fthall.cli, fthall.knowledge, fthall.submissions, fthall.leaderboard, fthall.facts.geonames"
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (done.stdout, done.stderr, list(tmp_path.iterdir())) == ("", "", [])
