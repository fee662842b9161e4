"""A Hub in memory, on a port of this machine: it speaks the calls with which the real client uploads a model.

These are whoami, model info, the tree of files, create-repo, validate-yaml, preupload, the LFS batch with its PUT and
verify, and commit. As on the Hub, nothing happens without a token, safetensors files go through LFS, and a commit must
refer to bytes that have arrived and to the state that its author saw.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ACCOUNT = "me"
TOKEN = "hf_of_the_test"


@dataclass
class Commit:
    """What one commit added, and what it deleted."""

    message: str
    files: dict[str, bytes]
    deleted: tuple[str, ...] = ()


@dataclass
class Repository:
    """A model repository: whether it is private, and its commits in order."""

    private: bool
    commits: list[Commit] = field(default_factory=list)

    @property
    def files(self) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        for commit in self.commits:
            files = {path: content for path, content in files.items() if path not in commit.deleted} | commit.files
        return files

    @property
    def sha(self) -> str:
        return f"{len(self.commits):040x}"


class Refused(Exception):
    """The Hub answers with an error."""

    def __init__(self, status: int, message: str, **body: object) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": message, **body}


class HubServer(ThreadingHTTPServer):
    """Serve while in a `with` block.

    Args:
        refuse: Name of a call (`create`, `batch`, `upload`, `commit`, …) that is answered with 403.
        after: How many times that call succeeds before.
    """

    def __init__(self, refuse: str | None = None, after: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, Repository] = {}
        self.large_files: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.refuse, self.after = refuse, after

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self.server_close()

    def answer(self, call: str, path: re.Match[str], body: bytes) -> dict | list:
        self.calls.append(call)
        if call == self.refuse and self.calls.count(call) > self.after:
            raise Refused(403, f"no {call} today")
        return getattr(self, call)(*path.groups(), body)

    def whoami(self, body: bytes) -> dict:
        return {"name": ACCOUNT, "type": "user"}

    def info(self, repo_id: str, body: bytes) -> dict:
        repository = self.repository(repo_id)
        return {"id": repo_id, "sha": repository.sha, "private": repository.private, "siblings": []}

    def tree(self, repo_id: str, body: bytes) -> list[dict]:
        files = self.repository(repo_id).files
        return [{"type": "file", "path": path, "size": len(files[path]), "oid": ""} for path in files]

    def create(self, body: bytes) -> dict:
        wanted = json.loads(body)
        repo_id = f"{wanted.get('organization') or ACCOUNT}/{wanted['name']}"
        url = f"{self.endpoint}/{repo_id}"
        if repo_id in self.repositories:
            raise Refused(409, "You already created this model repo", url=url)
        private = wanted.get("visibility") == "private" or wanted.get("private") is True
        self.repositories[repo_id] = Repository(private)
        return {"url": url, "name": repo_id}

    def validate(self, body: bytes) -> dict:
        return {"errors": [], "warnings": []}

    def preupload(self, repo_id: str, body: bytes) -> dict:
        self.repository(repo_id)
        paths = [file["path"] for file in json.loads(body)["files"]]
        modes = ["lfs" if path.endswith(".safetensors") else "regular" for path in paths]
        return {
            "files": [
                {"path": path, "uploadMode": mode, "shouldIgnore": False}
                for path, mode in zip(paths, modes, strict=True)
            ]
        }

    def batch(self, repo_id: str, body: bytes) -> dict:
        self.repository(repo_id)
        actions = {
            "upload": lambda oid: {"href": f"{self.endpoint}/lfs/{oid}"},
            "verify": lambda oid: {"href": f"{self.endpoint}/verify"},
        }
        return {
            "transfer": "basic",
            "objects": [
                {**wanted, "actions": {name: action(wanted["oid"]) for name, action in actions.items()}}
                for wanted in json.loads(body)["objects"]
            ],
        }

    def upload(self, oid: str, body: bytes) -> dict:
        if hashlib.sha256(body).hexdigest() != oid:
            raise Refused(400, "the bytes do not have this hash")
        self.large_files[oid] = body
        return {}

    def verify(self, body: bytes) -> dict:
        wanted = json.loads(body)
        if len(self.large_files.get(wanted["oid"], b"")) != wanted["size"]:
            raise Refused(404, "no such large file")
        return {}

    def commit(self, repo_id: str, body: bytes) -> dict:
        repository = self.repository(repo_id)
        header, *operations = (json.loads(line) for line in body.splitlines())
        if header["value"].get("parentCommit", repository.sha) != repository.sha:
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        deleted = tuple(each["value"]["path"] for each in operations if each["key"] == "deletedFile")
        if missing := set(deleted) - set(repository.files):
            raise Refused(400, f"there is no file {missing} to delete")
        added = [each for each in operations if each["key"] != "deletedFile"]
        files = {each["value"]["path"]: self.content(each) for each in added}
        repository.commits.append(Commit(header["value"]["summary"], files, deleted))
        oid = repository.sha
        return {"commitOid": oid, "commitUrl": f"{self.endpoint}/{repo_id}/commit/{oid}"}

    def content(self, operation: dict) -> bytes:
        value = operation["value"]
        if operation["key"] == "file":
            return base64.b64decode(value["content"])
        if value["oid"] not in self.large_files:
            raise Refused(400, f"{value['path']} has not arrived")
        return self.large_files[value["oid"]]

    def repository(self, repo_id: str) -> Repository:
        if repo_id not in self.repositories:
            raise Refused(404, f"no repository {repo_id}")
        return self.repositories[repo_id]


CALLS = {
    "whoami": ("GET", "/api/whoami-v2"),
    "info": ("GET", "/api/models/([^/]+/[^/]+)"),
    "tree": ("GET", "/api/models/(.+)/tree/main"),
    "create": ("POST", "/api/repos/create"),
    "validate": ("POST", "/api/validate-yaml"),
    "preupload": ("POST", "/api/models/(.+)/preupload/main"),
    "batch": ("POST", r"/(.+)\.git/info/lfs/objects/batch"),
    "upload": ("PUT", "/lfs/([0-9a-f]{64})"),
    "verify": ("POST", "/verify"),
    "commit": ("POST", "/api/models/(.+)/commit/main"),
}


class Handler(BaseHTTPRequestHandler):
    """Finds the call that a request is, and writes the server's answer as JSON."""

    server: HubServer

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            self.respond(200, self.find_answer(body))
        except Refused as refused:
            self.respond(refused.status, refused.body)

    do_GET = do_POST = do_PUT = handle_request

    def find_answer(self, body: bytes) -> dict | list:
        for call, (method, pattern) in CALLS.items():
            path = re.fullmatch(pattern, self.path.partition("?")[0])
            if path and method == self.command:
                # As on the Hub, the address of an upload is a secret itself, and no token goes there.
                if (self.headers.get("Authorization") == f"Bearer {TOKEN}") == (call == "upload"):
                    raise Refused(401, "Invalid username or password.")
                return self.server.answer(call, path, body)
        raise Refused(404, f"no call {self.command} {self.path}")

    def respond(self, status: int, answer: dict | list) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""
