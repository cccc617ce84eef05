"""The systems that are measured, each a process of its own that answers questions.

The conversation is in adapters/wire.py. What is installed where is in run.sh.
"""

import argparse
import contextlib
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ADAPTERS = Path(__file__).parent / "adapters"


@dataclasses.dataclass(frozen=True)
class System:
  """A way from a photograph to 68 points.

  Attributes:
    name: in files and tables.
    command: words that start it; {env} stands for the folder of the peers' environments, {python}
      for this Python, {onnx} for an export of w300-68.
    start: where the search for its box begins, down and scale, see `tuning.square`; None where it
      takes the box tight around the landmarks as it is.
    is_mesh: whether it answers with MediaPipe's 478 points, of which 68 have to be chosen.
    detects: whether it is also measured on what its own detector finds.
  """

  name: str
  command: tuple[str, ...]
  start: tuple[float, float] | None = None
  is_mesh: bool = False
  detects: bool = True


SYSTEMS = (
  System("w300-68", ("{python}", "ours.py", "w300-68")),
  System("free-68", ("{python}", "ours.py", "free-68")),
  System("w300-68, ONNX", ("{python}", "ours.py", "w300-68", "--onnx={onnx}"), detects=False),
  System("dlib", ("{env}/dlib/bin/python", "dlib_peer.py"), start=(-0.05, 1.05)),
  System("face-api", ("node", "face_api.mjs", "{env}/face_api"), start=(0.0, 1.2)),
  System(
    "mediapipe",
    ("{env}/mediapipe/bin/python", "mediapipe_peer.py"),
    start=(-0.1, 1.5),
    is_mesh=True,
  ),
)


class Refused(Exception):
  """A system does not start; the message says why, in a sentence."""


@dataclasses.dataclass(frozen=True)
class Answer:
  """What a system says about one image.

  Attributes:
    faces: its landmarks (K, 2) of each face, image px.
    cpu_ms: CPU time of the call.
    wall_ms: wall time of the call.
  """

  faces: list[np.ndarray]
  cpu_ms: float
  wall_ms: float


class Client:
  """A system that runs; to be closed.

  Attributes:
    versions: of its packages.
    weights: name of a file -> its SHA-256.
  """

  def __init__(self, system: System, *, env: Path, onnx: Path, core: int | None = None):
    """Starts it.

    Args:
      system: which.
      env: folder of the peers' environments.
      onnx: folder of the export of w300-68.
      core: the only core that it may run on; None for all.

    Raises:
      Refused: it does not start.
    """
    places = {"env": env.resolve(), "python": sys.executable, "onnx": onnx.resolve()}
    program, *words = (word.format(**places) for word in system.command)
    words[0] = str(ADAPTERS / words[0])
    command = [program, *words]
    if core is not None:
      command = ["taskset", "--cpu-list", str(core), *command]

    self._name = system.name
    self._said = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 (closed by `close`)
    try:
      self._process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True
      )
    except FileNotFoundError as error:
      self._said.close()
      raise Refused(f"{system.name}: there is no {error.filename}: run.sh installs it.") from error
    first = self._read()
    self.versions: dict[str, str] = first["versions"]
    self.weights: dict[str, str] = first["weights"]

  def ask(self, image: Path, box: Sequence[float] | None) -> Answer:
    """Asks for the landmarks of one face, or of all that it finds.

    Args:
      image: a PPM file.
      box: x0, y0, x1, y1, px; None for its own detector.

    Returns:
      Its answer.

    Raises:
      Refused: it has ended.
    """
    assert self._process.stdin is not None
    question = {
      "image": str(image.resolve()),
      "box": None if box is None else [float(edge) for edge in box],
    }
    with contextlib.suppress(BrokenPipeError):  # then what it said is read below
      self._process.stdin.write(json.dumps(question) + "\n")
      self._process.stdin.flush()
    answer = self._read()
    faces = [np.array(face, np.float64) for face in answer["faces"]]
    return Answer(faces, answer["cpu_ms"], answer["wall_ms"])

  def close(self) -> None:
    """Ends it."""
    assert self._process.stdin is not None and self._process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.close()
    self._process.wait()
    self._process.stdout.close()
    self._said.close()

  def __enter__(self) -> "Client":
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def _read(self) -> dict[str, Any]:
    """Its next line."""
    assert self._process.stdout is not None
    line = self._process.stdout.readline()
    if not line:
      self._process.wait()
      self._said.seek(0)
      said = [text.strip() for text in self._said if text.strip()] or ["it said nothing."]
      self.close()
      raise Refused(f"{self._name}: {said[-1]}")
    return json.loads(line)


def parser(description: str | None) -> argparse.ArgumentParser:
  """The flags that all programs here have."""
  parser = argparse.ArgumentParser(
    description=description, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--data_dir", default="data", help="where w300 is prepared")
  parser.add_argument("--workdir", type=Path, default=Path("runs/peers"))
  parser.add_argument("--env", type=Path, default=Path(".cache/peers"), help="made by install.sh")
  parser.add_argument("--onnx", type=Path, default=Path("runs/peers/onnx"), help="made by run.sh")
  return parser
