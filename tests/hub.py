"""A Hugging Face hub on loopback: as much of its HTTP API as huggingface_hub, datasets and transformers ask for here.

Clients find it by HF_ENDPOINT, which they read once, at import: so they run in processes of their own. Repositories
are folders on disk, each commit a copy of one. Every request is recorded, and a fault can be put before its answer.
Large files are redirected to another origin, as the hub's are to its storage. (Its Xet protocol is not spoken here:
the clients then download over plain HTTP. Who uploads must set HF_HUB_DISABLE_XET, and then does that by HTTP too.)
"""

import base64
import hashlib
import json
import os
import re
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".parquet", ".zst", ".pt")  # what the hub keeps in its storage
TOKEN = "hf_of_the_tests"
READER = "hf_that_may_only_read"
OWNER = "tester"  # in whose name TOKEN may write
API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+?)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.+))?)?")
WRITE = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+?)/(preupload|commit)/([^/]+)")
BATCH = re.compile(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch")
FILE = re.compile(r"/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass(frozen=True)
class Request:
    """One that came, with what was answered. `origin`: HF_HUB_USER_AGENT_ORIGIN of the process that asked."""

    time: float
    method: str
    path: str
    status: int
    origin: str


@dataclass
class Fault:
    """What happens to the next `times` requests whose path this pattern is found in."""

    path: str
    status: int = 0  # answered in place of the file
    cut: int | None = None  # bytes of the file after which the connection is closed
    times: int = 10**9
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Repository:
    gated: bool = False
    private: bool = False
    commits: dict[str, dict[str, Path]] = field(default_factory=dict)  # {commit: {name: file}}, the newest last

    def resolve(self, revision: str) -> str | None:
        if revision == "main" and self.commits:
            return list(self.commits)[-1]
        return revision if revision in self.commits else None

    @property
    def newest(self) -> dict[str, Path]:
        return list(self.commits.values())[-1]


class Hub:
    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self.server: ThreadingHTTPServer | None = None
        self.port = 0
        self.storage: Path | None = None  # of what is uploaded, by its sum; None: nothing may be

    def commit(self, kind: str, name: str, folder: Path, gated: bool = False) -> str:
        """Make the files of a folder the newest commit of a repository ("models" or "datasets")."""
        files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
        self.repositories.setdefault((kind, name), Repository()).gated = gated
        return self.commit_files(kind, name, files)

    def commit_files(self, kind: str, name: str, files: dict[str, Path]) -> str:
        sums = {file: digest(path) for file, path in files.items()}
        repository = self.repositories[kind, name]
        commit = hashlib.sha1(json.dumps([len(repository.commits), name, sums]).encode()).hexdigest()
        repository.commits[commit] = files
        return commit

    def store(self, data: bytes) -> Path:
        assert self.storage
        path = self.storage / hashlib.sha256(data).hexdigest()
        path.write_bytes(data)
        return path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """For a process that shall find this hub and nothing of the user's."""
        given = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("HF_") and name != "PYTHONPATH"
        }
        return inherited | given | {"PYTHONPATH": str(Path(__file__).parents[1] / "scripts")} | more

    def start(self) -> "Hub":
        """Also again, at the same address, after `stop`."""
        hub = self

        class Handler(Answers):
            pass

        Handler.hub = hub
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def fault(self, path: str) -> Fault | None:
        """The first that is left for this path, of which one time is used up."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def asked(self, pattern: str = "", since: float = 0) -> list[str]:
        """'GET /api/…' of each request, in order."""
        with self.lock:
            found = [f"{request.method} {request.path}" for request in self.requests if request.time >= since]
        return [line for line in found if re.search(pattern, line)]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed, or has read enough."""


class Answers(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, *_: object) -> None:
        """Requests are recorded instead."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        path = unquote(url.path)
        fault = self.hub.fault(path)
        if fault and fault.status:
            self.say(fault.status, {"error": "a fault"}, fault.headers)
        elif self.hub.storage and self.command in ("POST", "PUT") and self.writes(path, body):
            pass
        elif path.startswith("/storage/"):
            self.file(Path("/", path.removeprefix("/storage/")), {}, fault)
        elif found := API.fullmatch(path):
            self.api(*found.groups(), body)
        elif found := FILE.fullmatch(path):
            self.resolve(*found.groups(), fault)
        else:
            self.say(404, {"error": "not found"})

    def allowed(self, kind: str, name: str, revision: str | None) -> tuple[Repository, str] | None:
        """The repository and commit, or the hub's answer why not: of names that it does not know, and of private ones,
        it says 401 to strangers."""
        repository = self.hub.repositories.get((kind, name))
        token = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.private and not token):
            headers = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            if not token:
                headers = {"X-Error-Message": "Invalid username or password."}
            self.say(404 if token else 401, {"error": headers["X-Error-Message"]}, headers)
            return None
        commit = repository.resolve(revision or "main")
        if commit is None:
            headers = {"X-Error-Code": "RevisionNotFound", "X-Error-Message": f"Invalid rev id: {revision}"}
            self.say(404, {"error": headers["X-Error-Message"]}, headers)
            return None
        return repository, commit

    def api(
        self, kind: str, name: str, what: str | None, revision: str | None, folder: str | None, body: bytes
    ) -> None:
        if not (found := self.allowed(kind, name, revision)):
            return
        repository, commit = found
        files = repository.commits[commit]
        if what in (None, "revision"):
            siblings = [{"rfilename": file} for file in files]
            gated = "manual" if repository.gated else False
            known = {"_id": commit[:24], "id": name, "sha": commit, "private": repository.private, "tags": []}
            known["gated"] = gated
            self.say(200, known | {"siblings": siblings, "downloads": 0, "likes": 0, "disabled": False})
        elif what == "tree":
            recursive = parse_qs(urlsplit(self.path).query).get("recursive", [""])[0].lower() in ("true", "1")
            entries = listed(files, folder or "", recursive)
            if folder and not entries:
                self.say(404, {"error": "no such folder"}, {"X-Error-Code": "EntryNotFound"})
            else:
                self.say(200, entries)
        else:
            given = json.loads(body) if body[:1] == b"{" else parse_qs(body.decode())
            every = {entry["path"]: entry for entry in listed(files, "", True)}
            self.say(200, [every[path] for path in given["paths"] if path in every])

    def writes(self, path: str, body: bytes) -> bool:
        """Answers what creates and changes repositories; False if this is something else."""
        given = json.loads(body) if re.search(r"[/+]json$", self.headers.get("Content-Type", "")) else {}
        if path == "/api/validate-yaml":
            self.say(200, {"warnings": [], "errors": []})
        elif path == "/api/repos/create":
            self.create(f"{given['organization']}/{given['name']}", given)
        elif found := WRITE.fullmatch(path):
            self.write(*found.groups()[:3], given, body)
        elif found := BATCH.fullmatch(path):
            if self.may_write(found[1]):
                objects = [self.wanted(**wanted) for wanted in given["objects"]]
                self.say(200, {"transfer": "basic", "objects": objects})
        elif path.startswith("/upload/"):
            self.say(200 if self.hub.store(body).name == path.removeprefix("/upload/") else 400, {})
        else:
            return False
        return True

    def may_write(self, name: str) -> bool:
        """Or the hub's answer why not."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in (TOKEN, READER):
            self.say(401, {"error": "Invalid username or password."})
        elif token == READER or name.split("/")[0] != OWNER:
            words = f'You don\'t have the rights to create a model under the namespace "{name.split("/")[0]}"'
            self.say(403, {"error": words}, {"X-Error-Message": words})
        else:
            return True
        return False

    def create(self, name: str, given: dict) -> None:
        if not self.may_write(name):
            return
        url = {"url": f"{self.hub.url}/{name}"}
        if ("models", name) in self.hub.repositories:
            self.say(409, url | {"error": "You already created this model repo"})
            return
        self.hub.repositories["models", name] = Repository(private=given.get("visibility") == "private")
        attributes = "".join(f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LARGE)
        self.hub.commit_files("models", name, {".gitattributes": self.hub.store(attributes.encode())})
        self.say(200, url)

    def wanted(self, oid: str, size: int) -> dict:
        """Where to put a large file that is not here yet."""
        known = {"oid": oid, "size": size}
        if (self.hub.storage / oid).exists():
            return known
        return known | {"actions": {"upload": {"href": f"http://localhost:{self.hub.port}/upload/{oid}", "header": {}}}}

    def write(self, kind: str, name: str, what: str, given: dict, body: bytes) -> None:
        """Says which files are large, or makes a commit of the lines of `body`."""
        if not self.may_write(name) or not (found := self.allowed(kind, name, None)):
            return
        files = dict(found[0].newest)
        if what == "preupload":
            asked = [file["path"] for file in given["files"]]
            self.say(200, {"files": [known_file(path, files.get(path)) for path in asked]})
            return
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = self.hub.store(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.storage / value["oid"]
        commit = self.hub.commit_files(kind, name, files)
        self.say(200, {"commitOid": commit, "commitUrl": f"{self.hub.url}/{name}/commit/{commit}", "success": True})

    def resolve(self, kind: str | None, name: str, revision: str, file: str, fault: Fault | None) -> None:
        if not (found := self.allowed(kind or "models", name, revision)):
            return
        repository, commit = found
        if repository.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            words = f"Access to {name} is restricted. You must have access to it and be authenticated to access it."
            status = 403 if self.headers.get("Authorization") else 401
            self.say(status, {"error": words}, {"X-Error-Code": "GatedRepo", "X-Error-Message": words})
            return
        path = repository.commits[commit].get(file)
        headers = {"X-Repo-Commit": commit}
        if path is None:
            self.say(404, {"error": "Entry not found"}, headers | {"X-Error-Code": "EntryNotFound"})
        elif Path(file).suffix in LARGE:
            linked = {"X-Linked-ETag": f'"{digest(path)}"', "X-Linked-Size": str(path.stat().st_size)}
            place = {"Location": f"http://localhost:{self.hub.port}/storage{path}"}
            self.say(302, {}, headers | linked | place)
        else:
            self.file(path, headers, fault)

    def file(self, path: Path, headers: dict[str, str], fault: Fault | None) -> None:
        data, status = path.read_bytes(), 200
        size = len(data)
        headers |= {"ETag": f'"{digest(path)}"', "Accept-Ranges": "bytes"}
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(wanted[1]), min(int(wanted[2] or size), size - 1)
            if first >= size:
                self.say(416, {}, {"Content-Range": f"bytes */{size}"})
                return
            data, status = data[first : last + 1], 206
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self.say(status, data, headers, cut=fault.cut if fault else None)

    def say(self, status: int, body: object, headers: dict[str, str] | None = None, cut: int | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        origin = re.search(r"origin/([^;]*)", self.headers.get("User-Agent", ""))
        asked = Request(time.time(), self.command, self.path, status, origin[1] if origin else "")
        with self.hub.lock:
            self.hub.requests.append(asked)
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:cut])
        if cut is not None and cut < len(data):
            self.close_connection = True


def listed(files: dict[str, Path], folder: str, recursive: bool) -> list[dict]:
    """Files and folders below a folder, as the hub lists them."""
    start = f"{folder}/" if folder else ""
    inside = {name: path for name, path in files.items() if name.startswith(start)}
    entries: dict[str, dict] = {}
    for name, path in inside.items():
        parts = name.removeprefix(start).split("/")
        for depth in range(1, len(parts)):
            above = start + "/".join(parts[:depth])
            if recursive or depth == 1:
                entries[above] = {"type": "directory", "oid": "0" * 40, "size": 0, "path": above}
        if recursive or len(parts) == 1:
            size = path.stat().st_size
            entry = {"type": "file", "oid": digest(path)[:40], "size": size, "path": name}
            if Path(name).suffix in LARGE:
                entry["lfs"] = {"oid": digest(path), "size": size, "pointerSize": 134}
            entries[name] = entry
    return list(entries.values())


def known_file(name: str, path: Path | None) -> dict:
    """How it is to be uploaded, and the sum of the one that is here: of a small file, git's."""
    large = Path(name).suffix in LARGE
    known = {"path": name, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
    if path is None:
        return known
    data = path.read_bytes()
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return known | {"oid": digest(path) if large else git}


@cache
def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
