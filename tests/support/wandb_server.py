"""A server on localhost that answers what wandb asks of its own, as far as the tests go."""

import gzip
import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

ENTITY = "lab"


class WandbServer:
    """What has been uploaded.

    Attributes:
        runs: By id: what `upsertBucket` has said of each.
        history: Rows of each run, by id and place in its file.
        artifacts: By name, the versions of each.
        used: Pairs of a run and the artifact it has used.
        views: Workspaces and reports, by name.
        refused: Operation that is answered with an error, and the error.
    """

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.history: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        self.artifacts: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.used: set[tuple[str, str]] = set()
        self.views: dict[str, dict[str, Any]] = {}
        self.projects = {"cast_exp"}
        self.refused: dict[str, str] = {}
        self.unknown: list[str] = []
        self.url = ""

    def answer(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL operation."""
        method = getattr(self, f"_{name}", None)
        if method is None:
            self.unknown.append(name)
            return {}
        found: dict[str, Any] = method(given)
        return found

    def _viewer(self, given: dict[str, Any]) -> dict[str, Any]:
        user = {"id": "U", "entity": ENTITY, "username": ENTITY, "name": ENTITY, "email": ""}
        return {"viewer": {**user, "flags": "{}", "teams": {"edges": []}, "admin": False}}

    def _serverInfo(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": [], "latestLocalVersionInfo": None}}

    def _entity(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"entity": {"organization": None}}

    def _model(self, given: dict[str, Any]) -> dict[str, Any]:
        """Where a run that is resumed goes on."""
        run = self.runs.get(given["name"])
        if run is None:
            return {"model": None}
        rows = self.history[given["name"]]
        tail = [json.dumps(rows[max(rows)])] if rows else []
        bucket = {
            **{"id": "B", "name": given["name"], "displayName": run["displayName"]},
            **{"logLineCount": 0, "historyLineCount": len(rows), "eventsLineCount": 0},
            **{"historyTail": json.dumps(tail), "eventsTail": "[]", "config": run["config"]},
            **{"summaryMetrics": "{}", "tags": run["tags"], "notes": None},
            "wandbConfig": json.dumps({"t": 1}),
        }
        return {"model": {"id": "P", "name": given["project"], "entity": {}, "bucket": bucket}}

    def _upsertBucket(self, given: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.setdefault(given["name"], defaultdict(lambda: None))
        run.update({key: value for key, value in given.items() if value is not None})
        entity = {"id": "E", "name": given["entity"] or ENTITY}
        project = {"id": "P", "name": given["project"], "entity": entity}
        bucket = {"id": "B", "name": given["name"], "displayName": run["displayName"]}
        rest = {"config": run["config"] or "{}", "sweepName": None, "historyLineCount": 0}
        return {
            "upsertBucket": {"bucket": {**bucket, **rest, "project": project}, "inserted": True}
        }

    def _createRunFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": f"{self.url}/up"} for name in given["files"]]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}

    def receive(self, path: str, content: dict[str, Any]) -> None:
        """Take in lines of the files of a run."""
        if match := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", path):
            chunk = content.get("files", {}).get("wandb-history.jsonl")
            for number, line in enumerate(chunk["content"] if chunk else ()):
                self.history[match[1]][chunk["offset"] + number] = json.loads(line)


@contextmanager
def wandb_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A server that wandb takes for its own for as long as the test lasts."""
    state = WandbServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_PUT(self) -> None:
            self._content()
            self._reply({})

        def do_POST(self) -> None:
            content = self._content()
            if self.path != "/graphql":
                if "file_stream" in self.path:
                    state.receive(self.path, json.loads(content))
                self._reply({})
                return
            query = json.loads(content)
            text = " ".join(query["query"].split())
            name = re.search(r"\{ ?(?:\w+ ?: ?)?(\w+)", text)[1]
            if name in state.refused:
                self._reply({"data": None, "errors": [{"message": state.refused[name]}]})
            else:
                given = query.get("variables") or {}
                self._reply({"data": state.answer(name, given)})

        def _content(self) -> bytes:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            return gzip.decompress(content) if self.headers.get("content-encoding") else content

        def _reply(self, answer: Any) -> None:
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("WANDB_BASE_URL", state.url)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
