"""Builds datasets: `python -m tfds_builders.prepare w300 --manual_dir=... --data_dir=...`.

A dataset is a folder `tfds_builders/NAME/` with the module `NAME_dataset_builder.py`; `NAME/CONFIG`
is one configuration of it. Building again does nothing unless `--overwrite`. Exit codes: 0 done, 2
a mistake of the user's, 130 interrupted.
"""

import argparse
import contextlib
import errno
import fcntl
import importlib
import io
import os
import shutil
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

import tensorflow_datasets as tfds
from absl import logging

from fal_jax.crop import BoxKind, CropRule
from fal_jax.errors import InputError
from tfds_builders.common.crops import FaceCrops
from tfds_builders.common.manual import ManualFaceBuilder
from tfds_builders.common.schema import FaceDatasetBuilder

_HERE = Path(__file__).parent


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line and returns the exit code."""
  parser = argparse.ArgumentParser(
    prog="python -m tfds_builders.prepare",
    description="Builds datasets for training and evaluation.",
    epilog=f"Datasets: {', '.join(dataset_names())}.",
  )
  parser.add_argument(
    "names",
    metavar="NAME",
    nargs="+",
    help="dataset to build, or NAME/CONFIG for one of its configurations",
  )
  parser.add_argument(
    "--manual_dir",
    type=Path,
    help="folder with your downloaded files, or with a folder NAME for each",
  )
  parser.add_argument(
    "--data_dir",
    type=Path,
    help="folder to build in (default: $TFDS_DATA_DIR or ~/tensorflow_datasets)",
  )
  parser.add_argument(
    "--allow_partial",
    action="store_true",
    help="build what is there although the official dataset has more",
  )
  parser.add_argument(
    "--skip_bad", action="store_true", help="leave bad files out, and list them in metadata.json"
  )
  parser.add_argument("--overwrite", action="store_true", help="build again what is built already")
  parser.add_argument(
    "--crops",
    type=int,
    metavar="SIZE",
    help="also cut out the faces, squares of SIZE px with 220 px of face, for faster training; 416 leaves no empty corner",
  )
  parser.add_argument(
    "--crops_box",
    choices=get_args(BoxKind),
    default="landmarks",
    help="around which box they are cut",
  )
  parser.add_argument(
    "--dry_run", action="store_true", help="check all files and report, write nothing"
  )
  args = parser.parse_args(argv)

  logging.set_verbosity(logging.ERROR)
  if not sys.stderr.isatty():
    tfds.disable_progress_bar()
  try:
    for name in args.names:
      make_builder(
        name, args
      )  # so that a misspelt last name is found before the first dataset is built
    for name in args.names:
      _run(name, args)
  except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print(
      "Interrupted. Nothing unfinished was kept; the same command starts again.", file=sys.stderr
    )
    return 130
  return 0


def dataset_names() -> list[str]:
  """Names of the datasets that have a builder."""
  return sorted(
    folder.name
    for folder in _HERE.iterdir()
    if (folder / f"{folder.name}_dataset_builder.py").is_file()
  )


def make_builder(name: str, args: argparse.Namespace) -> FaceDatasetBuilder:
  """The builder of one dataset.

  Args:
    name: NAME or NAME/CONFIG.
    args: the command line's options.

  Raises:
    InputError: there is no such dataset or configuration, or it needs files and no folder with them
      is given.
  """
  name, _, config = name.partition("/")
  if name not in dataset_names():
    raise InputError(f"There is no dataset {name!r}; there are {', '.join(dataset_names())}.")
  cls = importlib.import_module(f"tfds_builders.{name}.{name}_dataset_builder").Builder

  described, options = None, {}
  if issubclass(cls, ManualFaceBuilder):
    instructions = textwrap.dedent(cls.MANUAL_DOWNLOAD_INSTRUCTIONS).strip()
    if args.manual_dir is None:
      raise InputError(
        f"{name} is built from files that you download: give their folder with --manual_dir.\n{instructions}"
      )
    manual_dir = _manual_dir(name, args)
    if not manual_dir.is_dir() or not any(manual_dir.iterdir()):
      raise InputError(
        f"--manual_dir={args.manual_dir} is not a folder, or an empty one.\n{instructions}"
      )
    options = {"allow_partial": args.allow_partial, "skip_bad": args.skip_bad}
    described = cls.described_in(manual_dir)
  configs = [known.name for known in ([described] if described else cls.BUILDER_CONFIGS)]
  if config and config not in configs:
    raise InputError(
      f"{name} has no configuration {config!r}; it has {', '.join(configs) or 'none'}."
    )
  data_dir = args.data_dir.expanduser() if args.data_dir else None
  return cls(data_dir=data_dir, config=described or config or None, **options)


def _manual_dir(name: str, args: argparse.Namespace) -> Path:
  """Where the files of one dataset are: `--manual_dir`, or in it the folder of the dataset's name
  if there is one.
  """
  folder = args.manual_dir.expanduser()
  own = folder / name.split("/", maxsplit=1)[0]
  return own if own.is_dir() else folder


def _run(name: str, args: argparse.Namespace) -> None:
  """Builds one dataset, and its crops if asked for, or says why there is nothing to do."""
  if args.dry_run:
    _check(make_builder(name, args), name, args)
    return
  manual_dir = _manual_dir(name, args) if args.manual_dir else None
  builder = _make(lambda: make_builder(name, args), manual_dir, args)
  if args.crops:
    rule = CropRule(stored_size=args.crops, box=args.crops_box)
    _make(lambda: FaceCrops(source=builder, rule=rule, data_dir=builder.data_dir_root), None, args)


def _check(builder: FaceDatasetBuilder, name: str, args: argparse.Namespace) -> None:
  """--dry_run: looks at every file and writes nothing."""
  if not isinstance(builder, ManualFaceBuilder):
    print(f"{builder.info.full_name} is generated by its builder: there are no files to check.")
    return
  start = time.monotonic()
  with tempfile.TemporaryDirectory() as unpack_dir:
    splits = builder.plan(_manual_dir(name, args), unpack_dir=Path(unpack_dir))
  _print_table(builder, {split: len(faces) for split, faces in splits.items()})
  print(f"Checked in {time.monotonic() - start:.1f} s. Dry run: nothing was written.")


def _make(
  new_builder: Callable[[], FaceDatasetBuilder], manual_dir: Path | None, args: argparse.Namespace
) -> FaceDatasetBuilder:
  """Builds a dataset unless it is there, and prints what it holds."""
  builder = new_builder()
  full_name, path = builder.info.full_name, Path(builder.data_path)
  with _locked(path.parent):
    _clear_leftovers(path)
    builder = new_builder()  # as the folder is now
    if path.exists() and not args.overwrite:
      _refuse_unless_usable(builder, args)
      print(f"{full_name} is built already; --overwrite builds it again.")
    else:
      start = time.monotonic()
      _build(builder, manual_dir)
      if isinstance(builder, ManualFaceBuilder):
        shutil.rmtree(builder.unpack_dir, ignore_errors=True)
      print(f"{full_name} built in {time.monotonic() - start:.1f} s.")
  _print_table(builder, {split: info.num_examples for split, info in builder.info.splits.items()})
  print(
    f"In {path}.\nNext: python -m fal_jax.main {builder.train_flags()} --config.data.dir={builder.data_dir_root} "
    f"--workdir={builder.workdir()}"
  )
  return builder


def _refuse_unless_usable(builder: FaceDatasetBuilder, args: argparse.Namespace) -> None:
  """Nobody should train on a part of a dataset, or on rubble, without having said so."""
  if not (Path(builder.data_path) / "dataset_info.json").is_file() or not builder.info.splits:
    raise InputError(
      f"{builder.data_path} is not a complete dataset: build it again with --overwrite."
    )
  if (builder.info.metadata or {}).get("partial") and not args.allow_partial:
    raise InputError(
      f"{builder.data_path} holds only a part of {builder.name}: accept it with --allow_partial, or build all with --overwrite."
    )


def _build(builder: FaceDatasetBuilder, manual_dir: Path | None) -> None:
  """Writes the dataset: TFDS writes into `incomplete.*` beside it and renames when all is done."""
  path = Path(builder.data_path)
  if path.exists():  # the former dataset stays until the new one is there
    path.rename(_former(path))
  try:
    with (
      tempfile.TemporaryDirectory() as downloads,
      contextlib.redirect_stdout(io.StringIO()),
    ):  # TFDS prints unknown sizes
      builder.download_and_prepare(
        download_dir=downloads,
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir),
      )
  except OSError as error:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EFBIG):
      raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    raise
  except RuntimeError as error:
    if "write() failed" in str(error):  # how array_record says that the disk is full
      raise InputError(f"{path} cannot be written: {error}.") from error
    raise
  finally:
    _clear_leftovers(path)


def _former(path: Path) -> Path:
  return path.with_name(f"incomplete.former_{path.name}")


def _clear_leftovers(path: Path) -> None:
  """Puts the former dataset back if a build over it came to nothing, and removes what such builds
  left.
  """
  if _former(path).exists() and not path.exists():
    _former(path).rename(path)
  for leftover in path.parent.glob(f"incomplete.*_{path.name}"):
    shutil.rmtree(leftover)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
  """Keeps a second build out of the same folder; the lock ends with the process, however it ends."""
  try:
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
  except OSError as error:
    raise InputError(
      f"{folder} cannot be used: {error.strerror}; give another --data_dir."
    ) from error
  try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield
  except BlockingIOError as error:
    raise InputError(f"Another process is building in {folder}: wait until it is done.") from error
  finally:
    os.close(handle)
    with contextlib.suppress(OSError):
      folder.rmdir()  # only if nothing came of it


def _print_table(builder: FaceDatasetBuilder, counts: Mapping[str, int]) -> None:
  """Prints the splits beside the official numbers, and what the build left out or found odd."""
  print(f"\n{'split':<16}{'images':>10}{'official':>10}")
  officials = builder.official_counts()
  for split in dict.fromkeys([*officials, *counts]):
    official = officials.get(split)
    print(
      f"{split:<16}{counts.get(split, 0):>10,}{'-' if official is None else f'{official:,}':>10}"
    )
  metadata = builder.info.metadata or {}
  if "release" in metadata:
    print(f"release: {metadata['release']}")
  for line in metadata.get("missing", ()):
    print(f"missing: {line}")
  for note, files in metadata.get("notes", {}).items():
    print(f"note: {note}: {len(files)} files, the first is {files[0]}")
  if metadata.get("skipped"):
    print(f"skipped: {len(metadata['skipped'])} bad files, listed in metadata.json")
  print()


if __name__ == "__main__":
  sys.exit(main())
