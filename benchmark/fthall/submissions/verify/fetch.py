"""A pinned checkpoint in, its files in a folder out: the bytes the card names, or nothing."""

import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from fthall.errors import FthallError, one_line
from fthall.files import atomic
from fthall.submissions.pinned import Pinned, PinnedFile

_CHUNK = 1 << 20
_TIMEOUT = 60
"""Seconds without a byte."""


def fetch(said: Pinned, into: Path) -> None:
    """Fetch every pinned file into a folder. Their hashes are :func:`fthall.submissions.pinned.check_files`' to check.

    Args:
        said: what the card pins.
        into: the folder; what is there already in the right size is kept, so that an interrupted fetch goes on.

    Raises:
        FthallError: a file is not to be had, or is larger than the card says.
    """
    into.mkdir(parents=True, exist_ok=True)
    if said.repository:
        _from_hub(said, into)
        return
    for file in said.files:
        if not (into / file.name).is_file() or (into / file.name).stat().st_size != file.bytes:
            _download(f"{said.url}{file.name}", file, into / file.name)


def _from_hub(said: Pinned, into: Path) -> None:
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(
            str(said.repository),
            revision=said.revision,
            allow_patterns=[file.name for file in said.files],
            local_dir=into,
        )
    except Exception as error:  # of the network, of the hub, of the name: each has its own
        raise FthallError(
            f"cannot fetch {said.repository} at {said.revision}: {one_line(error)}; if the files are here, type "
            "--checkpoint FOLDER"
        ) from None


def _download(address: str, file: PinnedFile, to: Path) -> None:
    try:
        with _open(address) as source, atomic(to) as temporary, temporary.open("wb") as target:
            left = file.bytes
            while chunk := source.read(min(_CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise FthallError(f"{address} is larger than the {file.bytes:,} bytes the card says")
                target.write(chunk)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise FthallError(f"cannot fetch {address}: {one_line(error)}; try again") from None


def _open(address: str) -> IO[bytes]:
    """An answer over https, wherever it was sent on to."""
    answer = urllib.request.urlopen(address, timeout=_TIMEOUT)  # noqa: S310 - the card allows https only
    if not str(answer.url).startswith("https://"):
        answer.close()
        raise FthallError(f"{address} sends on to {str(answer.url)[:200]}, which is not https")
    return answer  # type: ignore[no-any-return]
