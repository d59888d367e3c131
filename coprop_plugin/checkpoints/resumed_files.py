"""Downloads of large files that a later process takes up where an earlier one ended.

The hub's own client resumes within a call only: what a killed process has fetched of a file is
lost.
"""

import hashlib
import os
from pathlib import Path

from filelock import FileLock

from coprop_plugin.errors import DownloadError


def fetch_blob(checkpoint: str, filename: str, commit: str, blobs: Path) -> None:
    """Fetch a file into the hub's cache, if it is not there; what is there of it is not fetched.

    Until it is complete and has its checksum, it has a name under which nothing looks for it.

    Args:
        checkpoint: Id of the repository on the hub.
        filename: The file in it.
        commit: Its version.
        blobs: The folder of the repository's files in the cache, which are named by checksums.

    Raises:
        DownloadError: If what was fetched has another checksum.
        OSError: Or another error of the hub's client, see `downloads.hub_errors`.
    """
    from huggingface_hub import file_download, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    url, headers = hf_hub_url(checkpoint, filename, revision=commit), build_hf_headers()
    found = get_hf_file_metadata(url, headers=headers)
    if found.etag is None:
        return  # The client looks for it by other means.
    blob = blobs / found.etag
    part = blob.with_name(f"{blob.name}.part")
    blobs.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{part}.lock"):
        if blob.exists():
            return
        part.touch()
        # Not "ab": where the server does not resume, the file is written from its beginning.
        with part.open("r+b") as file:
            if found.size is not None and part.stat().st_size > found.size:
                file.truncate(0)
            start = file.seek(0, os.SEEK_END)
            file_download.http_get(
                url, file, resume_size=start, headers=headers, expected_size=found.size
            )
        if not has_checksum(part, blob.name):
            part.unlink()
            raise DownloadError(
                f"{filename} of {checkpoint} was damaged on its way: its checksum is not "
                f"{blob.name}. Run the same again, which fetches it from its beginning."
            )
        part.replace(blob)


def has_checksum(path: Path, name: str) -> bool:
    """Whether a file has the checksum that the hub names it by.

    Args:
        path: The file.
        name: 64 hex digits of SHA-256, or 40 of Git's SHA-1, which small files have.
    """
    if not path.is_file():
        return False
    digest = hashlib.sha256()
    if len(name) == 40:
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == name
