"""The aligner: any number of faces, points in the photograph's pixels."""

import numpy as np
import pytest
import tiny_dataset

from fal_jax import data, evaluate, restore
from fal_jax.errors import InputError
from fal_jax.predict import FaceAligner

SIZE = 90, 100  # rows and columns of the test photograph


@pytest.fixture(scope="module")
def aligner(workdir):
  return FaceAligner.from_checkpoint(workdir)


@pytest.fixture(scope="module")
def face():
  """Image, landmarks and box of a face that was not trained on."""
  landmarks = tiny_dataset.face_landmarks(999, SIZE)
  box = np.concatenate([landmarks.min(0), landmarks.max(0)])
  return tiny_dataset.draw_face(landmarks, SIZE), landmarks, box


def boxes(count):
  corner = np.random.default_rng(count).uniform(0, 40, (count, 2))
  return np.concatenate([corner, corner + np.random.default_rng(1).uniform(20, 60, (count, 2))], 1)


@pytest.mark.slow
def test_a_run_s_network_comes_with_the_config_it_was_trained_under(aligner, workdir):
  assert aligner.setup.markup.num == tiny_dataset.MARKUP
  assert aligner.setup.crop.size == 64

  again = FaceAligner.from_checkpoint(str(workdir / "checkpoints"))
  assert again.setup.config == aligner.setup.config


@pytest.mark.slow
def test_the_aligner_agrees_with_the_evaluation_of_the_same_image(aligner, workdir):
  config = aligner.setup.config
  source = data.open_split(
    config.data.name, "test", data_dir=config.data.dir, num_landmarks=tiny_dataset.MARKUP
  )
  variables, _ = restore.restore_variables(aligner.setup, workdir)
  rule = aligner.setup.crop
  function = tiny_dataset.make_predict(aligner.setup.network, aligner.setup.codec)
  expected = evaluate.predict_split(function, variables, source, rule=rule, batch_size=8)

  for row in (0, 7):
    seed = int(data.example_id(source[row]).removeprefix("test/").removesuffix(".png"))
    size = tiny_dataset.image_size(seed)
    image = tiny_dataset.draw_face(tiny_dataset.face_landmarks(seed, size), size)

    result = aligner(image, data.face_box(source[row], rule)[None])

    np.testing.assert_allclose(result.landmarks[0], expected.landmarks[row], atol=1e-3)
    np.testing.assert_allclose(result.scores[0], expected.scores[row], atol=1e-5)


@pytest.mark.parametrize("count", [1, 3, 11])
def test_each_box_gets_its_own_landmarks(aligner, face, count):
  result = aligner(face[0], boxes(count))
  assert result.landmarks.shape == (count, tiny_dataset.MARKUP, 2)
  assert result.scores.shape == (count, tiny_dataset.MARKUP)
  assert np.isfinite(result.landmarks).all()
  assert np.isfinite(result.scores).all()

  last = aligner(face[0], boxes(count)[-1:])
  np.testing.assert_allclose(result.landmarks[-1], last.landmarks[0], atol=1e-3)


@pytest.mark.parametrize("none", [[], np.zeros((0, 4)), np.zeros(0)])
def test_no_box_gives_no_face_and_no_error(aligner, face, none):
  result = aligner(face[0], none)
  assert result.landmarks.shape == (0, tiny_dataset.MARKUP, 2)
  assert result.scores.shape == (0, tiny_dataset.MARKUP)


def test_moving_the_image_moves_the_landmarks_with_it(aligner, face):
  image, _, box = face
  moved = aligner(np.pad(image, ((7, 0), (7, 0), (0, 0))), box[None] + 7)
  np.testing.assert_allclose(moved.landmarks, aligner(image, box[None]).landmarks + 7, atol=1e-2)


def test_enlarging_the_image_enlarges_the_landmarks_with_it(aligner, face):
  image, _, box = face
  large = np.repeat(np.repeat(image, 4, 0), 4, 1)

  # Pixel centres: x becomes 4 x + 1.5. The crop shrinks the image by 4 again.
  in_large = (aligner(large, (4 * box + 1.5)[None]).landmarks - 1.5) / 4
  difference = np.linalg.norm(in_large - aligner(image, box[None]).landmarks, axis=-1)

  assert np.median(difference) < 0.5


def test_a_box_beyond_the_image_is_valid(aligner, face):
  outside = np.array([[-40, -30, 50, 60], [500, 500, 600, 600]])
  assert np.isfinite(aligner(face[0], outside).landmarks).all()


@pytest.mark.parametrize(
  ("image", "boxes", "named"),
  [
    (np.zeros((50, 50, 3)), [[0, 0, 9, 9]], r"uint8 RGB of shape \(H, W, 3\), got float64"),
    (np.zeros((50, 50), np.uint8), [[0, 0, 9, 9]], r"got uint8 \(50, 50\)"),
    (np.zeros((50, 50, 4), np.uint8), [[0, 0, 9, 9]], r"got uint8 \(50, 50, 4\)"),
    (np.zeros((1, 50, 50, 3), np.uint8), [[0, 0, 9, 9]], "uint8 RGB"),
    (np.zeros((0, 50, 3), np.uint8), [[0, 0, 9, 9]], "no pixels"),
    (np.zeros((50, 50, 3), np.uint8), [0, 0, 9, 9], r"boxes must have shape \(N, 4\)"),
    (np.zeros((50, 50, 3), np.uint8), [[0, 0, 9]], r"boxes must have shape \(N, 4\)"),
    (np.zeros((50, 50, 3), np.uint8), [[0, 0, 9, 9], [0, 0, 9, np.nan]], "four finite numbers"),
    (np.zeros((50, 50, 3), np.uint8), [[30, 30, 9, 9]], r"is it \(x, y, width, height\)"),
    (np.zeros((50, 50, 3), np.uint8), [[0, 0, 0, 0]], "no area"),
  ],
)
def test_bad_images_and_boxes_are_refused_in_one_sentence(aligner, image, boxes, named):
  with pytest.raises(InputError, match=named) as error:
    aligner(image, boxes)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_without_a_run_is_refused(tmp_path, made):
  if made:
    (tmp_path / "checkpoints").mkdir()
  with pytest.raises(InputError, match="train first, or give the --workdir of a run"):
    FaceAligner.from_checkpoint(tmp_path)
