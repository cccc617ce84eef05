"""What a builder plans and writes, in the words of the tests."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import tensorflow_datasets as tfds

from fal_jax.errors import InputError
from tfds_builders.common.validate import Face

Record = Mapping[str, Any]


def names(splits: Mapping[str, Sequence[Face]]) -> dict[str, list[str]]:
  """Split -> file names of its faces."""
  return {split: [face.file_name for face in faces] for split, faces in splits.items()}


def labels(splits: Mapping[str, Sequence[Face]]) -> dict[str, list[str]]:
  """Split -> what findings call its faces."""
  return {split: [face.label for face in faces] for split, faces in splits.items()}


def counts(splits: Mapping[str, Sequence[Any]]) -> dict[str, int]:
  """Split -> number of its faces or records."""
  return {split: len(rows) for split, rows in splits.items()}


def only_problem(name: str, plan: Callable[[], Any]) -> str:
  """The line about the only problem for which the dataset `name` cannot be planned."""
  with pytest.raises(InputError, match=rf"^{name}: 1 problem below .* --skip_bad\.\n") as caught:
    plan()
  _, line = str(caught.value).splitlines()
  return line


def read(data_dir: Path, name: str) -> tuple[tfds.core.DatasetInfo, dict[str, list[Record]]]:
  """A prepared dataset, read without its builder's code: split -> records, images still encoded."""
  builder = tfds.builder_from_directory(data_dir / name / "1.0.0")
  decoders = {"image": tfds.decode.SkipDecoding()}
  return builder.info, {
    split: list(builder.as_data_source(split=split, decoders=decoders))
    for split in builder.info.splits
  }


def table(printed: str) -> list[list[str]]:
  """The words of each line that the command line printed."""
  return [line.split() for line in printed.splitlines()]
