"""A bucket of Google Cloud Storage on this machine, spoken to over HTTP as the real one is.

orbax's tensorstore and array_record bring their own clients, which look for it where their
variables for emulators say. etils needs gcsfs: the real one where it is installed, else a stand-in
over the same objects. No real bucket was at hand.

An object appears when all of it has arrived; there are no folders but the beginnings of names.
"""

import contextlib
import email
import importlib.util
import io
import json
import re
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import fsspec

NAME = "faces"
HAS_GCSFS = importlib.util.find_spec("gcsfs") is not None


class Stored(NamedTuple):
  """An object: its bytes, and the number of the write that made it."""

  content: bytes
  generation: int


class Bucket:
  """The objects of the bucket `faces`, by name."""

  def __init__(self) -> None:
    self.objects: dict[str, Stored] = {}
    self.writable = True
    # What every request meets: "", "503" (the service's own answer) or "cut" (no answer).
    self.outage = ""
    self._writes = 1
    self._lock = threading.Lock()

  def write(self, name: str, content: bytes, *, if_generation: int | None = None) -> bool:
    """Puts an object there; False if another generation of it is than was expected."""
    with self._lock:
      there = self.objects.get(name)
      if if_generation is not None and if_generation != (there.generation if there else 0):
        return False
      self._writes += 1
      self.objects[name] = Stored(content, self._writes)
      return True

  def remove(self, name: str) -> bool:
    """Removes an object; False if there is none."""
    with self._lock:
      return self.objects.pop(name, None) is not None

  def listed(self, prefix: str, delimiter: str = "") -> tuple[list[str], list[str]]:
    """Names of objects that begin with a prefix, and beginnings up to the next delimiter."""
    names, beginnings = [], set()
    for name in sorted(self.objects):
      if name.startswith(prefix):
        rest = name[len(prefix) :]
        if delimiter and delimiter in rest:
          beginnings.add(prefix + rest[: rest.index(delimiter) + 1])
        else:
          names.append(name)
    return names, sorted(beginnings)

  def upload(self, folder: Path, to: str) -> None:
    """What `gcloud storage cp --recursive folder/* gs://faces/to` does."""
    for path in sorted(folder.rglob("*")):
      if path.is_file():
        self.write(f"{to}/{path.relative_to(folder).as_posix()}", path.read_bytes())

  def download(self, prefix: str, folder: Path) -> Path:
    """What `gcloud storage cp --recursive gs://faces/prefix/* folder` does; returns the folder."""
    for name in self.listed(f"{prefix}/")[0]:
      path = folder / name.removeprefix(f"{prefix}/")
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(self.objects[name].content)
    return folder


@contextlib.contextmanager
def served() -> Iterator[Bucket]:
  """A bucket that gs://faces is, for all in this process.

  Yields:
    The bucket, empty.
  """
  bucket = Bucket()
  handler = type("Handler", (_Handler,), {"bucket": bucket, "uploads": {}})
  with contextlib.ExitStack() as on_exit:
    server = _Server(("localhost", 0), handler)
    on_exit.callback(server.server_close)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
    on_exit.callback(server.shutdown)
    address = f"http://localhost:{server.server_address[1]}"
    # array_record's, gcsfs's and google-cloud-storage's, tensorstore's.
    clients = ("CLOUD_STORAGE_EMULATOR_ENDPOINT", "STORAGE_EMULATOR_HOST")
    environment = {**dict.fromkeys(clients, address), "TENSORSTORE_GCS_HTTP_URL": address}
    environment |= {"GOOGLE_CLOUD_PROJECT": "none", "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    on_exit.enter_context(mock.patch.dict("os.environ", environment))
    if not HAS_GCSFS:
      _stand_in(bucket, on_exit)
    yield bucket


def _stand_in(bucket: Bucket, on_exit: contextlib.ExitStack) -> None:
  """Lets etils and orbax reach the bucket without gcsfs and google-cloud-storage."""
  from etils.epath import backend
  from orbax.checkpoint._src.path import gcs_utils

  from fal_jax.output import bucket as layer

  system = type("System", (_System,), {"bucket": bucket})()
  backends = backend.fsspec_backend
  on_exit.enter_context(mock.patch.object(backends, "fs", lambda path: system))
  plain = mock.Mock(hierarchical_namespace_enabled=False)
  on_exit.enter_context(mock.patch.object(gcs_utils, "get_bucket", lambda name: plain))
  on_exit.enter_context(mock.patch.object(layer, "_PACKAGES", ()))


class _HttpError(Exception):
  """What gcsfs raises when the service does not answer as it should."""

  __module__ = "gcsfs.retry"
  code = 503


class _System(fsspec.AbstractFileSystem):
  """As much of gcsfs as etils calls."""

  protocol = ("gs", "gcs")
  bucket: Bucket
  cachable = False

  def _name(self, path: Any) -> str:
    if self.bucket.outage:
      raise _HttpError("Backend Error, 503")
    return self._strip_protocol(path).removeprefix(NAME).strip("/")

  def ls(self, path: Any, detail: bool = True, **_: Any) -> list:
    name = self._name(path)
    names, beginnings = self.bucket.listed(f"{name}/" if name else "", "/")
    entries = [{"name": f"{NAME}/{each.rstrip('/')}", "type": "directory"} for each in beginnings]
    entries += [self._entry(each) for each in names]
    if not entries and name in self.bucket.objects:
      entries = [self._entry(name)]
    if not entries:
      raise FileNotFoundError(path)
    return entries if detail else [each["name"] for each in entries]

  def _entry(self, name: str) -> dict[str, Any]:
    size = len(self.bucket.objects[name].content)
    return {"name": f"{NAME}/{name}", "type": "file", "size": size}

  def info(self, path: Any, **_: Any) -> dict[str, Any]:
    name = self._name(path)
    if name in self.bucket.objects:
      return self._entry(name)
    self.ls(path)
    return {"name": f"{NAME}/{name}", "type": "directory", "size": 0}

  def exists(self, path: Any, **_: Any) -> bool:
    try:
      self.info(path)
    except FileNotFoundError:
      return False
    return True

  def mkdir(self, path: Any, create_parents: bool = True, **_: Any) -> None:
    """There are no folders."""

  def makedirs(self, path: Any, exist_ok: bool = False) -> None:
    """There are no folders."""

  def rm_file(self, path: Any) -> None:
    if not self.bucket.remove(self._name(path)):
      raise FileNotFoundError(path)

  def rmdir(self, path: Any) -> None:
    """There are no folders."""

  def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
    names = self.bucket.listed(f"{self._name(path)}/")[0] if recursive else []
    for name in names or [self._name(path)]:
      self.rm_file(f"{NAME}/{name}")

  def open(self, path: Any, mode: str = "rb", **_: Any) -> Any:
    name = self._name(path)
    if not self._strip_protocol(path).startswith(f"{NAME}/"):
      raise FileNotFoundError(f"no such bucket: {path}")
    if mode[0] == "r":
      if name not in self.bucket.objects:
        raise FileNotFoundError(path)
      file: Any = io.BytesIO(self.bucket.objects[name].content)
    elif mode[0] == "w":
      if not self.bucket.writable:
        raise OSError("Forbidden: nobody may write here")
      file = _Written(self.bucket, name)
    else:
      raise ValueError(f"mode {mode}")
    return file if "b" in mode else io.TextIOWrapper(file, encoding="utf-8")


class _Written(io.BytesIO):
  """A file that becomes an object when it is closed."""

  def __init__(self, bucket: Bucket, name: str):
    super().__init__()
    self._bucket, self._name = bucket, name

  def close(self) -> None:
    if not self.closed:
      self._bucket.write(self._name, self.getvalue())
    super().close()


class _Server(ThreadingHTTPServer):
  """Serves until the clients leave, which they may do in the middle of an answer."""

  daemon_threads = True

  def handle_error(self, *address: Any) -> None:
    if not isinstance(sys.exception(), ConnectionError):
      super().handle_error(*address)


class _Handler(BaseHTTPRequestHandler):
  """The part of the JSON interface that the clients use."""

  protocol_version = "HTTP/1.1"
  bucket: Bucket
  uploads: dict[str, tuple[str, int | None, bytes]]

  def parse_request(self) -> bool:
    """Reads what is asked, and during an outage is done with it."""
    is_whole = super().parse_request()
    if not (is_whole and self.bucket.outage):
      return is_whole
    self.close_connection = True
    if self.bucket.outage == "503":
      self.rfile.read(int(self.headers.get("Content-Length") or 0))
      self._answer(503, {"error": {"code": 503, "message": "Backend Error"}})
    return False

  def do_GET(self) -> None:
    name, query = self._object()
    if name is None and self.path.startswith("/storage/v1/b/"):
      self._list(query) if urllib.parse.urlsplit(self.path).path.endswith("/o") else self._about()
      return
    stored = self.bucket.objects.get(name or "")
    if stored is None:
      self._answer(404, {"error": {"code": 404, "message": "No such object"}})
    elif query.get("alt") == "media" or "/storage/v1/" not in self.path:
      self._send(stored)
    else:
      self._answer(200, self._describe(name or ""))

  def do_POST(self) -> None:
    body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
    if self.path.startswith("/batch/"):
      self._batch(body)
      return
    query = self._query()
    content, name = body, query.get("name", "")
    if f"/b/{NAME}/" not in self.path:
      self._answer(404, {"error": {"code": 404, "message": "No such bucket"}})
      return
    if "upload_id" in query:
      self._go_on(body)
      return
    if query["uploadType"] == "multipart":
      text = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
      about, part = email.message_from_bytes(text + body).get_payload()
      name = json.loads(about.get_payload(decode=True))["name"]
      content = part.get_payload(decode=True)
    elif query["uploadType"] == "resumable":
      name = name or json.loads(body)["name"]
      key = str(len(self.uploads))
      self.uploads[key] = (name, self._expected(query), b"")
      where = f"http://{self.headers['Host']}/upload/storage/v1/b/{NAME}/o?upload_id={key}"
      self._answer(200, {}, Location=where)
      return
    self._store(name, content, self._expected(query))

  def do_PUT(self) -> None:
    self._go_on(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

  def _go_on(self, body: bytes) -> None:
    key = self._query()["upload_id"]
    name, expected, before = self.uploads[key]
    body = before + body
    if self.headers["Content-Range"].endswith("/*"):
      self.uploads[key] = (name, expected, body)
      self._answer(308, {}, Range=f"bytes=0-{len(body) - 1}")
    else:
      self._store(name, body, expected)

  def do_DELETE(self) -> None:
    name, _ = self._object()
    self._answer(204 if self.bucket.remove(name or "") else 404, {})

  def log_message(self, *_: Any) -> None:
    """Says nothing."""

  def _query(self) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))

  def _object(self) -> tuple[str | None, dict[str, str]]:
    path = urllib.parse.urlsplit(self.path).path
    match = re.fullmatch(rf"(?:/download)?/storage/v1/b/{NAME}/o/(.+)|/{NAME}/(.+)", path)
    name = urllib.parse.unquote(match[1] or match[2]) if match else None
    return name, self._query()

  @staticmethod
  def _expected(query: dict[str, str]) -> int | None:
    return int(query["ifGenerationMatch"]) if "ifGenerationMatch" in query else None

  def _about(self) -> None:
    is_there = urllib.parse.urlsplit(self.path).path.removeprefix("/storage/v1/b/") == NAME
    self._answer(200 if is_there else 404, {"kind": "storage#bucket", "name": NAME})

  def _list(self, query: dict[str, str]) -> None:
    names, beginnings = self.bucket.listed(query.get("prefix", ""), query.get("delimiter", ""))
    first, last = query.get("startOffset", ""), query.get("endOffset")
    names = [name for name in names if first <= name and (last is None or name < last)]
    items = [self._describe(name) for name in names]
    self._answer(200, {"kind": "storage#objects", "items": items, "prefixes": beginnings})

  def _describe(self, name: str) -> dict[str, Any]:
    stored = self.bucket.objects[name]
    return {
      "kind": "storage#object",
      "bucket": NAME,
      "name": name,
      "size": str(len(stored.content)),
      "generation": str(stored.generation),
      "metageneration": "1",
      "updated": "2026-01-01T00:00:00.000Z",
      "timeCreated": "2026-01-01T00:00:00.000Z",
    }

  def _store(self, name: str, content: bytes, expected: int | None) -> None:
    if not self.bucket.writable:
      self._answer(403, {"error": {"code": 403, "message": "nobody may write here"}})
    elif self.bucket.write(name, content, if_generation=expected):
      self._answer(200, self._describe(name))
    else:
      self._answer(412, {"error": {"code": 412, "message": "conditionNotMet"}})

  def _batch(self, body: bytes) -> None:
    names = re.findall(rf"DELETE \S*/b/{NAME}/o/(\S+) ", body.decode())
    parts = []
    for number, name in enumerate(names):
      code = 204 if self.bucket.remove(urllib.parse.unquote(name)) else 404
      parts.append(
        f"--batch\r\nContent-Type: application/http\r\nContent-ID: <response-{number}>\r\n\r\n"
        f"HTTP/1.1 {code} X\r\nContent-Length: 0\r\n\r\n\r\n"
      )
    self._reply(200, "".join([*parts, "--batch--\r\n"]).encode(), "multipart/mixed; boundary=batch")

  def _send(self, stored: Stored) -> None:
    content, size = stored.content, len(stored.content)
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
    headers = {"x-goog-generation": str(stored.generation), "ETag": str(stored.generation)}
    if wanted is None:
      self._reply(200, content, "application/octet-stream", **headers)
      return
    first = int(wanted[1]) if wanted[1] else max(size - int(wanted[2]), 0)
    last = min(int(wanted[2]), size - 1) if wanted[1] and wanted[2] else size - 1
    if first >= size:
      self._reply(416, b"", "text/plain", **{"Content-Range": f"bytes */{size}"})
      return
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    self._reply(206, content[first : last + 1], "application/octet-stream", **headers)

  def _answer(self, code: int, content: Any, **headers: str) -> None:
    self._reply(code, json.dumps(content).encode(), "application/json", **headers)

  def _reply(self, code: int, content: bytes, kind: str, **headers: str) -> None:
    self.send_response(code)
    for name, value in headers.items():
      self.send_header(name, value)
    self.send_header("Content-Type", kind)
    if code != 204:
      self.send_header("Content-Length", str(len(content)))
    self.end_headers()
    if code != 204:
      self.wfile.write(content)
