"""A model hub on this machine: the plain HTTP interface that `huggingface_hub` speaks, in memory.

Repositories have one branch, `main`; files whose names end in `.safetensors` are large files (LFS).
"""

import base64
import contextlib
import dataclasses
import hashlib
import http.server
import json
import re
import threading
import urllib.parse

import numpy as np
import pytest

LARGE = ".safetensors"


def write_model(folder, *, seed=0, head=False, run=None):
    """Writes the folder of a tiny model, and returns the folder."""
    import jax

    from clef_jax import mesh as mesh_lib
    from clef_jax.embedding import encoder as encoder_lib, folder as model_folder
    from clef_jax.embedding.head import Head

    mesh = mesh_lib.make_mesh(jax.devices()[:1])
    model = encoder_lib.random("tiny", mesh, seed=seed)
    if run is not None:
        model = dataclasses.replace(model, run=run)
    answers = None
    if head:
        arrays = np.ones((2, 16), np.float32), np.zeros(2, np.float32)
        answers = Head.of_classes(*arrays, layer="stage_2")
    return model_folder.save(model, folder, head=answers)


def contents(folder):
    """Returns the files of a folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def git_sha(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Repository:
    """The commits of a model, each a mapping of names to contents."""

    def __init__(self, *, private=False):
        self.private, self.commits, self.messages = private, {}, []
        self.add({".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")

    def add(self, files, message="by a test"):
        self.head = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[self.head] = dict(files)
        self.messages.append(message)
        return self.head

    @property
    def files(self):
        return self.commits[self.head]


class Hub:
    """The state of the hub, and the requests that it received."""

    def __init__(self):
        self.repositories, self.uploaded, self.requests = {}, {}, []
        self.token, self.gated, self.broken = None, set(), 0
        self.url = ""

    def put(self, name, files):
        """Commits files to a repository, which is made if there is none; returns the commit."""
        return self.repositories.setdefault(name, Repository()).add(files)

    def paths(self, *methods):
        return [path for method, path in self.requests if not methods or method in methods]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *arguments):
        pass

    def answer(self, status, body=b"", **headers):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        headers.setdefault("Content_Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def refuse(self, status, code, message=""):
        self.answer(status, {"error": message}, X_Error_Code=code, X_Error_Message=message)

    def handle_request(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.hub.broken:
            self.refuse(self.hub.broken, "ServerError", "the disk is full")
            return
        for pattern, respond in ROUTES:
            match = re.fullmatch(pattern, path)
            if match:
                respond(self, *match.groups())
                return
        self.answer(404, {"error": path})

    do_GET = do_HEAD = do_POST = do_PUT = handle_request

    def repository(self, name, revision="main"):
        """Returns a repository and a commit, or answers that there is none."""
        found = self.hub.repositories.get(name)
        may = self.hub.token is None or self.headers.get("Authorization") == self.hub.token
        if found is None or (found.private and not may):
            self.refuse(404, "RepoNotFound")
        elif name in self.hub.gated:
            self.refuse(403, "GatedRepo")
        elif revision != "main" and revision not in found.commits:
            self.refuse(404, "RevisionNotFound")
        else:
            return found, found.head if revision == "main" else revision
        return None, None

    def model(self, name, revision="main"):
        found, commit = self.repository(name, revision or "main")
        if found:
            siblings = [
                {"rfilename": n, "size": len(c), "blobId": git_sha(c), **lfs(n, c, "sha256")}
                for n, c in found.commits[commit].items()
            ]
            about = {"id": name, "sha": commit, "private": found.private, "siblings": siblings}
            self.answer(200, about)

    def tree(self, name, revision):
        found, commit = self.repository(name, revision)
        if found:
            entries = [
                {"type": "file", "path": n, "size": len(c), "oid": git_sha(c), **lfs(n, c, "oid")}
                for n, c in found.commits[commit].items()
            ]
            self.answer(200, entries)

    def file(self, name, revision, file):
        found, commit = self.repository(name, revision)
        if not found:
            return
        if file not in found.commits[commit]:
            self.refuse(404, "EntryNotFound")
            return
        content = found.commits[commit][file]
        digest = hashlib.sha256(content).hexdigest() if file.endswith(LARGE) else git_sha(content)
        self.answer(200, content, ETag=f'"{digest}"', X_Repo_Commit=commit)

    def create(self):
        asked = json.loads(self.body)
        if self.hub.token and self.headers.get("Authorization") != self.hub.token:
            self.refuse(401, "", "Invalid username or password.")
            return
        name = f"{asked['organization']}/{asked['name']}"
        private = asked.get("visibility") == "private" or asked.get("private", False)
        self.hub.repositories[name] = Repository(private=private)
        self.answer(200, {"url": f"{self.hub.url}/{name}", "name": name})

    def check_card(self):
        self.answer(200, {"errors": [], "warnings": []})

    def modes(self, name, revision):
        found, _ = self.repository(name, revision)
        if found:
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(self.body)["files"]
            ]
            self.answer(200, {"files": files})

    def large(self, name):
        objects = [
            {**item, "actions": {"upload": {"href": f"{self.hub.url}/upload/{item['oid']}"}}}
            for item in json.loads(self.body)["objects"]
        ]
        self.answer(200, {"transfer": "basic", "objects": objects})

    def upload(self, digest):
        assert hashlib.sha256(self.body).hexdigest() == digest
        self.hub.uploaded[digest] = self.body
        self.answer(200)

    def commit(self, name, revision):
        found, head = self.repository(name, revision)
        if not found:
            return
        header, *items = (json.loads(line) for line in self.body.splitlines())
        if header["value"].get("parentCommit") not in (None, head):
            self.refuse(412, "", "The parent commit is not the newest one.")
            return
        files = dict(found.files)
        for item in items:
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploaded[value["oid"]]
            else:
                del files[value["path"]]
        new = found.add(files, header["value"]["summary"])
        self.answer(200, {"commitUrl": f"{self.hub.url}/{name}/commit/{new}", "commitOid": new})


def lfs(name, content, digest):
    if not name.endswith(LARGE):
        return {}
    sha = hashlib.sha256(content).hexdigest()
    return {"lfs": {digest: sha, "size": len(content), "pointerSize": 134}}


NAME = r"([^/]+/[^/]+)"
ROUTES = (
    (rf"/api/models/{NAME}/tree/([^/]+)", Handler.tree),
    (rf"/api/models/{NAME}/revision/(.+)", Handler.model),
    (rf"/api/models/{NAME}/preupload/([^/]+)", Handler.modes),
    (rf"/api/models/{NAME}/commit/([^/]+)", Handler.commit),
    (rf"/api/models/{NAME}", Handler.model),
    (r"/api/repos/create", Handler.create),
    (r"/api/validate-yaml", Handler.check_card),
    (rf"/{NAME}/resolve/([^/]+)/(.+)", Handler.file),
    (rf"/{NAME}\.git/info/lfs/objects/batch", Handler.large),
    (r"/upload/([0-9a-f]+)", Handler.upload),
)


@contextlib.contextmanager
def serving():
    """Yields a hub that answers at its `url`."""
    hub = Hub()
    handler = type("Handler", (Handler,), {"hub": hub})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that `huggingface_hub` speaks to instead of a real one, with an empty cache."""
    client = pytest.importorskip("huggingface_hub")
    pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr(client.constants, "HF_TOKEN_PATH", str(tmp_path / "no_token"))
    monkeypatch.setattr(client.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(client.constants, "HF_HUB_DISABLE_XET", True)
    with serving() as stand_in:
        monkeypatch.setattr(client.constants, "ENDPOINT", stand_in.url)
        template = stand_in.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(client.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield stand_in
        client.close_session()
