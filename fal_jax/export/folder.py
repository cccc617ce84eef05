"""The folder of an export: written beside its place, and put there when it is whole."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from fal_jax.errors import InputError, join_names
from fal_jax.output import full_disk
from fal_jax.output.folders import make_dir, unwritable
from fal_jax.weights import exported, named, pretrained


def check(out: Path, *, weights: str) -> None:
  """Checks, before anything takes seconds, that an export may go there.

  Args:
    out: the folder.
    weights: the network, which may be the folder of a run.

  Raises:
    InputError: it is a file, lies in the run, has a name that is taken, or holds anything that is
      not an export.
  """
  source = Path(weights).expanduser()
  is_folder = weights not in named.models() and source.is_dir()
  if is_folder and out.resolve().is_relative_to(source.resolve()):
    raise InputError(
      f"--out={out} lies in the folder of the network, {weights}: name another folder for the "
      "export."
    )
  for path in (out, *out.parents):
    if path.exists() and not path.is_dir():
      raise InputError(f"--out={out} cannot be a folder, {path} is a file: name another one.")
  if out.resolve().parent == named.folder().resolve() and out.name in pretrained.models():
    raise InputError(
      f"--out={out} would not be found by its name, which a network has that comes with fal_jax: "
      "call the folder something else."
    )
  if foreign := _foreign(out):
    raise InputError(
      f"--out={out} holds files that are not of an export ({join_names(foreign)}): name another "
      "folder, or move them away."
    )


def _foreign(out: Path) -> list[str]:
  """Names in a folder that an earlier export did not write there."""
  try:
    there = sorted(entry.name for entry in os.scandir(out)) if out.is_dir() else []
  except OSError as error:
    raise unwritable(out, error.strerror or str(error), flag="--out") from error
  try:
    written = exported.read(out)["files"] if there else {}
  except InputError:
    return there
  return [name for name in there if name not in (exported.DESCRIPTION, *written)]


@contextlib.contextmanager
def replaced(out: Path, *, check: Callable[[], None], flag: str = "--out") -> Iterator[Path]:
  """A folder to be filled, which takes the place of `out` when the block ends well.

  Args:
    out: where the export is to be.
    check: raises InputError if it may not go there; called again at the end.
    flag: the one that names the folder.

  Yields:
    An empty folder beside it.

  Raises:
    InputError: nothing can be written there, or there is no room left.
  """
  place = out.resolve()  # a link stays where it is
  parent = make_dir(place.parent, flag=flag)
  unfinished = None
  try:
    unfinished = Path(tempfile.mkdtemp(prefix=f".{place.name}.unfinished-", dir=parent))
    yield unfinished
    unfinished.chmod(0o777 & ~_umask())  # mkdtemp lets nobody else read
    check()  # what was there at first may have changed
    _exchange(unfinished, place)
  except OSError as error:
    reason = full_disk.reason(error)
    if reason is not None:
      raise InputError(
        f"The export does not fit on the disk of {flag}={out} ({reason}): make room there, or name "
        "a folder on another disk."
      ) from error
    raise unwritable(out, error.strerror or str(error), flag=flag) from error
  finally:
    if unfinished is not None:
      shutil.rmtree(unfinished, ignore_errors=True)


def _exchange(unfinished: Path, out: Path) -> None:
  """Puts a folder where an earlier export or nothing is; the earlier one is deleted afterwards."""
  if not out.exists():
    unfinished.rename(out)
    return
  earlier = unfinished.with_name(f"{unfinished.name}.earlier")
  out.rename(earlier)
  try:
    unfinished.rename(out)
  except OSError:
    earlier.rename(out)
    raise
  shutil.rmtree(earlier, ignore_errors=True)


def _umask() -> int:
  """The permissions that new files do not get; Python can only read them by setting them."""
  mask = os.umask(0o077)
  os.umask(mask)
  return mask
