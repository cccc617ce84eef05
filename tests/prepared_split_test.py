"""Prepared datasets that rot: what is damaged is named, with the dataset and what to do."""

import errno
import json
import os
import shutil

import buckets
import pytest
import tiny_dataset

from fal_jax import build, data
from fal_jax.errors import InputError
from fal_jax.prepared import fingerprint

NAME = "tiny_faces"
REMEDY = rf"{NAME} --overwrite"


@pytest.fixture
def copy(folder, tmp_path):
  """A copy of the dataset, to be damaged."""
  ignored = shutil.ignore_patterns("fingerprint.*")  # what earlier tests may have kept there
  shutil.copytree(folder / NAME, tmp_path / NAME, ignore=ignored)
  return tmp_path


def version(copy):
  (path,) = (copy / NAME).iterdir()
  return path


def shard(copy, split="train"):
  (path,) = version(copy).glob(f"{NAME}-{split}.array_record*")
  return path


def opened(data_dir, split="train"):
  return data.open_split(NAME, split, data_dir=str(data_dir), num_landmarks=tiny_dataset.MARKUP)


def cut(path, size):
  path.write_bytes(path.read_bytes()[:size])


def replace(path, old, new):
  text = path.read_text()
  assert old in text
  path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
  ("damage", "named"),
  [
    (lambda copy: cut(shard(copy), 0), r"\.array_record-\S+ \("),
    (lambda copy: cut(shard(copy), 65_536), r"\.array_record-\S+"),
    (lambda copy: cut(shard(copy), 100_000), r"\.array_record-\S+"),
    (lambda copy: shard(copy).unlink(), "is missing"),
    (lambda copy: shutil.copy(shard(copy, "test"), shard(copy)), "holds 11 records of 12"),
    (lambda copy: replace(version(copy) / "dataset_info.json", '"12"', '"13"'), "12 records of 13"),
    (lambda copy: replace(version(copy) / "dataset_info.json", '"12"', '"x"'), "metadata cannot"),
    (lambda copy: cut(version(copy) / "dataset_info.json", 300), "metadata cannot be read"),
    (lambda copy: cut(version(copy) / "dataset_info.json", 0), "metadata cannot be read"),
    (lambda copy: (version(copy) / "dataset_info.json").unlink(), "metadata cannot be read"),
    (lambda copy: cut(version(copy) / "features.json", 300), "metadata cannot be read"),
    (lambda copy: (version(copy) / "features.json").unlink(), "metadata cannot be read"),
  ],
)
def test_damage_is_found_when_a_split_is_opened(copy, damage, named):
  damage(copy)
  with pytest.raises(InputError, match=rf"'{NAME}' .* damaged.*{named}.*{REMEDY}") as error:
    opened(copy)
  assert "\n" not in str(error.value) and len(str(error.value)) < 500 + len(str(copy))


def flip_bit(path, place):
  content = bytearray(path.read_bytes())
  content[place] ^= 4
  path.write_bytes(content)


def test_no_flipped_bit_changes_a_record_and_each_is_a_sentence(copy, folder):
  expected = [str(record) for record in opened(folder)]
  content = shard(copy).read_bytes()
  last = len(content.rstrip(b"\0"))

  found = 0
  for place in range(100, last, last // 40):
    shard(copy).write_bytes(content)
    flip_bit(shard(copy), place)
    try:
      assert [str(record) for record in opened(copy)] == expected
    except InputError as error:
      assert REMEDY in str(error)
      found += 1
  assert found > 5


def test_a_record_that_rots_while_training_is_a_sentence_out_of_the_threads(copy, folder):
  source = opened(copy)
  flip_bit(shard(copy), 13_000)  # one in the middle
  batches = data.train_batches(
    source, rule=build.crop_rule(tiny_dataset.config(folder)), batch_size=4, seed=0
  )
  try:
    with pytest.raises(InputError, match=rf"record \d+ of 'train' .*{REMEDY}"):
      for _ in range(3):
        next(batches)
  finally:
    batches.close()
  with pytest.raises(InputError, match=rf"one of the records 0 to 11 .*{REMEDY}"):
    fingerprint.of_split(source)


def test_what_was_never_prepared_is_not_called_damaged(tmp_path):
  with pytest.raises(InputError, match="is not prepared in"):
    opened(tmp_path)


# ---- Fingerprints


@pytest.fixture(scope="module")
def whole(folder):
  return fingerprint.of_split(opened(folder))


def test_a_fingerprint_tells_the_dataset_and_is_the_same_wherever_it_lies(copy, whole):
  assert fingerprint.of_split(opened(copy)) == whole
  assert (whole["faces"], whole["builder_version"], whole["partial"]) == (12, "1.0.0", False)
  assert fingerprint.difference(whole, whole) == ""


class Changed:
  """A split whose records are others."""

  def __init__(self, source, change):
    self.name, self.split, self.builder = source.name, source.split, source.builder
    self.records = change(source.serialized(0, len(source)))

  def __len__(self):
    return len(self.records)

  def serialized(self, start, stop):
    return self.records[start:stop]


def with_landmark(record):
  from tensorflow_datasets.proto import tf_example_pb2

  example = tf_example_pb2.Example.FromString(record)
  example.features.feature["landmarks"].float_list.value[0] += 0.25
  return example.SerializeToString()


def with_image(record):
  """Another image of as many bytes."""
  from tensorflow_datasets.proto import tf_example_pb2

  example = tf_example_pb2.Example.FromString(record)
  values = example.features.feature["image"].bytes_list.value
  values[0] = values[0][:-1] + bytes([values[0][-1] ^ 1])
  return example.SerializeToString()


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (lambda records: records[:-1], "has 11 faces and had 12"),
    (lambda records: [*records[1:], records[0]], "has the same faces in another order"),
    (lambda records: [*records[:-1], records[0]], "has as many faces, but others"),
    (lambda records: [with_landmark(records[0]), *records[1:]], "other images, landmarks or boxes"),
    (lambda records: [*records[:-1], with_image(records[-1])], "other images, landmarks or boxes"),
  ],
)
def test_what_differs_is_said(folder, whole, change, said):
  changed = Changed(opened(folder), change)
  now = {**whole, "faces": len(changed), **fingerprint.compute(changed)}
  assert said in fingerprint.difference(whole, now)


def test_another_version_of_the_builder_is_said(whole):
  assert "version 1.1.0" in fingerprint.difference(whole, {**whole, "builder_version": "1.1.0"})


@pytest.fixture
def computed(monkeypatch):
  """Splits whose records were read for a fingerprint; files are taken for settled at once."""
  found, compute = [], fingerprint.compute
  monkeypatch.setattr(fingerprint, "_SETTLED", 0)
  monkeypatch.setattr(
    fingerprint, "compute", lambda source: found.append(source.split) or compute(source)
  )
  return found


def test_a_fingerprint_is_kept_beside_the_dataset_for_each_split(copy, whole, computed):
  for split in ("train", "train[:50%]", "train", "train[:50%]", "train"):
    now = fingerprint.of_split(opened(copy, split))
    assert (now == whole) == (split == "train")
  assert computed == ["train", "train[:50%]"]
  assert len(list(version(copy).glob("fingerprint.*.json"))) == 2


def test_another_file_in_the_place_of_one_is_seen_though_it_looks_the_same(copy, whole, computed):
  fingerprint.of_split(opened(copy))
  kept = (version(copy) / "fingerprint.train.json").read_bytes()
  path = shard(copy)
  before, content = path.stat(), path.read_bytes()

  path.unlink()
  path.write_bytes(content)
  os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

  assert path.stat().st_size == before.st_size and path.stat().st_mtime_ns == before.st_mtime_ns
  assert fingerprint.of_split(opened(copy)) == whole
  assert computed == ["train", "train"]
  assert (version(copy) / "fingerprint.train.json").read_bytes() != kept


def another_digest(path):
  content = json.loads(path.read_text())
  path.write_text(json.dumps({**content, "names": content["order"]}))


@pytest.mark.parametrize(
  "damage",
  [
    another_digest,
    lambda path: flip_bit(path, path.stat().st_size // 2),
    lambda path: cut(path, 100),
    lambda path: path.write_text("[]"),
    lambda path: path.write_bytes(b"[" * 100_000),
    lambda path: (path.unlink(), path.mkdir()),
  ],
)
def test_what_is_kept_is_not_trusted(copy, whole, computed, damage):
  fingerprint.of_split(opened(copy))
  damage(version(copy) / "fingerprint.train.json")
  assert fingerprint.of_split(opened(copy)) == whole
  assert computed == ["train", "train"]


def test_nothing_is_kept_where_nothing_can_be_written(copy, whole, computed, monkeypatch):
  def refuse(*_):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))

  monkeypatch.setattr(fingerprint, "write_atomic", refuse)
  for _ in range(2):
    assert fingerprint.of_split(opened(copy)) == whole
  assert computed == ["train", "train"]


def test_nothing_is_kept_of_files_that_may_change_unseen(copy, whole, monkeypatch):
  """They were written just now: on some file systems a second change would have the same time."""
  monkeypatch.setattr(fingerprint, "_SETTLED", 3600)
  assert fingerprint.of_split(opened(copy)) == whole
  assert not list(version(copy).glob("fingerprint.*"))


@pytest.mark.skipif(buckets.HAS_GCSFS, reason="the stand-in for gcsfs tells the time of a write")
def test_an_object_in_a_bucket_is_known_by_the_time_it_was_written(
  folder, whole, computed, monkeypatch
):
  entry = buckets._System._entry
  monkeypatch.setattr(
    buckets._System,
    "_entry",
    lambda self, name: {**entry(self, name), "mtime": 1e9 + self.bucket.objects[name].generation},
  )
  with buckets.served() as bucket:
    bucket.upload(folder, "data")
    there = f"gs://{buckets.NAME}/data"
    assert [fingerprint.of_split(opened(there)) for _ in range(2)] == [whole] * 2
    assert computed == ["train"]

    bucket.writable = False  # what is kept is of the object before
    (name,) = (each for each in bucket.objects if "-train.array_record" in each)
    bucket.write(name, bucket.objects[name].content)
    assert [fingerprint.of_split(opened(there)) for _ in range(2)] == [whole] * 2
    assert computed == ["train"] * 3
