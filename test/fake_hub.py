"""A Hugging Face Hub on this machine: as much of its protocol as its real client needs to upload and download."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

TOKEN = 'hf_may_write'  # noqa: S105 - of nobody
OWNER = 'robots'


class FakeHub:
    """Serves repositories of models from memory.

    Attributes:
        endpoint: Its address.
        files: Content by repository and name.
        private: Whether a repository is, by its name.
        commits: Message and names of every commit.
    """

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.commits: list[tuple[str, list[str]]] = []
        self.large: dict[str, bytes] = {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_HEAD(self) -> None:
                hub.answer(self, b'')

            def do_GET(self) -> None:
                hub.answer(self, b'')

            def do_POST(self) -> None:
                hub.answer(self, self.rfile.read(int(self.headers.get('Content-Length', 0))))

            def do_PUT(self) -> None:
                self.do_POST()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f'http://127.0.0.1:{self._server.server_port}'

    def __enter__(self) -> FakeHub:  # noqa: PYI034 - Self needs Python 3.11
        threading.Thread(target=self._server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def commit(self) -> str:
        return hashlib.sha1(repr(self.commits).encode()).hexdigest()  # noqa: S324 - as git does

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        path = request.path.partition('?')[0]
        if found := re.fullmatch(r'/(\w+/[\w.-]+)/resolve/\w+/(.+)', path):
            content = self.files.get(found[1], {}).get(found[2])
            send(request, 404 if content is None else 200, content or b'', self.commit)
        elif path == '/':
            send(request, 200, b'')
        elif path.startswith('/large/'):
            self.large[path.removeprefix('/large/')] = body
            send(request, 200, b'')
        elif request.headers.get('Authorization') != f'Bearer {TOKEN}':
            send(request, 401, b'{"error": "Invalid credentials in Authorization header"}')
        else:
            status, said = self.api(path, body)
            send(request, status, json.dumps(said).encode())

    def api(self, path: str, body: bytes) -> tuple[int, Any]:
        if path == '/api/repos/create':
            return self.create(json.loads(body))
        if path == '/api/validate-yaml':
            return 200, {'errors': [], 'warnings': []}
        if found := re.fullmatch(r'/(\w+/[\w.-]+)\.git/info/lfs/objects/batch', path):
            objects = json.loads(body)['objects']
            for each in objects:
                each['actions'] = {'upload': {'href': f'{self.endpoint}/large/{each["oid"]}', 'header': {}}}
            return 200, {'transfer': 'basic', 'objects': objects}
        found = re.fullmatch(r'/api/models/(\w+/[\w.-]+?)(?:/(preupload|commit|revision|tree)/\w+)?', path)
        if found is None or found[1] not in self.files:
            return 404, {'error': 'Repository not found'}
        return self.of_repository(found[1], found[2], body)

    def of_repository(self, repository: str, verb: str | None, body: bytes) -> tuple[int, Any]:
        if verb == 'preupload':
            names = [each['path'] for each in json.loads(body)['files']]
            modes = [(name, 'lfs' if name.endswith('.safetensors') else 'regular') for name in names]
            return 200, {'files': [{'path': name, 'uploadMode': mode, 'shouldIgnore': False} for name, mode in modes]}
        if verb == 'commit':
            self.accept(repository, [json.loads(line) for line in body.splitlines()])
            return 200, {'commitUrl': f'{self.endpoint}/{repository}/commit/{self.commit}', 'commitOid': self.commit}
        files = self.files[repository]
        if verb == 'tree':
            sizes = [(name, len(content), hashlib.sha256(content).hexdigest()) for name, content in files.items()]
            return 200, [{'type': 'file', 'path': name, 'size': size, 'oid': oid} for name, size, oid in sizes]
        return 200, {
            'id': repository, 'private': self.private[repository], 'sha': self.commit, 'tags': [], 'downloads': 0,
            'likes': 0, 'siblings': [{'rfilename': name} for name in files],
        }  # fmt: skip

    def create(self, wanted: dict[str, Any]) -> tuple[int, Any]:
        repository = f'{wanted.get("organization") or OWNER}/{wanted["name"]}'
        if wanted.get('organization', OWNER) != OWNER:
            return 403, {'error': 'You do not have the rights to create a model there'}
        if repository in self.files:
            return 409, {'error': 'You already created this model repo', 'url': f'{self.endpoint}/{repository}'}
        self.files[repository] = {}
        self.private[repository] = bool(wanted.get('private', wanted.get('visibility') == 'private'))
        return 200, {'url': f'{self.endpoint}/{repository}'}

    def accept(self, repository: str, lines: list[dict[str, Any]]) -> None:
        files = self.files[repository]
        header, *changes = ((line['key'], line['value']) for line in lines)
        for key, value in changes:
            if key == 'file':
                files[value['path']] = base64.b64decode(value['content'])
            elif key == 'lfsFile':
                files[value['path']] = self.large[value['oid']]
            else:
                del files[value['path']]
        self.commits.append((header[1]['summary'], sorted(value['path'] for _, value in changes)))


def send(request: BaseHTTPRequestHandler, status: int, content: bytes, commit: str = '') -> None:
    request.send_response(status)
    request.send_header('Content-Length', str(len(content)))
    request.send_header('ETag', f'"{hashlib.sha256(content).hexdigest()}"')
    request.send_header('X-Repo-Commit', commit)
    if status == 404:
        request.send_header('X-Error-Code', 'EntryNotFound')
    request.end_headers()
    if request.command != 'HEAD':
        request.wfile.write(content)
