"""Fixtures of the tests of users' own datasets."""

import pytest


@pytest.fixture
def custom_root(tmp_path):
  """A folder with images and a mark-up file, no landmarks."""
  import custom_files  # JAX with it, which most tests here do without

  return custom_files.write_images(tmp_path / "faces", range(4))


@pytest.fixture
def refused(custom_root, capfd):
  """What the command line says of `custom_root`.

  Its code is checked to be 2, what it says not to be a traceback, and nothing to be written.
  """

  from tfds_builders import prepare

  def refused(*options):
    data_dir = custom_root.parent / "data"
    folders = [f"--manual_dir={custom_root}", f"--data_dir={data_dir}"]
    code = prepare.main(["custom", *folders, *options])
    error = capfd.readouterr().err

    assert code == 2 and error.startswith("error: ") and "Traceback" not in error
    assert not list(data_dir.rglob("*.array_record*"))
    return error

  return refused


@pytest.fixture
def prepare_custom(capfd):
  """Builds a user's dataset by the command line.

  Returns what it printed, and info and records of each split, read without the builder's code.
  """
  import prepared

  from tfds_builders import prepare

  def prepare_custom(root, *options, name="my_faces"):
    data_dir = root.parent / "data"
    folders = [f"--manual_dir={root}", f"--data_dir={data_dir}"]
    code = prepare.main(["custom", *folders, "--overwrite", *options])
    printed = capfd.readouterr()

    assert code == 0, printed.err
    return printed.out, *prepared.read(data_dir, f"custom/{name}")

  return prepare_custom
