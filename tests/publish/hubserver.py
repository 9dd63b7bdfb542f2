"""A small hub on 127.0.0.1: repositories in memory, the routes that the real client asks for.

It stores what is uploaded (LFS by PUT; xet chunks go to a local folder that the client writes
itself), makes a commit a POST, serves every revision, and can be told to fail.
"""

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from hubstate import LARGE, USERS, Blob, Fault, Hub, Repo, git_sha1, in_xet, pointer


@contextmanager
def serving(folder: Path) -> Iterator[Hub]:
    """A hub that answers at `hub.url` while the block runs."""
    hub = Hub(folder)

    class Bound(Handler):
        pass

    Bound.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


ROUTES: list[tuple[str, re.Pattern[str], str]] = []
NAME = r"(?P<name>[^/]+/[^/]+)"
KIND = r"(?P<kind>models|datasets)"
PREFIX = r"/(?:(?P<kind>datasets)/)?"


def route(method: str, pattern: str):
    def keep(function):
        ROUTES.append((method, re.compile(pattern), function.__name__))
        return function

    return keep


class Answer(Exception):
    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._go()

    do_HEAD = do_POST = do_PUT = do_GET

    def _go(self) -> None:
        parts = urlsplit(self.path)
        path, self.query = unquote(parts.path), parse_qs(parts.query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.hub.lock:
            self.hub.asked.append((self.command, path, len(self.body)))
            fault = next((f for f in self.hub.faults if self._hit(f, path)), None)
            if fault is not None:
                fault.times -= 1
        if fault is not None and self._broken(fault):
            return
        for method, pattern, name in ROUTES:
            found = pattern.fullmatch(path)
            if found and (method == self.command or (method, self.command) == ("GET", "HEAD")):
                try:
                    with self.hub.lock:
                        answer = getattr(self, name)(**found.groupdict())
                except Answer as refused:
                    told = {"X-Error-Code": refused.code, "X-Error-Message": str(refused)}
                    self._json({"error": str(refused)}, refused.status, told)
                    return
                if fault is not None and fault.what == "lost":
                    self.close_connection = True
                    self.connection.close()
                    return
                if isinstance(answer, bytes):
                    self._bytes(answer)
                elif answer is not None:
                    self._json(answer)
                return
        self._json({"error": f"no route {self.command} {path}"}, 404)

    def _hit(self, fault: Fault, path: str) -> bool:
        return (
            fault.times > 0
            and fault.method == self.command
            and re.search(fault.path, path) is not None
        )

    def _broken(self, fault: Fault) -> bool:
        if fault.what == "reset":
            self.close_connection = True
            self.connection.close()
            return True
        if fault.what == "hang":
            self.hub.hanging.set()
            self.hub.go_on.wait(60)
            return False
        if callable(fault.what):
            fault.what()
        elif isinstance(fault.what, int):
            self._json(
                {"error": f"injected, {self.headers.get('Authorization')}"},
                fault.what,
                fault.headers,
            )
            return True
        return False

    def _json(self, value: object, status: int = 200, headers: dict[str, str] | None = None):
        self._bytes(json.dumps(value).encode(), status, headers, "application/json")

    def _bytes(
        self,
        content: bytes,
        status: int = 200,
        headers: dict[str, str] | None = None,
        kind: str = "application/octet-stream",
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    # who asks, and for what

    def _user(self) -> dict | None:
        bearer = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return USERS.get(bearer)

    def _repo(self, kind: str | None, name: str) -> Repo:
        found = self.hub.repos.get(((kind or "models").removesuffix("s"), name))
        if found is None or (found.private and self._user() is None):
            raise Answer(404, "Repository not found", "RepoNotFound")
        return found

    def _writable(self, kind: str | None, name: str) -> Repo:
        repo, user = self._repo(kind, name), self._user()
        owners = [user["name"], *(o["name"] for o in user["orgs"])] if user else []
        if user is None or user["role"] == "read" or name.partition("/")[0] not in owners:
            raise Answer(403, "You don't have the required permissions to write here")
        return repo

    @route("GET", r"/api/whoami-v2")
    def whoami(self):
        user = self._user()
        if user is None:
            raise Answer(401, "Invalid credentials in Authorization header")
        token = {"displayName": "test", "role": user["role"]}
        auth = {"type": "access_token", "accessToken": token}
        return {"type": "user", "name": user["name"], "orgs": user["orgs"], "auth": auth}

    @route("POST", r"/api/repos/create")
    def create(self):
        asked, user = json.loads(self.body), self._user()
        owner = asked.get("organization") or (user or {}).get("name")
        kind, name = asked.get("type") or "model", f"{owner}/{asked['name']}"
        if user is None or owner not in [user["name"], *(o["name"] for o in user["orgs"])]:
            raise Answer(403, f"You don't have the rights to create a {kind} under {owner!r}")
        if (kind, name) in self.hub.repos:
            raise Answer(409, "You already created this repo")
        self.hub.repo(kind, name).private = asked.get("visibility") == "private"
        return {"url": f"{self.hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}"}

    @route("POST", r"/api/validate-yaml")
    def validate(self):
        asked = json.loads(self.body)
        if not asked["content"].startswith("---\n"):
            return {"errors": [], "warnings": [{"message": "empty or missing yaml metadata"}]}
        if "license: nonsense" in asked["content"]:
            self._json({"errors": [{"message": '"license" must be known'}]}, 400)
            return None
        return {"errors": [], "warnings": []}

    @route("GET", rf"/api/{KIND}/{NAME}(?:/revision/(?P<revision>[^/]+))?")
    def info(self, kind, name, revision=None):
        repo = self._repo(kind, name)
        sha = self._sha(repo, revision or "main")
        siblings = [{"rfilename": path} for path in repo.commits[sha]]
        return {"id": name, "sha": sha, "private": repo.private, "siblings": siblings, "tags": []}

    def _sha(self, repo: Repo, revision: str) -> str:
        sha = repo.head if revision in {"main", "refs/convert/main"} else revision
        if sha not in repo.commits:
            raise Answer(404, "Invalid rev id", "RevisionNotFound")
        return sha

    def _entry(self, path: str, blob: Blob) -> dict:
        oid = git_sha1(blob.content if blob.lfs is None else pointer(blob))
        told = {"type": "file", "path": path, "size": blob.size, "oid": oid}
        if blob.lfs is not None:
            told["lfs"] = {"oid": blob.lfs, "size": blob.size, "pointerSize": len(pointer(blob))}
        return told

    @route("GET", rf"/api/{KIND}/{NAME}/tree/(?P<revision>[^/]+)(?:/(?P<below>.*))?")
    def tree(self, kind, name, revision, below=None):
        repo = self._repo(kind, name)
        files = repo.commits[self._sha(repo, revision)]
        prefix = f"{below}/" if below else ""
        found = {path: blob for path, blob in files.items() if path.startswith(prefix)}
        if below and not found:
            raise Answer(404, f"{below} does not exist", "EntryNotFound")
        deep = self.query.get("recursive", ["false"])[0].lower() in {"true", "1"}
        entries, folders = [], dict[str, None]()
        for path, blob in found.items():
            inner = path.removeprefix(prefix).split("/")
            folders |= {prefix + "/".join(inner[:n]): None for n in range(1, len(inner))}
            if deep or len(inner) == 1:
                entries.append(self._entry(path, blob))
        shown = [f for f in folders if deep or "/" not in f.removeprefix(prefix)]
        return entries + [
            {"type": "directory", "path": f, "oid": "0" * 40, "size": 0} for f in shown
        ]

    @route("POST", rf"/api/{KIND}/{NAME}/paths-info/(?P<revision>[^/]+)")
    def paths_info(self, kind, name, revision):
        repo = self._repo(kind, name)
        files = repo.commits[self._sha(repo, revision)]
        if "json" in self.headers.get("Content-Type", ""):
            paths = json.loads(self.body)["paths"]
        else:
            paths = parse_qs(self.body.decode())["paths"]
        found = [self._entry(p, files[p]) for p in paths if p in files]
        folders = [p for p in paths if any(path.startswith(f"{p}/") for path in files)]
        return found + [{"type": "directory", "path": p, "oid": "0" * 40} for p in folders]

    @route("GET", rf"{PREFIX}{NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
    def resolve(self, kind, name, revision, path):
        repo = self._repo(kind or "models", name)
        sha = self._sha(repo, revision)
        blob = repo.commits[sha].get(path)
        if blob is None:
            raise Answer(404, "Entry not found", "EntryNotFound")
        headers = {"X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        content = self.hub.content(blob)
        headers["ETag"] = f'"{blob.lfs or git_sha1(content)}"'
        if blob.lfs is not None and blob.lfs not in self.hub.lfs:
            headers |= self._xet_headers(blob, kind or "models", name)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked is None:
            self._bytes(content, 200, headers)
            return None
        first, last = int(asked[1]), int(asked[2] or len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self._bytes(content[first : last + 1], 206, headers)
        return None

    def _xet_headers(self, blob: Blob, kind: str, name: str) -> dict[str, str]:
        """Where the client finds the chunks, to put them together itself."""
        route = f"{self.hub.url}/api/{kind}/{name}/xet-read-token/main"
        told = {"X-Xet-Hash": in_xet(self.hub.xet)[blob.lfs], "X-Xet-Refresh-Route": route}
        told |= {"Link": f'<{route}>; rel="xet-auth"', "X-Linked-Etag": f'"{blob.lfs}"'}
        return told | {"X-Linked-Size": str(blob.size)}

    @route("POST", rf"/api/{KIND}/{NAME}/preupload/(?P<revision>[^/]+)")
    def preupload(self, kind, name, revision):
        repo, modes = self._writable(kind, name), []
        for one in json.loads(self.body)["files"]:
            large = one["path"].endswith(LARGE) or one["size"] > 10_000_000
            there = repo.files.get(one["path"])
            oid = None
            if there is not None:
                oid = there.lfs or git_sha1(there.content)
            mode = "lfs" if large else "regular"
            modes.append(
                {"path": one["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}
            )
        return {"files": modes}

    @route("POST", rf"{PREFIX}{NAME}\.git/info/lfs/objects/batch")
    def batch(self, kind, name):
        self._writable(kind or "models", name)
        objects = []
        for one in json.loads(self.body)["objects"]:
            told = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.lfs:
                href = f"{self.hub.url}/lfs/{one['oid']}?X-Amz-Signature=secret"
                told["actions"] = {
                    "upload": {"href": href},
                    "verify": {"href": f"{self.hub.url}/lfs-verify"},
                }
            objects.append(told)
        return {"transfer": "basic", "objects": objects}

    @route("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})")
    def put(self, oid):
        assert "Authorization" not in self.headers, "the token goes to the hub alone"
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Answer(400, "the content is not what its address says")
        self.hub.lfs[oid] = self.body
        return b""

    @route("POST", r"/lfs-verify")
    def verify(self):
        asked = json.loads(self.body)
        if len(self.hub.lfs.get(asked["oid"], b"")) != asked["size"]:
            raise Answer(404, "not there")
        return {}

    @route("GET", rf"/api/{KIND}/{NAME}/xet-(?P<mode>read|write)-token/(?P<revision>[^/]+)")
    def xet_token(self, kind, name, mode, revision):
        (self._writable if mode == "write" else self._repo)(kind, name)
        self.hub.xet.mkdir(exist_ok=True)
        cas, until = f"local://{self.hub.xet}", int(time.time()) + 3600
        told = {"X-Xet-Cas-Url": cas, "X-Xet-Access-Token": "x", "X-Xet-Token-Expiration": until}
        body = {"casUrl": cas, "accessToken": "x", "exp": until}
        self._json(body, 200, {name: str(value) for name, value in told.items()})

    @route("POST", rf"/api/{KIND}/{NAME}/commit/(?P<revision>[^/]+)")
    def commit(self, kind, name, revision):
        repo = self._writable(kind, name)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit") not in {None, repo.head}:
            raise Answer(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repo.files)
        for line in lines[1:]:
            told = line["value"]
            if line["key"] == "file":
                content = base64.b64decode(told["content"])
                files[told["path"]] = Blob(content, None, len(content))
            elif line["key"] == "lfsFile":
                if told["oid"] not in self.hub.lfs and told["oid"] not in in_xet(self.hub.xet):
                    raise Answer(400, f"{told['path']}: its content was never uploaded")
                files[told["path"]] = Blob(b"", told["oid"], told["size"])
            elif line["key"] == "deletedFile" and files.pop(told["path"], None) is None:
                raise Answer(404, "A file with this name doesn't exist", "EntryNotFound")
        sha = repo.commit(files, header["summary"])
        url = f"{self.hub.url}/{name}/commit/{sha}"
        return {"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""}
