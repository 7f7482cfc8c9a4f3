"""The header of a track's base: architecture, and names and shapes of its tensors, for ``tasks/bases/<name>.json``.

With it a checkpoint is compared with the base though neither's weights are at hand::

    python benchmark/studies/headers.py smollm2-135m BASE tasks/bases/smollm2-135m.json
"""

import sys
from pathlib import Path

from fthall import bases
from fthall.files import write_text
from fthall.submissions.pinned import read_header


def main(name: str, spec: str, out: str) -> None:
    """Write the header of ``spec`` (a folder, an id, a GGUF file or the embedded base)."""
    import json

    checkpoint = bases.find(spec)
    header = read_header(Path(checkpoint.location))
    told = {
        "name": name,
        "weights_sha256": bases.weights_sha256(checkpoint),
        "architecture": header.architecture,
        "parameters": header.parameters,
        "vocabulary": header.vocabulary,
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in told.items()]
    shapes = ",\n    ".join(f"{json.dumps(key)}: {list(shape)}" for key, shape in sorted(header.tensors.items()))
    write_text(Path(out), "{\n  " + ",\n  ".join(lines) + ',\n  "tensors": {\n    ' + shapes + "\n  }\n}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
