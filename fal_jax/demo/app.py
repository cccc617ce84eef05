"""The web application: the page's files, and the photos that it asks about."""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import PurePath
from typing import Any, ParamSpec, TypeVar

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fal_jax.demo.computer import Computer, shown
from fal_jax.demo.guard import Guard
from fal_jax.demo.store import PhotoStore
from fal_jax.errors import InputError
from fal_jax.page import files
from fal_jax.parsing import plain_json

MAX_FILE_BYTES = 100_000_000  # what telephones' 200 megapixels take as JPEG
MAX_QUESTION_BYTES = 64_000
UPLOADS_AT_ONCE = 2  # each may hold a file of that size
UPLOAD_SECONDS = 120.0

FORGOTTEN = "This photo is no longer kept: add it again."

P = ParamSpec("P")
T = TypeVar("T")


class App:
  """Answers requests; everything that computes is done by the worker, one at a time.

  Photos are decoded beside it, so that who uploads a large one holds up nobody's questions.

  Attributes:
    application: what an ASGI server runs.
  """

  def __init__(
    self,
    computer: Computer,
    page_json: dict[str, Any],
    *,
    worker: Executor,
    host: str,
    max_file_bytes: int = MAX_FILE_BYTES,
    store: PhotoStore | None = None,
  ):
    self._computer = computer
    self._page_json = page_json
    self._worker = worker
    self._max_file_bytes = max_file_bytes
    self._store = PhotoStore() if store is None else store
    self._uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)
    self._files = frozenset(files.names("server"))
    photo = "/api/photos/{photo}"
    self.application = Starlette(
      routes=[
        Route("/", self._file),
        Route("/page.json", self._page),
        Route("/api/photos", self._add, methods=["POST"]),
        Route(f"{photo}/shown", self._shown),
        Route(f"{photo}/detect", self._detect, methods=["POST"]),
        Route(f"{photo}/align", self._align, methods=["POST"]),
        Route(f"{photo}/heatmap", self._heatmap, methods=["POST"]),
        Route("/{name}", self._file),
      ],
      middleware=[Middleware(Guard, host=host)],
      exception_handlers={
        InputError: _input_error,
        MemoryError: _no_memory,
        HTTPException: _http_error,
        ClientDisconnect: _nobody_there,
      },
    )

  async def _file(self, request: Request) -> Response:
    """One of the page's own files; nothing else can be named."""
    name = request.path_params.get("name", "index.html")
    if name not in self._files:
      raise HTTPException(404, "There is no such file.")
    content = (files.FOLDER / name).read_bytes()
    return Response(content, media_type=files.CONTENT_TYPES[PurePath(name).suffix])

  async def _page(self, request: Request) -> Response:
    del request
    return JSONResponse(self._page_json)

  async def _add(self, request: Request) -> Response:
    """Reads the photo that is the request's body."""
    # Forms of other sites cannot have this type, whatever their browsers tell us.
    if request.headers.get("content-type") != "application/octet-stream":
      raise HTTPException(415, "Send the photo as application/octet-stream.")

    async with self._uploads:
      content = await self._received(request)
      image = await asyncio.to_thread(self._computer.read, content)
    height, width = image.shape[:2]
    return JSONResponse({"id": self._store.add(image), "width": width, "height": height})

  async def _received(self, request: Request) -> bytes:
    """The request's body, as far as it is not too large."""
    content = bytearray()
    size = 0
    try:
      async with asyncio.timeout(UPLOAD_SECONDS):
        async for part in request.stream():
          size += len(part)
          if size <= self._max_file_bytes:
            content += part
          else:
            content.clear()  # what follows is received, since browsers read no answer before
    except TimeoutError:
      raise HTTPException(408, f"The file did not arrive within {UPLOAD_SECONDS:g} s.") from None

    if size > self._max_file_bytes:
      limit = self._max_file_bytes / 1e6
      raise HTTPException(
        413,
        f"This file has {size / 1e6:.3g} MB, more than the {limit:g} allowed: shrink the image.",
      )
    return bytes(content)

  async def _shown(self, request: Request) -> Response:
    """What the page draws."""
    return Response(await self._compute(shown, self._photo(request)), media_type="image/jpeg")

  async def _detect(self, request: Request) -> Response:
    await _question(request)
    faces = await self._compute(self._computer.detect, self._photo(request))
    return JSONResponse({"faces": faces})

  async def _align(self, request: Request) -> Response:
    question = await _question(request)
    image = self._photo(request)
    faces = await self._compute(self._computer.align, image, question.get("boxes"))
    return JSONResponse({"faces": faces})

  async def _heatmap(self, request: Request) -> Response:
    question = await _question(request)
    box, landmark = question.get("box"), question.get("landmark")
    image = self._photo(request)
    return JSONResponse(await self._compute(self._computer.heatmap, image, box, landmark))

  def _photo(self, request: Request) -> np.ndarray:
    """The image (H, W, 3) uint8 that the request is about."""
    image = self._store.get(request.path_params["photo"])
    if image is None:
      raise HTTPException(404, FORGOTTEN)
    return image

  async def _compute(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls a function in the worker, while other requests are received."""
    call = functools.partial(function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(self._worker, call)


async def _question(request: Request) -> dict[str, Any]:
  """The JSON object that a request brings."""
  if request.headers.get("content-type") != "application/json":
    raise HTTPException(415, "Send the question as application/json.")
  content = b""
  async for part in request.stream():
    content += part
    if len(content) > MAX_QUESTION_BYTES:
      raise HTTPException(413, "The question is too long.")
  try:
    question = plain_json.loads(content.decode())
  except ValueError:
    question = None
  if not isinstance(question, dict):
    raise HTTPException(400, "The question is not a JSON object.")
  return question


async def _input_error(request: Request, error: Exception) -> Response:
  del request
  return JSONResponse({"error": " ".join(str(error).split())}, 422)


async def _no_memory(request: Request, error: Exception) -> Response:
  del request, error
  return JSONResponse({"error": "There is not enough memory for this photo: shrink it."}, 507)


async def _http_error(request: Request, error: Exception) -> Response:
  del request
  assert isinstance(error, HTTPException)
  return JSONResponse({"error": error.detail}, error.status_code)


async def _nobody_there(request: Request, error: Exception) -> Response:
  """The page was closed during an upload: nobody reads this."""
  del request, error
  return Response(status_code=400)
