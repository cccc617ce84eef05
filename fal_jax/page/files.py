"""The page's own files, and page.json, which tells them what network computes and where.

The page is the same for both computers: `server.js` asks `python -m fal_jax.demo`, `browser.js`
computes by itself. Each exports `open(page)`, and the rest of the page knows no difference.
"""

from pathlib import Path
from typing import Any, Literal

from fal_jax.build import Setup

FOLDER = Path(__file__).parent

Computer = Literal["server", "browser"]

# Browsers run no module that is served as anything else.
CONTENT_TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
}


def names(computer: Computer) -> tuple[str, ...]:
  """Names of the files in FOLDER that the page consists of; the other computer's are left out.

  Args:
    computer: what computes.

  Returns:
    Names, sorted.
  """
  other = "browser" if computer == "server" else "server"
  return tuple(
    sorted(
      path.name
      for path in FOLDER.iterdir()
      if path.suffix in CONTENT_TYPES and not path.name.startswith(other)
    )
  )


def page_json(
  computer: Computer, *, name: str, notice: str, setup: Setup, detector: str | None
) -> dict[str, Any]:
  """What the page must know about network and detector.

  Args:
    computer: what computes.
    name: of the network, for people.
    notice: what a user must be told before using it; empty where nothing is restricted.
    setup: what it was trained with.
    detector: name of the face detector; None where the page has to ask for boxes.

  Returns:
    The content of page.json.
  """
  markup = setup.markup
  return {
    "computer": computer,
    "model": {
      "name": name,
      "notice": notice,
      "num_landmarks": markup.num,
      "names": list(markup.names),
      "edges": [[int(a), int(b)] for a, b in markup.edges],
      "decode": setup.codec.decoding,
      "crop_size": setup.crop.size,
    },
    "detector": detector,
  }
