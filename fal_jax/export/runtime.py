"""onnxruntime-web: the three files of it that compute in a browser, and that they are those.

They are never part of this package, 14 MB of WebAssembly: npm brings them from a lock file, or the
page itself loads them from a CDN, which its browser checks against the same hashes.
"""

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

from fal_jax.errors import InputError, cut
from fal_jax.output import folders
from fal_jax.page import files

VERSION = "1.30.0"  # that of page/package.json and its lock
CDN = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/"
FOLDER = "ort"  # in the page's
NPM_SECONDS = 600

# What the page calls each, its name in the package, and its hash as browsers take it.
_FILES = {
  "script": (
    "ort.wasm.min.mjs",
    "sha384-SfFfy/pvthiOsgaw3KX0bV5TfQ6Iq+oY9KutMe4SxIuHH4cl+DCSD4rTsYOoG1tJ",
  ),
  "glue": (
    "ort-wasm-simd-threaded.mjs",
    "sha384-XcXA/MtAf0WpB8e023xQH9CM7RIjiugakT7x99DIwpFf7k56BIFFcAPerIF7FDad",
  ),
  "binary": (
    "ort-wasm-simd-threaded.wasm",
    "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
  ),
}


def from_cdn(address: str = CDN) -> dict[str, Any]:
  """Where the page finds the files at a CDN.

  Args:
    address: the folder they are in.

  Returns:
    The part of page.json that says so, with the hashes that the browser asks for.
  """
  return {
    role: {"address": f"{address}{name}", "integrity": integrity}
    for role, (name, integrity) in _FILES.items()
  }


def copy(directory: Path) -> dict[str, Any]:
  """Copies the files to the page's folder.

  Args:
    directory: the page's folder.

  Returns:
    The part of page.json that says where they are.

  Raises:
    InputError: npm is not installed or failed, or what it brought is not what we know.
  """
  (directory / FOLDER).mkdir(exist_ok=True)
  places = {}
  for role, content in _contents().items():
    # Not .mjs, which old servers do not know as a script.
    name = Path(_FILES[role][0]).with_suffix(".wasm" if role == "binary" else ".js")
    (directory / FOLDER / name).write_bytes(content)
    places[role] = {"address": f"{FOLDER}/{name}", "integrity": None}
  return places


def _contents() -> dict[str, bytes]:
  """The files' contents by their role, brought by npm unless they are there."""
  build = folders.home() / f"onnxruntime-web-{VERSION}"
  dist = build / "node_modules" / "onnxruntime-web" / "dist"
  if (contents := _read(dist)) is None:
    _install(build)
    contents = _read(dist)
  if contents is None:
    raise InputError(
      f"What npm brought to {build} is not onnxruntime-web {VERSION} as we know it: delete that "
      "folder and try again."
    )
  return contents


def _read(dist: Path) -> dict[str, bytes] | None:
  """The files in a folder; None if one is missing or not the one that we know."""
  contents = {}
  for role, (name, integrity) in _FILES.items():
    path = dist / name
    content = path.read_bytes() if path.is_file() else b""
    digest = base64.b64encode(hashlib.sha384(content).digest()).decode()
    if integrity != f"sha384-{digest}":
      return None
    contents[role] = content
  return contents


def _install(build: Path) -> None:
  """Lets npm bring what the lock file names; its hashes are checked by npm, and no script is run.

  Raises:
    InputError: npm is not there, or it failed.
  """
  remedy = "or let the page load it from a CDN (--web_cdn)"
  npm = shutil.which("npm")
  if npm is None:
    raise InputError(
      f"The page needs onnxruntime-web {VERSION} and npm to fetch it: install Node.js, {remedy}."
    )
  try:
    folders.make_private_dir(build)
    for name in ("package.json", "package-lock.json"):
      shutil.copyfile(files.FOLDER / name, build / name)
  except (OSError, InputError) as error:
    raise InputError(
      f"npm cannot put onnxruntime-web into {build} ({error}): let FAL_JAX_HOME name a folder that "
      "you can write to."
    ) from error

  print(f"Fetching onnxruntime-web {VERSION} once by npm (MIT licence): {build}", flush=True)
  command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
  try:
    done = subprocess.run(
      command, cwd=build, capture_output=True, text=True, timeout=NPM_SECONDS, check=False
    )
    reason = _reason(done.stderr) if done.returncode else ""
  except (OSError, subprocess.TimeoutExpired) as error:
    reason = str(error)
  if reason:
    raise InputError(
      f"npm could not fetch onnxruntime-web {VERSION} ({reason}): is this machine connected? Try "
      f"again, {remedy}."
    )


def _reason(output: str) -> str:
  """The first line of npm's errors that says something."""
  prefix = "npm error "
  lines = [line.removeprefix(prefix) for line in output.splitlines() if line.startswith(prefix)]
  lines = [line for line in lines if line.strip() and not line.startswith("code ")]
  return cut(lines[0] if lines else output or "without a word", length=160)
