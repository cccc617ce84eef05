"""The networks that come with the package: whole, described, harmless, and good at faces."""

import shutil

import jax
import numpy as np
import pytest

import fal_jax
from fal_jax import build, landmarks, metrics, steps
from fal_jax.errors import InputError
from fal_jax.predict import FaceAligner
from fal_jax.weights import pretrained
from tfds_builders.synthetic_faces import render

NAMES = ("free-68", "w300-68")
EVERY = pytest.mark.parametrize("name", NAMES)


def test_the_package_lists_its_networks_with_a_line_about_each():
  assert tuple(fal_jax.models()) == NAMES
  assert "research use only" in fal_jax.models()["w300-68"]
  assert "Apache-2.0" in fal_jax.models()["free-68"]


@EVERY
def test_a_card_says_what_the_network_is_and_what_it_was_measured_on(name):
  card = pretrained.read_card(name)
  words = ("name", "summary", "licence", "data", "network", "training", "measured", "limits")
  assert all(len(card[word]) > 5 for word in words)
  assert card["results"] and card["name"] == name
  assert (pretrained.FOLDER / f"{name}.safetensors").stat().st_size < 4 * 2**20


@EVERY
def test_its_weights_are_those_of_the_network_that_its_config_describes(name):
  model = pretrained.load(name)
  recipe = build.setup(model.config).recipe(steps_per_epoch=1)

  expected = jax.eval_shape(lambda: steps.init_state(jax.random.key(0), recipe)).variables

  shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), model.variables)
  assert shapes == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), expected)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(model.variables))


def test_only_the_one_with_a_restricted_licence_says_so_in_one_line(capsys):
  FaceAligner.from_pretrained("free-68")
  assert capsys.readouterr().out == ""

  FaceAligner.from_pretrained("w300-68")
  assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize("name", ["", "free", "free-68.json", "../weights/free-68", "/etc/passwd"])
def test_a_name_that_there_is_not_is_refused_with_those_there_are(name):
  with pytest.raises(InputError, match="choose one of free-68, w300-68"):
    FaceAligner.from_pretrained(name)


@pytest.mark.parametrize("damage", ["flipped", "missing", "empty"])
def test_a_damaged_file_is_refused_before_anything_is_read_from_it(tmp_path, monkeypatch, damage):
  for path in pretrained.FOLDER.glob("free-68.*"):
    shutil.copy(path, tmp_path)
  arrays = tmp_path / "free-68.safetensors"
  content = bytearray(arrays.read_bytes())
  content[len(content) // 2] ^= 1
  arrays.write_bytes({"flipped": content, "missing": b"", "empty": b""}[damage])
  monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
  monkeypatch.setattr(pretrained, "_names", lambda: ["free-68"])
  if damage == "missing":
    arrays.unlink()

  with pytest.raises(InputError, match=r"missing or damaged .* install fal_jax again"):
    pretrained.load("free-68")


@pytest.mark.slow
def test_rendered_faces_that_it_has_not_seen_are_found_to_a_few_percent():
  aligner = FaceAligner.from_pretrained("free-68")
  faces = [render.render_face(0, "test", number) for number in range(8)]

  truth = np.stack([face.landmarks_68 for face in faces])
  boxes = landmarks.tight_boxes(truth)
  points = [
    aligner(face.image, box[None]).landmarks[0] for face, box in zip(faces, boxes, strict=True)
  ]

  errors = metrics.nme(np.stack(points), truth, metrics.norms(truth, 68)["ic"])
  assert errors.mean() < 3.5
