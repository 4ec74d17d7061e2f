# SPDX-License-Identifier: LGPL-2.1-or-later
"""Registries for the flow tests: Debian's docker-registry, and one of our own that can misbehave; both live in the
engine's network namespace."""
import base64
import http.server
import json
import shutil
import socket
import subprocess
import threading
import urllib.parse

import images
from engine import in_namespace, until

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker.distribution.manifest."


def free_port(engine):
    def find():
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]
    return in_namespace(engine.namespace, find)


class RealRegistry:
    """docker-registry (Debian). extra: lines of its configuration."""

    def __init__(self, engine, place, host="127.0.0.1", extra="", http_extra=""):
        self.port = free_port(engine)
        self.name = f"{host}:{self.port}"
        place.mkdir(parents=True)
        (place / "config.yml").write_text(
            f"version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {place}/data}}\n"
            f"http:\n  addr: {host}:{self.port}\n{http_extra}{extra}")
        with open(place / "log", "wb") as log:
            self.process = subprocess.Popen(
                [*engine.enter(), shutil.which("docker-registry") or "docker-registry", "serve", place / "config.yml"],
                pass_fds=[engine.namespace], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def answers():
            with socket.socket() as s:
                return s.connect_ex((host, self.port)) == 0
        until("docker-registry answers", lambda: in_namespace(engine.namespace, answers))

    def close(self):
        self.process.kill()
        self.process.wait()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def send(self, status, body=b"", kind="application/json", **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error_code(self, status, code, message, **headers):
        self.send(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), **headers)

    def send_blob(self, data):
        wanted = self.headers.get("Range")
        if wanted and self.server.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send(206, data[start:], "application/octet-stream",
                      Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send(200, data, "application/octet-stream")

    def serve(self):
        server = self.server
        with server.lock:
            server.requests.append((self.command, self.path, dict(self.headers)))
        try:
            if server.fault and server.fault(self):
                return
            self.route()
        except (BrokenPipeError, ConnectionResetError):
            pass

    def route(self):
        path = urllib.parse.urlparse(self.path).path
        if path == "/v2/":
            return self.send(200, b"{}")
        if path == "/token":
            return self.server.issue(self)
        name, kind, ref = ("//" + path.removeprefix("/v2/")).rsplit("/", 2)
        name = name.removeprefix("//")
        if kind == "blobs" and ref in self.server.blobs:
            return self.send_blob(self.server.blobs[ref])
        if kind == "manifests" and (name, ref) in self.server.manifests:
            media_type, data = self.server.manifests[name, ref]
            return self.send(200, data, media_type, Docker_Content_Digest=images.digest(data))
        if kind == "tags":
            return self.send(200, json.dumps({"tags": [t for n, t in self.server.manifests if n == name and ":" not in t]}).encode())
        if kind == "manifests":
            return self.send_error_code(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return self.send_error_code(404, "BLOB_UNKNOWN", "blob unknown to registry")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = serve


class FakeRegistry(http.server.ThreadingHTTPServer):
    """Serves what it is given; fault(handler) may answer a request in another way and returns True then."""
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, engine, host="127.0.0.1"):
        in_namespace(engine.namespace, lambda: super(FakeRegistry, self).__init__((host, 0), Handler))
        self.host = f"{host}:{self.server_address[1]}"
        self.blobs, self.manifests, self.requests, self.fault, self.ranges = {}, {}, [], None, True
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def handle_error(self, request, client_address):
        pass

    def close(self):
        self.shutdown()
        self.server_close()

    def add_blob(self, data):
        self.blobs[images.digest(data)] = data
        return {"digest": images.digest(data), "size": len(data)}

    def add_manifest(self, name, tag, document, media_type):
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        for ref in {tag, images.digest(data)} - {None}:
            self.manifests[name, ref] = (media_type, data)
        return {"mediaType": media_type, "digest": images.digest(data), "size": len(data)}

    def add_image(self, name, tag, layers, pack=None, settings=None, change=None, **config):
        """pack: compresses a layer; change(manifest) may spoil it. Returns the descriptor."""
        document = json.loads(images.config(layers, settings))
        document.update(config)
        described = [{"mediaType": OCI + "layer.v1.tar", **self.add_blob(pack(data) if pack else data)}
                     for data in layers]
        manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
                    "config": {"mediaType": OCI + "config.v1+json", **self.add_blob(json.dumps(document).encode())},
                    "layers": described}
        if change:
            change(manifest)
        return self.add_manifest(name, tag, manifest, OCI + "manifest.v1+json")

    def count(self, method, part):
        with self.lock:
            return sum(1 for m, path, _ in self.requests if m == method and part in path)

    # --- tokens, as distribution's specification has them
    def require_token(self, user=None, password=None, identity=None):
        """Every request needs a token for its repository; with a user only that one gets tokens that are worth something.
        identity: what stands for the password after a login."""
        self.user, self.password, self.identity, self.asked = user, password, identity, []

        def fault(handler):
            path = urllib.parse.urlparse(handler.path).path
            if path == "/token":
                return False
            given = handler.headers.get("Authorization", "")
            needed = "" if path == "/v2/" else path.removeprefix("/v2/").rsplit("/", 2)[0].removesuffix("/blobs")
            if given == f"Bearer good-{needed}" or (given.startswith("Bearer good-") and not needed):
                return False
            scope = f',scope="repository:{needed}:pull"' if needed else ""
            error = ',error="insufficient_scope"' if given else ""
            handler.send_error_code(401, "UNAUTHORIZED", "authentication required",
                                    WWW_Authenticate=f'Bearer realm="http://{self.host}/token",service="test"{scope}{error}')
            return True
        self.fault = fault

    def issue(self, handler):
        text = urllib.parse.urlparse(handler.path).query
        if handler.command == "POST":
            text = handler.rfile.read(int(handler.headers["Content-Length"])).decode()
        query = urllib.parse.parse_qs(text)
        self.asked.append(query)
        given = handler.headers.get("Authorization", "")
        good = "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if self.user and given and given != good:
            return handler.send_error_code(401, "UNAUTHORIZED", "incorrect username or password")
        name = query.get("scope", ["repository::"])[0].split(":")[1]
        known = given or query.get("refresh_token") == [self.identity]
        answer = {"token": f"{'bad' if self.user and not known else 'good'}-{name}", "expires_in": 60}
        if handler.command == "POST":
            answer["access_token"] = answer.pop("token")
        if self.identity and query.get("offline_token") == ["true"]:
            answer["refresh_token"] = self.identity
        return handler.send(200, json.dumps(answer).encode())
