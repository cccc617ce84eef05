"""The notebooks of launch/colab, run in a copy of the repository."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import quick_xla
import tiny_dataset

COLAB = tiny_dataset.ROOT / "launch" / "colab"
# What a reader's notebook has not: conftest.py's, and the folder of genuine annotations, of which a
# report takes minutes.
OURS = ("XLA_FLAGS", "JAX_NUMPY_RANK_PROMOTION", "FAL_JAX_TEST_DATA")
# Faces of synthetic_faces/small, for readers and here.
FEWER = {"num_train=600": "num_train=64", "num_test=100": "num_test=40"}
# Epochs of fine-tuning, in train.
SHORTER = ("--config.train.epochs=4", "--config.train.epochs=1")


def copy_repository(folder: Path) -> Path:
  """Makes a copy of the repository, mostly links, in which a notebook may write what it likes.

  Its environment is the one that runs, and looks as if launch/environment.sh had made it. Its
  smallest dataset is smaller still, so that rendering it and training on it take seconds.

  Args:
    folder: where the copy goes; it must not exist.

  Returns:
    The copy.
  """
  environment = folder / ".venv"
  environment.mkdir(parents=True)
  for name in ("fal_jax", "configs", "pyproject.toml"):
    (folder / name).symlink_to(tiny_dataset.ROOT / name)
  datasets, ignored = folder / "tfds_builders", shutil.ignore_patterns("__pycache__")
  shutil.copytree(tiny_dataset.ROOT / "tfds_builders", datasets, ignore=ignored)
  builder = datasets / "synthetic_faces" / "synthetic_faces_dataset_builder.py"
  text = builder.read_text()
  for readers, ours in FEWER.items():
    assert text.count(readers) == 1
    text = text.replace(readers, ours)
  builder.write_text(text)

  # No link: where the cells run is read off the place of this folder.
  shutil.copytree(tiny_dataset.ROOT / "launch", folder / "launch")
  for path in Path(sys.prefix).iterdir():
    if path.name != "made_from":
      (environment / path.name).symlink_to(path)

  lock = folder / "launch" / "locks" / f"py{sys.version_info[0]}{sys.version_info[1]}.txt"
  made_from = [sys.version, lock.read_text() + (folder / "pyproject.toml").read_text()]
  (environment / "made_from").write_text("\n".join(made_from))
  return folder


def execute(source: Path, repository: Path) -> Any:
  """Runs a notebook from its first cell to its last.

  Args:
    source: its percent source.
    repository: where it runs, from `copy_repository`.

  Returns:
    The notebook with its outputs.

  Raises:
    nbclient.exceptions.CellExecutionError: a cell failed.
  """
  import nbformat
  from nbclient import NotebookClient

  notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
  for cell in notebook.cells:
    cell.source = cell.source.replace(*SHORTER)
  readers = {name: value for name, value in os.environ.items() if name not in OURS}
  folder = repository / "launch" / "colab"
  with mock.patch.dict(os.environ, readers | {"XLA_FLAGS": quick_xla.FLAGS}, clear=True):
    client = NotebookClient(notebook, timeout=3000, resources={"metadata": {"path": str(folder)}})
    return client.execute()
