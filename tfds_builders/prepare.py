"""Builds datasets: `python -m tfds_builders.prepare w300 --manual_dir=... --data_dir=...`.

A dataset is a folder `tfds_builders/NAME/` with the module `NAME_dataset_builder.py`; `NAME/CONFIG`
is one configuration of it. Building again does nothing unless `--overwrite`. Exit codes: 0 done, 2
a mistake of the user's, 130 interrupted.
"""

if __name__ == "__main__":  # the imports below take a second, in which Ctrl-C may come
  from fal_jax.errors import end_quietly

  end_quietly()

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow_datasets as tfds
from absl import logging

from fal_jax.errors import InputError
from fal_jax.output import folders
from tfds_builders.common.manual import ManualFaceBuilder
from tfds_builders.common.schema import FaceDatasetBuilder
from tfds_builders.common.write import clear_leftovers, locked, write

if TYPE_CHECKING:
  from tfds_builders.common.crops import FaceCrops  # and with it JAX, which few builds need

_HERE = Path(__file__).parent
# As crop.BoxKind and crops.SMALLEST_REPLACEMENT have them.
CROPS_BOXES = ("dataset", "landmarks", "detector")
SMALLEST_REPLACEMENT = 502


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line and returns the exit code."""
  args = _parse(argv)
  logging.set_verbosity(logging.ERROR)
  if not sys.stderr.isatty():
    tfds.disable_progress_bar()

  try:
    _locate_folders(args)
    _check_crops_options(args)
    # So that a misspelt last name is found before the first dataset is built.
    for name in args.names:
      make_builder(name, args)
    for name in args.names:
      _run(name, args)
  except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    message = "Interrupted. Nothing incomplete was kept; run the same command to start again."
    print(message, file=sys.stderr)
    return 130
  return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
  """Reads the command line."""
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
    help="folder to build in (default: $TFDS_DATA_DIR or ~/tensorflow_datasets)",
  )
  parser.add_argument(
    "--allow_partial",
    action="store_true",
    help="build even if parts of the official dataset are missing",
  )
  parser.add_argument(
    "--skip_bad", action="store_true", help="leave bad files out, and list them in metadata.json"
  )
  parser.add_argument("--overwrite", action="store_true", help="rebuild an existing dataset")
  parser.add_argument(
    "--crops",
    type=int,
    metavar="SIZE",
    help="also cut out the faces, squares of SIZE px with 220 px of face, for faster training; "
    "416 leaves no empty corner",
  )
  parser.add_argument(
    "--crops_box",
    choices=CROPS_BOXES,
    default="landmarks",
    help="the box around which they are cut",
  )
  parser.add_argument(
    "--crops_dir",
    help="put the cut out faces there, in place of the photographs: the same dataset, small enough "
    f"to take along. --crops must be {SMALLEST_REPLACEMENT} or more, 512 say",
  )
  parser.add_argument(
    "--crops_splits",
    metavar="SPLIT,SPLIT",
    type=lambda text: text.split(","),
    default=[],
    help="with --crops_dir: only these splits (default: all)",
  )
  parser.add_argument(
    "--dry_run", action="store_true", help="check all files and report, write nothing"
  )

  return parser.parse_args(argv)


def _locate_folders(args: argparse.Namespace) -> None:
  """Makes paths of the folders that are built in; array_record writes to disks alone."""
  for name in ("data_dir", "crops_dir"):
    text = getattr(args, name)
    setattr(args, name, folders.local(text, flag=f"--{name}") if text else None)


def _check_crops_options(args: argparse.Namespace) -> None:
  """Refuses options about crops that miss each other."""
  if args.crops_dir and not args.crops:
    raise InputError("--crops_dir needs the size of the squares: give --crops=512, say.")
  if args.crops_splits and not args.crops_dir:
    raise InputError("--crops_splits is for --crops_dir: name the folder, or leave it out.")


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

  Returns:
    The builder.

  Raises:
    InputError: there is no such dataset or configuration, or it needs files and no folder with them
      is given.
  """
  name, _, config_name = name.partition("/")
  if name not in dataset_names():
    raise InputError(f"There is no dataset {name!r}; there are {', '.join(dataset_names())}.")
  cls = importlib.import_module(f"tfds_builders.{name}.{name}_dataset_builder").Builder

  config_of_folder = None
  options = {}
  if issubclass(cls, ManualFaceBuilder):
    config_of_folder = cls.config_from_folder(_checked_manual_dir(name, cls, args))
    options = {"allow_partial": args.allow_partial, "skip_bad": args.skip_bad}

  known = [config_of_folder] if config_of_folder else cls.BUILDER_CONFIGS
  names = [config.name for config in known]
  if config_name and config_name not in names:
    raise InputError(
      f"{name} has no configuration {config_name!r}; it has {', '.join(names) or 'none'}."
    )
  data_dir = args.data_dir.expanduser() if args.data_dir else None
  return cls(data_dir=data_dir, config=config_of_folder or config_name or None, **options)


def _checked_manual_dir(name: str, cls: type[ManualFaceBuilder], args: argparse.Namespace) -> Path:
  """The folder with the files of one dataset, in which there is something."""
  instructions = textwrap.dedent(cls.MANUAL_DOWNLOAD_INSTRUCTIONS).strip()
  if args.manual_dir is None:
    raise InputError(
      f"{name} is built from files that you download: give their folder with --manual_dir.\n"
      f"{instructions}"
    )

  manual_dir = _manual_dir(name, args)
  if not manual_dir.is_dir() or not any(manual_dir.iterdir()):
    raise InputError(
      f"--manual_dir={args.manual_dir} is not a folder, or an empty one.\n{instructions}"
    )
  return manual_dir


def _manual_dir(name: str, args: argparse.Namespace) -> Path:
  """Where the files of one dataset are: `--manual_dir`, or the folder of its name in there."""
  folder = args.manual_dir.expanduser()
  of_dataset = folder / name.split("/", maxsplit=1)[0]
  return of_dataset if of_dataset.is_dir() else folder


def _run(name: str, args: argparse.Namespace) -> None:
  """Builds one dataset, and its crops if asked for, or says why there is nothing to do."""
  if args.dry_run:
    _check(make_builder(name, args), name, args)
    return
  manual_dir = _manual_dir(name, args) if args.manual_dir else None
  builder = _make(lambda: make_builder(name, args), manual_dir, args)

  if args.crops_dir:
    _replace(builder, args)
  elif args.crops:
    _make(lambda: _crops(builder, args, data_dir=builder.data_dir_root), None, args)


def _crops(
  source: FaceDatasetBuilder,
  args: argparse.Namespace,
  *,
  data_dir: str | os.PathLike[str],
  replace: bool = False,
) -> "FaceCrops":
  """The builder of a dataset's squares; with `replace`, they take the photographs' place."""
  from fal_jax.crop import CropRule
  from tfds_builders.common.crops import FaceCrops

  rule = CropRule(stored_size=args.crops, box=args.crops_box)
  splits = args.crops_splits
  return FaceCrops(source=source, rule=rule, replace=replace, splits=splits, data_dir=data_dir)


def _replace(source: FaceDatasetBuilder, args: argparse.Namespace) -> None:
  """--crops_dir: the same dataset once more, of squares instead of photographs."""

  def new_builder() -> "FaceCrops":
    return _crops(source, args, data_dir=args.crops_dir.expanduser(), replace=True)

  found = new_builder()  # knows what is there already
  if found.info.splits and "crops" not in found.info.metadata:
    raise InputError(
      f"{found.data_path} holds photographs, which nothing may replace: name another --crops_dir."
    )
  if found.info.splits and not found.holds_what_is_wanted and not args.overwrite:
    raise InputError(
      f"{found.data_path} holds other squares ({found.info.metadata['crops']}, "
      f"{', '.join(found.info.splits)}): --overwrite replaces them."
    )

  _make(new_builder, None, args)
  print(
    "These are squares cut out of the photographs: landmarks, boxes and what is predicted on them "
    "are in pixels of the squares."
  )


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
  full_name = builder.info.full_name
  path = Path(builder.data_path)

  with locked(path.parent):
    clear_leftovers(path)
    builder = new_builder()  # as the folder is now
    if path.exists() and not args.overwrite:
      _check_complete(builder, args)
      print(f"{full_name} is already built; --overwrite rebuilds it.")
    else:
      start = time.monotonic()
      write(builder, manual_dir)
      if isinstance(builder, ManualFaceBuilder):
        shutil.rmtree(builder.unpack_dir, ignore_errors=True)
      print(f"{full_name} built in {time.monotonic() - start:.1f} s.")

  _print_table(builder, {split: info.num_examples for split, info in builder.info.splits.items()})
  print(
    f"In {path}.\n"
    f"Next: python -m fal_jax.main {builder.train_flags()} "
    f"--config.data.dir={builder.data_dir_root} --workdir={builder.workdir()}"
  )
  return builder


def _check_complete(builder: FaceDatasetBuilder, args: argparse.Namespace) -> None:
  """Nobody should train on part of a dataset, or an incomplete build, without opting in."""
  if not (Path(builder.data_path) / "dataset_info.json").is_file() or not builder.info.splits:
    raise InputError(
      f"{builder.data_path} is not a complete dataset: build it again with --overwrite."
    )

  if (builder.info.metadata or {}).get("partial") and not args.allow_partial:
    raise InputError(
      f"{builder.data_path} holds only a part of {builder.name}: "
      "accept it with --allow_partial, or build all with --overwrite."
    )


def _print_table(builder: FaceDatasetBuilder, counts: Mapping[str, int]) -> None:
  """Prints the splits beside the official counts, and what the build left out or found odd."""
  print(f"\n{'split':<16}{'images':>10}{'official':>10}")
  officials = builder.official_counts()
  for split in dict.fromkeys([*officials, *counts]):
    official = f"{officials[split]:,}" if split in officials else "-"
    print(f"{split:<16}{counts.get(split, 0):>10,}{official:>10}")

  metadata = builder.info.metadata or {}
  if "release" in metadata:
    print(f"release: {metadata['release']}")
  if "origin" in metadata:
    print(f"origin: {metadata['origin']}")
  for line in metadata.get("missing", ()):
    print(f"missing: {line}")

  for kind, key in (("warning", "warnings"), ("note", "notes")):
    for message, files in metadata.get(key, {}).items():
      first = files[0] if len(files) == 1 else f"{len(files):,} of these, the first is {files[0]}"
      print(f"{kind}: {message}: {first}")
  if metadata.get("skipped"):
    print(f"skipped: {len(metadata['skipped'])} bad files, listed in metadata.json")
  print()


if __name__ == "__main__":
  sys.exit(main())
