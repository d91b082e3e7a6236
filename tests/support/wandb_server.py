"""A server on localhost that answers what wandb asks of its own, as far as the tests go."""

import gzip
import json
import re
import threading
from base64 import b64encode
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
        summaries: Of each run, what is not in its history.
        artifacts: By name, the versions of each.
        stored: Files of artifacts that were uploaded.
        used: Pairs of a run and the artifact it has used.
        views: Workspaces and reports, by name.
        refused: Operation that is answered with an error, and the error.
    """

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.history: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        self.summaries: dict[str, dict[str, Any]] = defaultdict(dict)
        self.artifacts: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.used: set[tuple[str, str]] = set()
        self.stored: set[str] = set()
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
            "id": "B",
            "name": given["name"],
            "displayName": run["displayName"],
            "logLineCount": 0,
            "historyLineCount": len(rows),
            "eventsLineCount": 0,
            "historyTail": json.dumps(tail),
            "eventsTail": "[]",
            "config": run["config"],
            "summaryMetrics": "{}",
            "tags": run["tags"],
            "notes": None,
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

    def _createArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        about = given["input"]
        (name,) = about.get("artifactCollectionNames") or [about["artifactCollectionName"]]
        versions = self.artifacts[name]
        aliases = {alias["alias"] for alias in about.get("aliases") or ()}
        versions.append({**about, "id": f"{name}:v{len(versions)}", "aliases": aliases})
        before = {"id": versions[-2]["id"], "versionIndex": 0} if len(versions) > 1 else None
        created: dict[str, Any] = {"id": versions[-1]["id"], "state": "PENDING"}
        return {
            "createArtifact": {
                "artifact": {**created, "artifactSequence": {"latestArtifact": before}}
            }
        }

    def _createArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:
        file = {"id": "F", "uploadUrl": f"{self.url}/up", "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "M", "file": file}}}

    def _updateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:
        file = {"id": "F", "uploadUrl": f"{self.url}/up", "uploadHeaders": []}
        return {"updateArtifactManifest": {"artifactManifest": {"id": "M", "file": file}}}

    def _createArtifactFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        files = given["input"]["artifactFiles"]
        self.stored |= {file["name"] for file in files}
        nodes = [
            {
                "storagePath": file["name"],
                "uploadUrl": f"{self.url}/up",
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": file["artifactID"]},
            }
            for file in files
        ]
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _commitArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": ""}}}

    def _clientIDMapping(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"clientIDMapping": {"serverID": given["clientID"]}}

    def _useArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        about = given.get("input", given)
        self.used.add((about["runName"], about["artifactID"]))
        return {"useArtifact": {"artifact": {"id": about["artifactID"]}}}

    def _project(self, given: dict[str, Any]) -> dict[str, Any]:
        """What there is in a project; a query asks for one of these."""
        project = given.get("project") or given.get("projectName") or given.get("name")
        entity = given.get("entity") or given.get("entityName")
        if project not in self.projects or entity != ENTITY:
            return {"project": None}
        here = {"id": "P", "internalId": "1", "name": project, "entity": {"name": ENTITY}}
        views = [{"node": view} for view in self.views.values()]
        runs = [{"node": self._node(name), "cursor": name} for name in self.runs]
        found: dict[str, Any] = {**here, "readOnly": False, "runCount": len(runs), "artifact": None}
        page = {"endCursor": None, "hasNextPage": False}
        found["runs"] = {"edges": runs, "pageInfo": page}
        found["allViews"] = {"edges": views, "pageInfo": page}
        found["artifactCollectionMembership"] = self._membership(str(given.get("name")), here)
        return {"project": found}

    def _node(self, name: str) -> dict[str, Any]:
        """A run as lists of runs have it."""
        run, rows = self.runs[name], self.history[name]
        summary = {key: value for number in sorted(rows) for key, value in rows[number].items()}
        return {
            "projectId": 1,
            "id": name,
            "name": name,
            "displayName": run["displayName"],
            "tags": run["tags"] or [],
            "state": "finished",
            "config": run["config"] or "{}",
            "group": run["groupName"],
            "jobType": run["jobType"],
            "sweepName": None,
            "createdAt": "2026-01-01T00:00:00",
            "heartbeatAt": None,
            "systemMetrics": "{}",
            "summaryMetrics": json.dumps({**summary, **self.summaries[name]}),
            "user": {"name": ENTITY, "username": ENTITY},
            "historyLineCount": len(rows),
            "commit": None,
            "readOnly": False,
            "description": None,
            "notes": None,
        }

    def _membership(self, name: str, project: dict[str, Any]) -> dict[str, Any] | None:
        """The version of an artifact that has an alias."""
        collection, _, alias = name.partition(":")
        found = [a for a in self.artifacts.get(collection, ()) if alias in a["aliases"]]
        if not found:
            return None
        sequence = {"__typename": "ArtifactSequence", "name": collection, "project": project}
        artifact = {
            "__typename": "Artifact",
            "id": found[-1]["id"],
            "artifactSequence": sequence,
            "versionIndex": 0,
            "artifactType": {"name": "model"},
            "description": None,
            "metadata": "{}",
            "ttlDurationSeconds": 0,
            "ttlIsInherited": False,
            "tags": [],
            "historyStep": None,
            "state": "COMMITTED",
            "size": 0,
            "digest": "",
            "digestAlgorithm": "MANIFEST_MD5",
            "commitHash": None,
            "fileCount": 1,
            "createdAt": "2026-01-01T00:00:00",
            "updatedAt": None,
        }
        return {
            "__typename": "ArtifactCollectionMembership",
            "id": "C",
            "versionIndex": 0,
            "createdAt": "2026-01-01T00:00:00",
            "aliases": [],
            "artifactCollection": sequence,
            "artifact": artifact,
        }

    def _models(self, given: dict[str, Any]) -> dict[str, Any]:
        """The projects of an entity."""
        fields = {
            "entityName": ENTITY,
            "createdAt": "2026-01-01T00:00:00",
            "isBenchmark": False,
            "user": None,
        }
        edges = [{"node": {"id": "P", "name": name, **fields}} for name in self.projects]
        page = {"endCursor": None, "hasNextPage": False}
        return {"models": {"edges": edges, "pageInfo": page}}

    def _upsertView(self, given: dict[str, Any]) -> dict[str, Any]:
        number = given.get("id") or b64encode(f"View:{len(self.views)}".encode()).decode()
        self.views[number] = {**given, "id": number, "updatedAt": "2026-01-01T00:00:00"}
        project = {"id": "P", "name": given["projectName"], "entityName": given["entityName"]}
        return {
            "upsertView": {"view": {**self.views[number], "project": project}, "inserted": True}
        }

    def _view(self, given: dict[str, Any]) -> dict[str, Any]:
        view = self.views[given["reportId"]]
        project = {"id": "P", "name": view["projectName"], "entityName": view["entityName"]}
        return {"view": {**view, "project": project}}

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
                answer = {"data": None, "errors": [{"message": state.refused[name]}]}
                self._reply(answer, 403)
            else:
                given = query.get("variables") or {}
                self._reply({"data": state.answer(name, given)})

        def _content(self) -> bytes:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            return gzip.decompress(content) if self.headers.get("content-encoding") else content

        def _reply(self, answer: Any, code: int = 200) -> None:
            content = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that are gone
    state.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("WANDB_BASE_URL", state.url)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        import wandb

        wandb.teardown()
        server.shutdown()
        server.server_close()
        thread.join()
