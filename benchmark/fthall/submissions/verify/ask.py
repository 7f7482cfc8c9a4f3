"""The process that asks a stranger's weights: ``python -m fthall.submissions.verify.ask JOB``.

It reaches no network, starts no other process and loads safetensors only; who started it watches its memory and time.
Every fact that was answered is told on the standard output, a line each time: how many.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_FORBIDDEN = ("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec")
_FORBIDDEN_STARTS = ("os.posix_spawn", "os.spawn", "os.startfile", "ftplib", "smtplib", "http.client", "urllib.Request")


def alone(event: str, _: tuple[Any, ...]) -> None:
    """An audit hook (PEP 578): refuse to reach out of this process.

    Raises:
        PermissionError: that is what was about to happen.
    """
    if event in _FORBIDDEN or event.startswith(_FORBIDDEN_STARTS):
        raise PermissionError(f"a checkpoint's process tried {event}")


def main(job: Path) -> None:
    """Ask, reaching out of this process no more from here on."""
    import torch  # noqa: F401 - libraries look around the machine as they are imported; a stranger's files come later
    import transformers  # noqa: F401

    from fthall import bases
    from fthall.files import read_json

    told = read_json(job)
    if told["base"]:
        bases.find(told["base"])  # may be converted or fetched, once
    sys.addaudithook(alone)
    answer(told, _tell)


def answer(told: Mapping[str, Any], on_answers: Callable[[int], None] | None = None) -> None:
    """Ask, and write ``answers`` (fact id to prediction) and ``weights_sha256`` where the job says.

    Raises:
        FthallError: the checkpoint cannot be loaded, or is of another base.
    """
    from fthall import bases
    from fthall.engines import evaluate
    from fthall.engines.hf import HfEngine
    from fthall.files import write_json
    from fthall.knowledge import splits
    from fthall.records import Release, Split

    whole = splits.load(told["release"])
    wanted = {Split(name): set(ids) for name, ids in told["ids"].items()}
    part = {
        split: tuple(fact for fact in facts if fact.id in wanted.get(split, ()))
        for split, facts in whole.splits.items()
    }
    release = Release(track=whole.track, digest=whole.digest, manifest=whole.manifest, splits=part)
    folder, base = told["checkpoint"], None
    if told["kind"] == "delta":
        folder = str(_with_base(Path(folder), Path(bases.find(told["base"]).location), Path(told["scratch"])))
    elif told["kind"] == "adapter":
        base = told["base"]
    checkpoint = bases.for_track(bases.find(folder, adapter_base=base), release.manifest["base"], release.track)
    digest = bases.weights_sha256(checkpoint)
    model, tokenizer = bases.load(checkpoint, dtype="float32")
    answers = evaluate(
        HfEngine(model, tokenizer, batch_size=told["batch_size"]),
        release,
        [split for split in Split if part[split]],
        on_answers=on_answers,
    )
    said = {answer.fact_id: answer.prediction for rows in answers.values() for answer in rows}
    write_json(Path(told["out"]), {"answers": said, "weights_sha256": digest, "hardware": bases.hardware()})


def _tell(count: int) -> None:
    sys.stdout.write(f"{count}\n")
    sys.stdout.flush()


def _with_base(delta: Path, base: Path, scratch: Path) -> Path:
    """The whole checkpoint of a delta: its tensors added to those of the base, in float32."""
    import shutil

    from safetensors.torch import load_file, save_file

    for file in base.glob("*"):
        if file.is_file() and file.suffix != ".safetensors":
            shutil.copyfile(file, scratch / file.name)
    added = {name: tensor for file in sorted(delta.glob("*.safetensors")) for name, tensor in load_file(file).items()}
    for file in sorted(base.glob("*.safetensors")):
        tensors = load_file(file)
        for name in tensors.keys() & added.keys():
            tensors[name] = (tensors[name].float() + added[name].float()).contiguous()
        save_file(tensors, scratch / file.name, metadata={"format": "pt"})
    return scratch


if __name__ == "__main__":
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    from fthall.errors import FthallError

    try:
        main(Path(sys.argv[1]))
    except FthallError as error:
        sys.exit(f"fthall: {error}")
