"""--web: the folder of the page that computes in the browser, and how its runtime gets there."""

import base64
import hashlib
import json
import subprocess

import face_detectors
import numpy as np
import pytest

from fal_jax.errors import InputError
from fal_jax.export import runtime, web
from fal_jax.page import files
from fal_jax.weights import pretrained

pytest.importorskip("onnx", reason="needs the extra `export`")


@pytest.fixture
def known(tmp_path, monkeypatch):
  """What npm would have brought, made up: contents by role."""
  monkeypatch.setenv("FAL_JAX_HOME", str(tmp_path / "home"))
  contents = {role: role.encode() for role in runtime._FILES}
  made_up = {}
  for role, (name, _) in runtime._FILES.items():
    digest = base64.b64encode(hashlib.sha384(contents[role]).digest()).decode()
    made_up[role] = (name, f"sha384-{digest}")
  monkeypatch.setattr(runtime, "_FILES", made_up)
  return contents


def bring(tmp_path, contents):
  """Puts files where npm puts them."""
  dist = tmp_path / "home" / f"onnxruntime-web-{runtime.VERSION}"
  dist = dist / "node_modules" / "onnxruntime-web" / "dist"
  dist.mkdir(parents=True, exist_ok=True)
  for role, content in contents.items():
    (dist / runtime._FILES[role][0]).write_bytes(content)


def npm(monkeypatch, run):
  monkeypatch.setattr(runtime.shutil, "which", lambda name: f"/bin/{name}")
  monkeypatch.setattr(runtime.subprocess, "run", run)


def test_the_lock_names_the_registry_the_version_and_hashes():
  lock = json.loads((files.FOLDER / "package-lock.json").read_text())
  packages = {name: entry for name, entry in lock["packages"].items() if name}
  assert packages["node_modules/onnxruntime-web"]["version"] == runtime.VERSION
  for entry in packages.values():
    assert entry["resolved"].startswith("https://registry.npmjs.org/")
    assert entry["integrity"].startswith("sha512-")
  package = json.loads((files.FOLDER / "package.json").read_text())
  assert package["dependencies"] == {"onnxruntime-web": runtime.VERSION}
  assert runtime.VERSION in runtime.CDN


def test_npm_runs_no_scripts_and_is_asked_once(tmp_path, monkeypatch, known):
  commands = []

  def run(command, **options):
    commands.append(command)
    bring(tmp_path, known)
    return subprocess.CompletedProcess(command, 0, "", "")

  npm(monkeypatch, run)
  for _ in range(2):
    places = runtime.copy(tmp_path)
  assert len(commands) == 1 and "--ignore-scripts" in commands[0]
  for role, place in places.items():
    assert (tmp_path / place["address"]).read_bytes() == known[role]
    assert not place["address"].endswith(".mjs") and place["integrity"] is None


def test_a_file_that_is_not_the_known_one_is_refused(tmp_path, monkeypatch, known):
  def run(command, **options):
    bring(tmp_path, {**known, "glue": b"something else"})
    return subprocess.CompletedProcess(command, 0, "", "")

  npm(monkeypatch, run)
  with pytest.raises(InputError, match="not onnxruntime-web"):
    runtime.copy(tmp_path)


@pytest.mark.parametrize("way", ["absent", "offline", "slow"])
def test_without_npm_or_a_connection_one_sentence_says_so(tmp_path, monkeypatch, known, way):
  errors = "npm error code ENOTFOUND\nnpm error network request to registry.npmjs.org failed\n"

  def run(command, *, timeout, **options):
    if way == "slow":
      raise subprocess.TimeoutExpired(command, timeout)
    return subprocess.CompletedProcess(command, 1, "", errors)

  npm(monkeypatch, run)
  if way == "absent":
    monkeypatch.setattr(runtime.shutil, "which", lambda name: None)
  reason = {"absent": "install Node.js", "offline": "network request", "slow": "timed out"}[way]
  with pytest.raises(InputError, match=reason) as error:
    runtime.copy(tmp_path)
  assert "CDN" in str(error.value) and "\n" not in str(error.value)


def test_the_folder_is_complete_and_holds_the_notices(tmp_path, monkeypatch, known):
  bring(tmp_path, known)
  model = pretrained.load("w300-68")
  line = web.write(model, tmp_path / "page", detector_name="none")
  assert str(tmp_path / "page") in line and "asks for a box" in line

  page = json.loads((tmp_path / "page" / "page.json").read_text())
  assert page["computer"] == "browser" and page["detector"] is None
  assert page["model"]["notice"] == model.notice
  assert page["browser"]["crop"] == {"size": 128, "face": 110.0}
  for name in (*files.names("browser"), page["browser"]["model"]):
    assert (tmp_path / "page" / name).stat().st_size
  assert not (tmp_path / "page" / "server.js").exists()

  notices = (tmp_path / "page" / web.NOTICES).read_text()
  assert "Microsoft" in notices and "MIT License" in notices
  assert model.notice in notices and model.card["licence"] in notices
  assert "mtcnn" not in notices


def test_from_a_cdn_nothing_of_the_runtime_is_copied_but_hashes(tmp_path):
  web.write(pretrained.load("free-68"), tmp_path, detector_name="none", cdn=runtime.CDN)
  assert not (tmp_path / runtime.FOLDER).exists()
  places = json.loads((tmp_path / "page.json").read_text())["browser"]["runtime"]
  for place in places.values():
    assert place["address"].startswith("https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/")
    assert place["integrity"].startswith("sha384-")


def test_a_detector_that_no_browser_runs_or_a_folder_of_others_is_refused(tmp_path):
  model = pretrained.load("free-68")
  with pytest.raises(InputError, match="--detector=yunet"):
    web.write(model, tmp_path, detector_name="yunet")
  (tmp_path / "file").write_text("")
  with pytest.raises(InputError, match="--web"):
    web.write(model, tmp_path / "file", detector_name="none")
  (tmp_path / "index.html").write_text("somebody's")
  with pytest.raises(InputError, match=r"not of a page \(file, index.html\)"):
    web.write(model, tmp_path, detector_name="none", cdn=runtime.CDN)
  assert (tmp_path / "index.html").read_text() == "somebody's"


def test_a_page_takes_the_place_of_an_earlier_one_whole(tmp_path):
  earlier = tmp_path / "page"
  (earlier / web.DETECTOR_FOLDER).mkdir(parents=True)
  (earlier / "page.json").write_text("{}")
  web.write(pretrained.load("free-68"), earlier, detector_name="none", cdn=runtime.CDN)
  assert not (earlier / web.DETECTOR_FOLDER).exists()
  assert json.loads((earlier / "page.json").read_text())["detector"] is None
  assert [path.name for path in tmp_path.iterdir()] == ["page"]


@pytest.mark.slow
def test_the_detector_s_networks_compute_what_they_do_in_opencv():
  onnxruntime = pytest.importorskip("onnxruntime")
  face_detectors.mtcnn_installed()
  from fal_jax.detect import load, mtcnn

  networks = mtcnn.read_networks(load.mtcnn_files())
  random = np.random.default_rng(0)
  sides = {"propose": (60, 41), "refine": (24, 24), "decide": (48, 48)}
  for (role, size), content in zip(
    sides.items(), web._detector_files("mtcnn").values(), strict=True
  ):
    images = random.integers(0, 256, (1, *size, 3)).astype(np.uint8)
    names = mtcnn.OUTPUTS[role]
    expected = mtcnn._run(getattr(networks, role), names, images)
    session = onnxruntime.InferenceSession(content)
    floats = (images.astype(np.float32) - 127.5) / 128
    outputs = session.run(list(names), {session.get_inputs()[0].name: floats})
    for one, other in zip(outputs, expected, strict=True):
      np.testing.assert_allclose(one, other, atol=1e-5)
