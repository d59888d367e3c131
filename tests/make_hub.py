"""A hub on this machine that the real client of the Hugging Face hub talks to."""

import hashlib
import http.server
import json
import re
import threading
from contextlib import contextmanager

from huggingface_hub import constants

BRANCHES = ("main", "v1")


def commit_of(branch):
    return hashlib.sha1(branch.encode()).hexdigest()


class Hub(http.server.BaseHTTPRequestHandler):
    """What downloads ask of the hub; the repositories are folders of `root`.

    Attributes:
        root: The folder.
        asked: What was asked for: revision, file and key.
        cuts: How many of the next answers end in their middle.
        limit: No file goes beyond so many bytes, as if the connection ended there; None: all.
        lifts_limit: Whether there is no limit any more once a download is resumed.
        resumed: Where downloads that were resumed began.
        gated: Names of repositories whose licence has not been accepted.
    """

    root = None
    asked = None
    cuts = 0
    limit = None
    lifts_limit = False
    resumed = None
    gated = ()

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        if self.path.startswith("/api/models/"):
            self.describe(self.path.partition("?")[0].split("/")[3:])
        else:
            self.answer(with_body=True)

    def refuse(self, owner, name, revision):
        """Answer as the hub does where there is nothing; returns whether that is so."""
        folder = self.root / owner / name
        known = revision in BRANCHES or revision in map(commit_of, BRANCHES)
        error = "EntryNotFound" if known else "RevisionNotFound"
        if name in self.gated:
            error = "GatedRepo"
        elif not folder.is_dir():
            error = "RepoNotFound"
        elif known:
            return False
        self.not_found(error)
        return True

    def not_found(self, error):
        self.send_response(403 if error == "GatedRepo" else 404)
        self.send_header("X-Error-Code", error)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def describe(self, parts):
        owner, name, what, revision = parts[0], parts[1], *(parts[2:4] or ("revision", "main"))
        if self.refuse(owner, name, revision):
            return
        files = [path for path in (self.root / owner / name).iterdir() if path.is_file()]
        content = {"id": f"{owner}/{name}", "sha": commit_of("main"), "siblings": []}
        if what == "tree":
            content = [
                {"type": "file", "path": p.name, "size": p.stat().st_size, "oid": commit_of(p.name)}
                for p in files
            ]
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self, with_body):
        owner, name, _, revision, file = self.path.strip("/").split("/")
        self.asked.append((revision, file, self.headers.get("authorization")))
        if self.refuse(owner, name, revision):
            return
        path = self.root / owner / name / file
        if not path.is_file():
            self.not_found("EntryNotFound")
            return
        content = path.read_bytes()
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range") or "")
        start = int(found[1]) if found else 0
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit_of(revision) if revision in BRANCHES else revision)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.resumed.append(start)
            type(self).limit = None if self.lifts_limit else self.limit
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if with_body:
            type(self).cuts -= 1
            stop = len(content) // 2 if self.cuts >= 0 else self.limit
            self.wfile.write(content[start:stop])

    def log_message(self, *_): ...


@contextmanager
def serve_hub(folder, monkeypatch):
    """Yield a hub that serves the repositories in `folder`/hub; downloads go to `folder`/cache."""
    hub = type("HubOfTest", (Hub,), dict(root=folder / "hub", asked=[], resumed=[]))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
    yield hub
    server.shutdown()
    server.server_close()
