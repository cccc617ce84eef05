"""A network as an ONNX model computes what `steps.predict_step` does, whatever it is made of."""

import dataclasses
import functools
from typing import get_args

import jax
import numpy as np
import onnx
import onnx_models
import pytest
import tiny_dataset
from fan_variables import random_variables
from flax import linen as nn
from quick_xla import QUICKLY

from fal_jax import affine, build, crop, landmarks, network, steps
from fal_jax.errors import InputError
from fal_jax.export import onnx_model
from fal_jax.heads import Head
from fal_jax.predict import FaceAligner
from fal_jax.weights import pretrained
from tfds_builders.synthetic_faces import render

BATCHES = (1, 3, 17)
IMAGES = np.random.default_rng(0).integers(0, 256, (max(BATCHES), 64, 64, 3), dtype=np.uint8)


def random_network(**changes) -> tuple[build.Setup, dict]:
  """A small network with random weights, whose heatmaps are as high as those of trained ones."""
  setup = build.setup(tiny_dataset.config("nowhere", **changes))
  variables = random_variables(setup.network, IMAGES[:1].astype(np.float32))

  _, _, heatmaps = run(onnx_model.write(setup, variables), IMAGES[:3])
  params = variables["params"].get("fan", variables["params"])
  last = params.get("heatmaps") or params[f"l{setup.config.model.num_stacks - 1}"]
  last |= {part: array * 0.25 / heatmaps.std() for part, array in last.items()}
  return setup, variables


def run(model: onnx.ModelProto, images: np.ndarray) -> list[np.ndarray]:
  """Landmarks (B, K, 2), scores (B, K) and heatmaps (B, H, H, K) of images (B, S, S, 3)."""
  return onnx_models.session(model).run(None, {"images": images})


@functools.partial(jax.jit, static_argnames=("model", "codec"), compiler_options=QUICKLY)
def native(variables, images, *, model, codec):
  """Landmarks (B, K, 2), scores (B, K) and heatmaps (B, H, H, K) by JAX."""
  heatmaps = network.predict(model, variables, images.astype(np.float32) / 255).heatmaps[-1]
  points, scores, _ = steps.predict_step(variables, images, model=model, codec=codec)
  return points, scores, heatmaps


def check(setup: build.Setup, variables: dict) -> None:
  """Compares for batches of all sizes.

  Random heatmaps are rough: where two cells are nearly equal, rounding decides which is the
  highest, and landmarks are a cell apart. So heatmaps are compared, and landmarks wherever both
  have the same highest cell, which must be nearly everywhere.
  """
  model = onnx_model.write(setup, variables)
  session = onnx_models.session(model)
  expected = native(variables, IMAGES, model=setup.network, codec=setup.codec)
  points, scores, heatmaps = map(np.asarray, expected)
  assert 0.2 < heatmaps.std() < 0.3

  for batch in BATCHES:
    got, got_scores, got_heatmaps = session.run(None, {"images": IMAGES[:batch]})
    np.testing.assert_allclose(got_heatmaps, heatmaps[:batch], atol=2e-5)
    np.testing.assert_array_equal(got_scores, got_heatmaps.max((1, 2)))
    np.testing.assert_allclose(got_scores, scores[:batch], atol=2e-5)

    cells, got_cells = (
      maps.reshape(batch, -1, maps.shape[-1]).argmax(1) for maps in (heatmaps[:batch], got_heatmaps)
    )
    same = cells == got_cells
    assert same.mean() > 0.99
    np.testing.assert_allclose(got[same], points[:batch][same], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
  "changes",
  [
    {"model__num_stacks": 2, "model__depth": 2, "model__pool": "max", "model__epsilon": 1e-3},
    {"model__num_stacks": 3, "model__depth": 4, "model__features": 16, "model__epsilon": 0.1},
    {"model__name": "mobile_unet", "model__depth": 2, "model__epsilon": 1e-3},
    {"model__name": "mobile_unet", "model__depth": 4, "model__expansion": 1},
  ],
)
def test_networks_of_any_shape_are_written(changes):
  check(*random_network(**changes, codec__decode="local_softargmax"))


@pytest.mark.slow
@pytest.mark.parametrize("head", get_args(Head))
def test_every_head_is_written(head):
  decoder = "argmax" if head.startswith("correction") else "global_softargmax"
  decoder = "calibrated" if head == "heatmaps" else decoder
  setup, variables = random_network(head=head, codec__decode=decoder)
  check(setup, variables)


def test_a_network_of_another_precision_is_written_in_float32():
  setup, variables = random_network(model__dtype="float32", codec__decode="local_softargmax")
  narrow, _ = random_network(model__dtype="bfloat16", codec__decode="local_softargmax")
  assert narrow.network != setup.network

  models = [onnx_model.write(each, variables) for each in (setup, narrow)]

  assert models[0].SerializeToString() == models[1].SerializeToString()


def test_the_file_says_what_it_is_and_needs_standard_operators_alone():
  setup, variables = random_network(codec__decode="calibrated")

  model = onnx_model.write(setup, variables, name="mine", licence="CC0-1.0")

  assert [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
  assert {node.domain for node in model.graph.node} == {""}
  metadata = {entry.key: entry.value for entry in model.metadata_props}
  assert metadata == {
    "name": "mine",
    "licence": "CC0-1.0",
    "crop_size": "64",
    "num_landmarks": "29",
  }
  session = onnx_models.session(model)
  assert [(each.name, each.shape, each.type) for each in session.get_inputs()] == [
    ("images", ["batch", 64, 64, 3], "tensor(uint8)")
  ]
  assert [(each.name, each.shape, each.type) for each in session.get_outputs()] == [
    ("landmarks", ["batch", 29, 2], "tensor(float)"),
    ("scores", ["batch", 29], "tensor(float)"),
    ("heatmaps", ["batch", 16, 16, 29], "tensor(float)"),
  ]


def test_every_weight_is_in_the_file_once_and_nothing_else_of_any_size():
  setup, variables = random_network(codec__decode="calibrated")
  numbers = sum(leaf.size for leaf in jax.tree.leaves(variables))

  model = onnx_model.write(setup, variables)

  stored = sum(onnx.numpy_helper.to_array(each).size for each in model.graph.initializer)
  assert stored < numbers + 2000


def test_a_network_that_nobody_has_written_a_graph_for_is_refused():
  class Foreign(nn.Module):
    stride: int = 4
    size_multiple: int = 4

  setup, variables = random_network()
  with pytest.raises(InputError, match="no ONNX writer for the network Foreign, only for FAN and"):
    onnx_model.write(dataclasses.replace(setup, network=Foreign()), variables)


@pytest.mark.slow
def test_rendered_faces_get_the_landmarks_that_the_aligner_gives_them():
  shipped = pretrained.load("free-68")
  setup = build.setup(shipped.config)
  faces = [render.render_face(0, "test", number) for number in range(3)]
  boxes = landmarks.tight_boxes(np.stack([face.landmarks_68 for face in faces]))
  aligner = FaceAligner(setup, shipped.variables)
  expected = [aligner(face.image, box[None]) for face, box in zip(faces, boxes, strict=True)]

  crops_from_image = [crop.crop_from_image(box, setup.crop) for box in boxes]
  crops = [
    crop.extract(face.image, crop_from_image, setup.crop.size)
    for face, crop_from_image in zip(faces, crops_from_image, strict=True)
  ]
  points, scores, _ = run(onnx_model.write(setup, shipped.variables), np.stack(crops))

  for i, result in enumerate(expected):
    in_crop = affine.apply(crops_from_image[i], result.landmarks[0])
    np.testing.assert_allclose(points[i], in_crop, atol=1e-3)
    np.testing.assert_allclose(scores[i], result.scores[0], atol=1e-5)
