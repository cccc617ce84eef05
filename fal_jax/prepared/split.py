"""A split of a prepared dataset whose files may have rotted since they were written."""

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from array_record.python import array_record_module

from fal_jax.errors import InputError, cut, lacking
from fal_jax.output import bucket


class PreparedSplit(Sequence[Mapping[str, Any]]):
  """The records of a split; one that cannot be read is a sentence about the dataset.

  Attributes:
    name: what the user calls the dataset, e.g. "w300".
    split: e.g. "train[:90%]", or a union.
    builder: of the dataset, with its metadata.
  """

  def __init__(
    self,
    source: Sequence[Mapping[str, Any]],
    *,
    name: str,
    split: str,
    builder: tfds.core.DatasetBuilder,
  ):
    """Wraps a data source.

    Args:
      source: TFDS's own.
      name: see the class.
      split: see the class.
      builder: see the class.
    """
    self._source = source
    self.name = name
    self.split = split
    self.builder = builder

  def __len__(self) -> int:
    """The number of its records."""
    return len(self._source)

  def __iter__(self) -> Iterator[Mapping[str, Any]]:
    """All records in order."""
    return (self[index] for index in range(len(self)))

  def __getitem__(self, index: Any) -> Any:
    """One record.

    Raises:
      InputError: the file that it is in is damaged, or cannot be read now; Unreachable where a
        bucket does not answer.
    """
    try:
      record = _from(self.builder.data_path, lambda: self._source[index])
    except (IndexError, InputError):
      raise
    # array_record and protobuf raise many things at damaged bytes, some of them plain Exceptions.
    except Exception as error:
      raise self._damaged(f"record {index} of {self.split!r}", error) from error
    if not isinstance(record, Mapping):
      raise self._damaged(f"record {index} of {self.split!r} is missing")
    return record

  def serialized(self, start: int, stop: int) -> list[bytes]:
    """Records as they are in the files, from one index up to another.

    Raises:
      InputError: as for one record.
    """
    source: Any = self._source
    which = f"of the records {start} to {stop - 1} of {self.split!r}"
    try:
      records = _from(
        self.builder.data_path,
        lambda: source.data_source.__getitems__(list(range(start, stop))),
      )
    except InputError:
      raise
    except Exception as error:
      raise self._damaged(f"one {which}", error) from error
    if len(records) != stop - start or not all(isinstance(each, bytes) for each in records):
      raise self._damaged(f"one {which} is missing")
    return records

  def _damaged(self, what: str, error: Exception | None = None) -> InputError:
    return damaged(self.builder.data_path, self.name, what, error=error)


def not_prepared(name: str, data_dir: str, *, error: Exception | None) -> InputError:
  """The sentence about a dataset that cannot be opened.

  Args:
    name: what the user calls it.
    data_dir: where it should be.
    error: what TFDS, or the client of a bucket, said.

  Returns:
    To be raised.
  """
  if bucket.is_address(data_dir):
    why = f" ({bucket.reason(error)})" if error else ""
    return InputError(
      f"There is no dataset {name!r} in {data_dir} that can be read{why}: prepare it on a disk "
      f"(python -m tfds_builders.prepare {name} --data_dir=data) and copy it there (gcloud storage "
      f"cp --recursive 'data/*' {data_dir})."
    )
  folder = Path(data_dir, name.partition(":")[0])
  if any(folder.glob("*/*.array_record*")):
    return damaged(folder, name, "their metadata cannot be read", error=error)
  return InputError(
    f"The dataset {name!r} is not prepared in {data_dir}: "
    f"run `python -m tfds_builders.prepare {name} --data_dir={data_dir}` first, "
    "or point --config.data.dir at the folder where it is."
  )


def damaged(
  folder: str | os.PathLike[str], name: str, what: str, *, error: Exception | None = None
) -> InputError:
  """The sentence about files that are not what `prepare` has written.

  Args:
    folder: of the dataset.
    name: what the user calls it.
    what: what is wrong with them.
    error: what a library said about it.

  Returns:
    To be raised; where memory or the right to read is lacking it says so instead.
  """
  if (reason := lacking(error)) is not None:
    return InputError(
      f"The files of {name!r} in {folder} cannot be read now ({reason}): they may be "
      "intact; see to that, and run the same command."
    )
  if (unread := bucket.failure(error)) is not None:
    return unread
  said = "" if error is None else f" ({cut(str(error), length=160)})"
  if bucket.is_address(folder):
    return InputError(
      f"The files of {name!r} in {folder} cannot be read: {what}{said}; see that the bucket can be "
      "reached, or copy the dataset there anew."
    )
  return InputError(
    f"The files of {name!r} in {folder} are damaged: {what}{said}; build the dataset "
    f"again with `python -m tfds_builders.prepare {name} --overwrite`, or copy it anew."
  )


def check_shards(builder: tfds.core.DatasetBuilder, name: str, split: str) -> None:
  """Checks that the files of a split hold as many records as the dataset's metadata say.

  Only the index at the end of each file is read.

  Args:
    builder: of the dataset.
    name: what the user calls it.
    split: name of a whole split.

  Raises:
    InputError: a file is missing, cut or damaged.
  """
  info, folder = builder.info.splits[split], builder.data_path
  for path, expected in zip(info.filepaths, info.shard_lengths, strict=True):
    file = os.path.basename(path)
    if not bucket.is_address(path) and not os.path.isfile(path):
      raise damaged(folder, name, f"{file} is missing")
    try:
      found = _from(folder, functools.partial(_num_records, path))
    except InputError:
      raise
    except Exception as error:
      raise damaged(folder, name, file, error=error) from error
    if found != expected:
      raise damaged(folder, name, f"{file} holds {found:,} records of {expected:,}")


def _num_records(path: str | os.PathLike[str]) -> int:
  reader = array_record_module.ArrayRecordReader(os.fspath(path), "readahead_buffer_size:0")
  count = reader.num_records()
  reader.close()
  return count


def _from(folder: str | os.PathLike[str], read: Callable[[], Any]) -> Any:
  """What a function reads from a folder, which in a bucket may be waited for in vain."""
  return bucket.answer(read, address=folder) if bucket.is_address(folder) else read()
