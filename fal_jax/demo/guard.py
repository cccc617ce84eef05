"""Who may talk to the server: the page that it has sent, and nobody else's page.

A server on this machine can be reached by every web page that its user opens. Two things keep them
out. A page of another site may send requests here, but its browser says where they come from. And
a name of its own that it lets point to this machine (DNS rebinding) is not one of ours.
"""

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What the page may do: run its own files, ask this server, draw what it is given.
POLICY = "; ".join(
  (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "media-src 'self' blob:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  )
)
HEADERS = {
  "Content-Security-Policy": POLICY,
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "Cache-Control": "no-store",
}


class Guard:
  """Refuses requests under foreign names and of foreign pages, and adds HEADERS to all answers."""

  def __init__(self, app: ASGIApp, *, host: str):
    self._app = app
    self._names = {host.lower(), "localhost", socket.gethostname().lower()}

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers one request."""
    if scope["type"] != "http":
      await self._app(scope, receive, send)
      return

    async def send_with_headers(message: Message) -> None:
      if message["type"] == "http.response.start":
        MutableHeaders(scope=message).update(HEADERS)
      await send(message)

    headers = Headers(scope=scope)
    app = self._app
    if not is_own_name(headers.get("host", ""), self._names):
      app = JSONResponse(
        {"error": "This server has another name: open the address it printed."}, 403
      )
    elif not is_own_page(headers, method=scope["method"]):
      app = JSONResponse({"error": "Only the page of this server may ask it."}, 403)
    await app(scope, receive, send_with_headers)


def is_own_name(host: str, names: Iterable[str]) -> bool:
  """Whether a name cannot be one that somebody else's page has been given.

  Args:
    host: of the request, with or without its port.
    names: those of this machine, in lower case.

  Returns:
    True for these, and for all plain addresses: no page has one of ours unless it is from us.
  """
  try:
    name = urlsplit(f"//{host}").hostname or ""
  except ValueError:
    return False
  return name in names or _is_address(name)


def _is_address(name: str) -> bool:
  try:
    ipaddress.ip_address(name)
  except ValueError:
    return False
  return True


def is_own_page(headers: Headers, *, method: str) -> bool:
  """Whether a request comes from our page, from a program, or from a person who follows a link.

  Browsers add these headers by themselves, and pages cannot change them.

  Args:
    headers: of the request.
    method: likewise; a link is followed by GET.

  Returns:
    False if a page of another origin sends it.
  """
  if method == "GET" and headers.get("sec-fetch-mode") == "navigate":
    return True  # what it shows can be read by nobody else's page
  if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
    return False
  origin = headers.get("origin")
  return origin is None or urlsplit(origin).netloc == headers["host"]
