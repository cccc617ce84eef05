"""The command line that builds datasets: builds once, keeps what was there, no tracebacks."""

import dataclasses
import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import prepared
import pytest
import tensorflow_datasets as tfds
import w300_files

from tfds_builders import prepare
from tfds_builders.synthetic_faces.synthetic_faces_dataset_builder import Builder as SyntheticFaces
from tfds_builders.w300.w300_dataset_builder import Builder

RAW = {"image": tfds.decode.SkipDecoding()}


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
  """Runs the command line on a small 300W; returns exit code, output and errors."""
  w300_files.expect_counts(monkeypatch)
  w300_files.write_dataset(tmp_path / "300w")

  def run(*options, names=("w300",), manual_dir=tmp_path / "300w"):
    code = prepare.main(
      [*names, f"--data_dir={tmp_path / 'data'}", f"--manual_dir={manual_dir}", *options]
    )
    printed = capfd.readouterr()
    return code, printed.out, printed.err

  return run


@pytest.fixture
def versions(tmp_path):
  """Names of everything in the dataset's folder."""
  return lambda: sorted(path.name for path in (tmp_path / "data" / "w300").glob("*"))


def num_train(tmp_path) -> int:
  builder = tfds.builder_from_directory(tmp_path / "data" / "w300" / "1.0.0")
  return builder.info.splits["train"].num_examples


def test_a_build_ends_with_a_table_and_the_next_command(run, tmp_path, versions):
  code, out, err = run()

  assert (code, err, versions()) == (0, "", ["1.0.0"])

  lines = prepared.table(out)
  assert ["split", "images", "official"] in lines
  assert ["train", "18", "3,148"] in lines and ["test_private", "2", "600"] in lines

  data_dir = tmp_path / "data"
  assert f"In {data_dir / 'w300' / '1.0.0'}." in out
  assert (
    f"python -m fal_jax.main --config=configs/w300.py --config.data.dir={data_dir} --workdir="
    in out.splitlines()[-1]
  )
  assert sorted(path.name for path in data_dir.iterdir()) == ["w300"]
  assert tfds.builder("w300", data_dir=data_dir).info.metadata["markup"] == 68


def test_archives_that_nobody_unpacked_do_as_well(run, tmp_path, versions):
  source, packed = tmp_path / "300w", tmp_path / "packed"
  packed.mkdir()
  for folder in ("afw", "helen", "lfpw", "ibug"):
    shutil.make_archive(str(packed / folder), "zip", source / folder)
  whole = Path(shutil.make_archive(str(tmp_path / "300w"), "zip", source, "300W")).read_bytes()
  for part in range(2):
    (packed / f"300w.zip.00{part + 1}").write_bytes(whole[part * 999 : 999 if part == 0 else None])

  code, out, err = run("--dry_run", manual_dir=packed)
  assert (code, err) == (0, "") and not (tmp_path / "data").exists()

  code, out, err = run(manual_dir=packed)
  assert (code, err, versions()) == (0, "", ["1.0.0"]), "nothing unpacked is left"
  assert ["train", "18", "3,148"] in prepared.table(out)

  from_archives = list(
    tfds.builder("w300", data_dir=tmp_path / "data").as_data_source("test_full", decoders=RAW)
  )
  run("--overwrite")
  from_folders = list(
    tfds.builder("w300", data_dir=tmp_path / "data").as_data_source("test_full", decoders=RAW)
  )

  assert [(row["file_name"], row["image"]) for row in from_archives] == [
    (row["file_name"], row["image"]) for row in from_folders
  ]


def test_one_folder_may_hold_a_folder_for_each_dataset(run, tmp_path):
  (tmp_path / "all").mkdir()
  (tmp_path / "300w").rename(tmp_path / "all" / "w300")
  code, out, _ = run("--dry_run", manual_dir=tmp_path / "all")
  assert code == 0 and ["train", "18", "3,148"] in prepared.table(out)
  assert run(manual_dir=tmp_path / "all")[0] == 0


def test_unpacked_files_stay_for_the_next_try_when_some_are_bad(run, tmp_path, versions):
  shutil.copytree(tmp_path / "300w", tmp_path / "packed")
  (tmp_path / "packed" / "ibug" / "image_0001.png").write_bytes(b"")
  shutil.make_archive(str(tmp_path / "packed" / "ibug"), "zip", tmp_path / "packed" / "ibug")
  shutil.rmtree(tmp_path / "packed" / "ibug")
  code, _, err = run(manual_dir=tmp_path / "packed")

  assert code == 2 and "ibug/image_0001.png" in err and versions() == ["unpacked"]

  code, out, _ = run("--skip_bad", manual_dir=tmp_path / "packed")
  assert code == 0 and "skipped: 1 bad files" in out and versions() == ["1.0.0"]


def test_a_file_of_another_version_is_noticed_by_its_first_landmark(run, tmp_path, monkeypatch):
  name = "ibug/image_0001.png"
  seed = list(w300_files.COUNTS).index("ibug")
  first = sum(list(w300_files.COUNTS.values())[:seed])
  x, y = w300_files.face_landmarks(first)[0]
  monkeypatch.setattr(Builder, "FIRST_LANDMARKS", {name: (x, y)})

  code, out, _ = run()
  assert code == 0
  assert f"\norigin: confirmed by the first landmark of {name}\n" in out

  monkeypatch.setattr(Builder, "FIRST_LANDMARKS", {name: (x + 1, y + 1)})
  assert "\norigin: NOT CONFIRMED, contradicted by" in run("--overwrite", "--skip_bad")[1]
  code, _, err = run("--overwrite")

  assert code == 2
  assert (
    f"{name}: the first landmark is ({x:.3f}, {y:.3f}), in the official files ({x + 1:.3f}" in err
  )


def test_the_log_says_that_no_face_could_confirm_the_origin(run, monkeypatch):
  monkeypatch.setattr(Builder, "FIRST_LANDMARKS", {"ibug/not_here.png": (1.0, 2.0)})

  assert "\norigin: not confirmed: none of the faces whose first" in run("--dry_run")[1]


def test_building_again_does_nothing_unless_told_to(run, tmp_path):
  run()
  before = (tmp_path / "data" / "w300" / "1.0.0").stat()
  code, out, _ = run()

  assert code == 0 and "is already built; --overwrite rebuilds it" in out
  assert ["train", "18", "3,148"] in prepared.table(out)
  assert (tmp_path / "data" / "w300" / "1.0.0").stat().st_ino == before.st_ino

  (tmp_path / "300w" / "afw" / "image_0003.jpg").unlink()
  (tmp_path / "300w" / "afw" / "image_0003.pts").unlink()
  code, out, _ = run("--overwrite", "--allow_partial")

  assert code == 0 and "missing: afw: expected 12 annotated images, found 11" in out
  assert num_train(tmp_path) == 17


def test_a_partial_dataset_is_not_taken_for_a_complete_one(run, tmp_path):
  (tmp_path / "300w" / "afw" / "image_0003.jpg").unlink()
  (tmp_path / "300w" / "afw" / "image_0003.pts").unlink()
  assert run("--allow_partial")[0] == 0
  code, _, err = run()
  assert code == 2 and "holds only a part of w300" in err
  assert run("--allow_partial")[0] == 0


def test_a_failing_overwrite_keeps_the_former_dataset(run, tmp_path, versions):
  run()
  (tmp_path / "300w" / "afw" / "image_0003.jpg").write_bytes(b"")
  code, _, err = run("--overwrite")
  assert code == 2
  assert "afw/image_0003.jpg: not an image: the file is empty" in err
  assert "Traceback" not in err
  assert versions() == ["1.0.0"] and num_train(tmp_path) == 18


def test_bad_files_are_skipped_counted_and_listed_when_asked(run, tmp_path):
  (tmp_path / "300w" / "afw" / "image_0003.jpg").write_bytes(b"")
  code, out, _ = run("--skip_bad")

  assert code == 0 and "skipped: 1 bad files, listed in metadata.json" in out

  info = tfds.builder_from_directory(tmp_path / "data" / "w300" / "1.0.0").info
  assert info.splits["train"].num_examples == 17
  assert info.metadata["skipped"]["afw/image_0003.jpg"].startswith(
    "not an image: the file is empty"
  )


def test_a_dry_run_checks_everything_and_writes_nothing(run, tmp_path):
  code, out, _ = run("--dry_run")
  assert code == 0 and ["train", "18", "3,148"] in prepared.table(out)
  (tmp_path / "300w" / "afw" / "image_0003.jpg").write_bytes(b"")
  code, _, err = run("--dry_run")
  assert code == 2 and "afw/image_0003.jpg: not an image" in err
  assert not (tmp_path / "data").exists()


def test_nothing_is_left_among_the_temporary_files(run, tmp_path, monkeypatch):
  """As TFDS leaves there for each builder of a dataset that is not prepared yet."""
  temporary = tmp_path / "temporary"
  temporary.mkdir()
  monkeypatch.setattr(tempfile, "tempdir", str(temporary))

  assert run()[0] == 0
  assert run("--overwrite", "--crops=320")[0] == 0

  assert not list(temporary.iterdir())


def test_what_a_killed_build_left_is_removed(run, tmp_path, versions):
  left = tmp_path / "data" / "w300" / "incomplete.A1B2C3_1.0.0"
  other = tmp_path / "data" / "w300" / "incomplete.A1B2C3_9.9.9"
  for folder in (left, other):
    folder.mkdir(parents=True)
    (folder / "w300-train.array_record-00000-of-00001").write_bytes(b"half")
  assert run()[0] == 0
  assert versions() == ["1.0.0", "incomplete.A1B2C3_9.9.9"]


def test_a_killed_overwrite_gives_the_former_dataset_back(run, tmp_path, versions):
  run()
  folder = tmp_path / "data" / "w300"
  (folder / "1.0.0").rename(folder / "incomplete.former_1.0.0")
  (folder / "incomplete.A1B2C3_1.0.0").mkdir()
  code, out, _ = run()
  assert code == 0 and "is already built" in out
  assert versions() == ["1.0.0"] and num_train(tmp_path) == 18


def test_an_incomplete_build_is_not_taken_for_a_dataset(run, tmp_path):
  (tmp_path / "data" / "w300" / "1.0.0").mkdir(parents=True)
  code, _, err = run()
  assert code == 2 and "is not a complete dataset: build it again with --overwrite" in err
  assert run("--overwrite")[0] == 0
  assert num_train(tmp_path) == 18


def test_interrupting_leaves_nothing_and_exits_130(run, monkeypatch, tmp_path, versions):
  def interrupted(self, faces):
    yield from list(generate(self, faces))[:1]
    raise KeyboardInterrupt

  generate = Builder._generate_examples
  monkeypatch.setattr(Builder, "_generate_examples", interrupted)
  code, _, err = run()

  assert code == 130 and err.startswith("Interrupted.") and "Traceback" not in err
  assert versions() == []


@pytest.mark.parametrize(
  "error",
  [
    OSError(errno.ENOSPC, "No space left on device"),
    RuntimeError("Failed: write() failed: No space left on device"),
  ],
)
def test_a_full_disk_is_one_sentence(error, run, monkeypatch, versions):
  def full(self, faces):
    raise error
    yield

  monkeypatch.setattr(Builder, "_generate_examples", full)
  code, _, err = run()

  assert code == 2
  assert "1.0.0 cannot be written" in err
  assert "No space left on device" in err
  assert "Traceback" not in err
  assert versions() == []


def test_a_second_build_of_the_same_dataset_is_refused(run, tmp_path):
  folder = tmp_path / "data" / "w300"
  folder.mkdir(parents=True)
  handle = os.open(folder, os.O_RDONLY)
  fcntl.flock(handle, fcntl.LOCK_EX)
  code, _, err = run()
  os.close(handle)

  assert code == 2 and f"Another process is building in {folder}" in err
  assert run()[0] == 0


@pytest.mark.parametrize(
  ("names", "options", "cause"),
  [
    (["w30"], {}, r"There is no dataset 'w30'; there are "),
    (["w300", "w30"], {}, r"There is no dataset 'w30'; there are "),
    (["../w300"], {}, r"There is no dataset '..'; there are "),
    (["w300/big"], {}, "w300 has no configuration 'big'; it has none."),
    (["w300"], {"manual_dir": "/nowhere"}, "--manual_dir=/nowhere is not a folder"),
  ],
)
def test_mistakes_are_sentences_and_exit_2(names, options, cause, run, tmp_path):
  code, _, err = run(names=names, **options)
  assert code == 2 and err.startswith("error: ") and cause in err and "Traceback" not in err
  assert not (tmp_path / "data").exists()


def test_without_a_manual_dir_the_message_says_where_to_get_the_files(capsys):
  assert prepare.main(["w300"]) == 2
  error = capsys.readouterr().err
  assert "--manual_dir" in error and "https://ibug.doc.ic.ac.uk/resources/300-W/" in error


def test_a_folder_that_cannot_be_written_is_named(capsys, tmp_path, monkeypatch):
  w300_files.expect_counts(monkeypatch)
  w300_files.write_dataset(tmp_path / "300w")
  (tmp_path / "data").write_text("a file, not a folder")
  code = prepare.main(
    ["w300", f"--data_dir={tmp_path / 'data'}", f"--manual_dir={tmp_path / '300w'}"]
  )

  assert code == 2
  assert "give another --data_dir" in capsys.readouterr().err


def test_generated_datasets_need_no_files(capfd, monkeypatch, tmp_path):
  small = [
    dataclasses.replace(config, num_train=2, num_test=1, num_processes=1)
    for config in SyntheticFaces.BUILDER_CONFIGS
  ]
  monkeypatch.setattr(SyntheticFaces, "BUILDER_CONFIGS", small)
  # TFDS keeps the configs by name once a test before this one has asked for them.
  monkeypatch.setattr(SyntheticFaces, "builder_configs", {config.name: config for config in small})

  assert prepare.main(["synthetic_faces/98", f"--data_dir={tmp_path}", "--dry_run"]) == 0
  assert "no files to check" in capfd.readouterr().out and not any(tmp_path.iterdir())
  assert prepare.main(["synthetic_faces/98", f"--data_dir={tmp_path}"]) == 0
  assert ["train", "2", "-"] in prepared.table(capfd.readouterr().out)

  info = tfds.builder_from_directory(tmp_path / "synthetic_faces" / "98" / "1.0.0").info
  assert info.features["landmarks"].shape == (98, 2)
  assert prepare.main(["synthetic_faces/99", f"--data_dir={tmp_path}"]) == 2
  assert "has no configuration '99'; it has 68, small, 98, large, video." in capfd.readouterr().err


# Both commands in one process: importing TFDS takes seconds.
_SCRIPT = """
import runpy, sys

for argument in ("nosuch", "--help"):
  sys.argv = ["prepare", argument]
  try:
    runpy.run_module("tfds_builders.prepare", run_name="__main__")
  except SystemExit as end:
    print("exit", end.code, sorted({"tensorflow", "jax"} & sys.modules.keys()))
"""


def test_the_module_runs_as_a_command_without_noise_tensorflow_or_jax():
  done = subprocess.run(
    [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=False
  )

  first, *usage, last = done.stdout.splitlines()
  assert (done.returncode, first, last) == (0, "exit 2 []", "exit 0 []")
  assert len(done.stderr.splitlines()) == 1 and "There is no dataset 'nosuch'" in done.stderr
  assert "w300" in "\n".join(usage)
