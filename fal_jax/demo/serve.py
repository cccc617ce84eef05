"""The server: an address that is free, one line when it is ready, and a quiet end."""

import errno
import socket
from typing import Any

import uvicorn

from fal_jax.errors import InputError

SHUTDOWN_SECONDS = 2  # for answers that are on their way


class _Server(uvicorn.Server):
  """Says where it is once it listens."""

  def __init__(self, config: uvicorn.Config, address: str):
    super().__init__(config)
    self._address = address

  async def startup(self, sockets: list[socket.socket] | None = None) -> None:
    await super().startup(sockets)
    if self.started:
      print(f"Open {self._address} in a browser; Ctrl-C ends it.", flush=True)


def listen(host: str, port: int, *, or_any: bool) -> socket.socket:
  """Takes a port.

  Args:
    host: address or name that the server is to have.
    port: 0 for any that is free.
    or_any: whether a port that is taken is replaced by any that is free.

  Returns:
    A socket that listens there.

  Raises:
    InputError: nothing can listen there.
  """
  family = socket.AF_INET6 if ":" in host else socket.AF_INET
  try:
    return socket.create_server((host, port), family=family)
  except (OSError, OverflowError, UnicodeError) as error:
    reason = getattr(error, "strerror", None) or error
    if or_any and port and getattr(error, "errno", None) == errno.EADDRINUSE:
      print(f"Port {port} is taken; another one is used.", flush=True)
      return listen(host, 0, or_any=False)
    raise InputError(
      f"Nothing can listen at --host={host} --port={port} ({reason}): choose another port, e.g. "
      "--port=0 for any that is free."
    ) from error


def address(host: str, listening: socket.socket) -> str:
  """What to open in a browser on this machine."""
  port = listening.getsockname()[1]
  name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
  return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"


def run(application: Any, listening: socket.socket, *, host: str) -> None:
  """Serves until Ctrl-C, and returns then.

  Args:
    application: of ASGI.
    listening: from `listen`.
    host: as given to it.
  """
  try:
    _Server(config(application), address(host, listening)).run(sockets=[listening])
  except KeyboardInterrupt:  # uvicorn raises it anew after it has ended
    print(flush=True)


def config(application: Any) -> uvicorn.Config:
  """How an application of ASGI is served: nothing is logged but failures."""
  return uvicorn.Config(
    application,
    log_config=None,
    access_log=False,  # who looks at which photo is nobody's business
    server_header=False,
    ws="none",
    lifespan="off",
    timeout_graceful_shutdown=SHUTDOWN_SECONDS,
  )
