"""JSON Schemas of a submission's files, documented field by field: for editors, and for checks in other languages.

They say what :mod:`fthall.submissions.card` says, and so the shape of the files alone; that counts follow from answers
and so on only :mod:`fthall.submissions.check` can tell.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fthall.files import write_json
from fthall.submissions.card import Card, Results
from fthall.submissions.evidence import Asked

FILES: dict[str, type[BaseModel]] = {"submission": Card, "results": Results, "outcomes-line": Asked}


def schemas() -> dict[str, dict[str, Any]]:
    """By the file's name, without its end."""
    return {
        name: {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema(by_alias=True)}
        for name, model in FILES.items()
    }


def write_schemas(folder: Path) -> list[Path]:
    """Write them as ``<name>.schema.json``, and say where."""
    written = []
    for name, schema in schemas().items():
        written.append(folder / f"{name}.schema.json")
        write_json(written[-1], schema)
    return written
