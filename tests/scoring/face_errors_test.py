"""Errors of faces, measured once: summaries, which faces are valid, and subsets of faces."""

import json
import os
import pathlib

import numpy as np
import pytest

from fal_jax import metrics
from fal_jax.errors import InputError
from fal_jax.scoring import face_errors


def _faces(n: int = 12, num: int = 68) -> tuple[np.ndarray, np.ndarray]:
  """Predictions and annotations of n random faces of about 200 px, some 3 px apart."""
  rng = np.random.default_rng(0)
  true = rng.uniform(0, 200, (n, num, 2))
  return true + rng.normal(0, 3, true.shape), true


def _measure(pred, true, num=68, **options):
  return face_errors.measure(pred, true, metrics.norms(true, num), **options)


def test_a_summary_agrees_with_the_single_functions_and_is_json():
  pred, true = _faces(40)
  nme = metrics.nme(pred, true, metrics.norms(true, 68)["ic"])

  summary = _measure(pred, true).summary()

  assert json.loads(json.dumps(summary, allow_nan=False)) == summary
  assert summary["num_images"] == 40
  assert summary["nme_ic"] == nme.mean()
  assert summary["auc_ic_10"] == 100 * metrics.auc(nme, 10)
  assert summary["fr_ic_8"] == metrics.failure_rate(nme, 8)
  others = {"nme_ip", "nme_box", "nme_diag", "auc_ic_8", "fr_ic_10", "auc_box_7", "fr_box_7"}
  assert others <= set(summary)
  assert (summary["num_degenerate"], summary["degenerate"]) == (0, {})


def test_every_metric_is_the_mean_of_what_valid_faces_contribute():
  pred, true = _faces(40)
  true[3, 36] = np.nan

  of_norm = _measure(pred, true).by_norm["ic"]

  values = of_norm.valid_values()
  assert values.shape == (39, len(of_norm.metrics))
  np.testing.assert_allclose(values.mean(0), [*of_norm.means().values()], rtol=1e-12)


def test_a_prediction_far_beyond_any_image_is_a_failure_of_the_summary():
  pred, true = _faces(4)
  pred[1, 0] = 1e200

  assert _measure(pred, true).summary()["fr_ic_10"] >= 25


def test_degenerate_faces_are_named_counted_and_left_out_of_the_mean():
  pred, true = _faces(5)
  without_them = _measure(pred[2:], true[2:]).summary()
  true[0, 36] = true[0, 45] + 0.5  # eye corners less than a pixel apart
  true[1, 36] = np.nan

  summary = _measure(pred, true, ids=list("abcde")).summary()

  assert summary["degenerate"] == {"ic": ["a", "b"], "ip": ["b"]}
  assert summary["num_degenerate"] == 2
  assert summary["num_images"] == 5
  assert summary["nme_ic"] == pytest.approx(without_them["nme_ic"], rel=1e-12)


def test_a_normaliser_that_no_face_has_is_left_out_of_the_summary():
  pred, true = _faces(4, 39)

  summary = _measure(pred, true, 39).summary()

  assert not [name for name in summary if "_ic" in name or "_ip" in name]
  assert summary["num_degenerate"] == 0
  assert "nme_box" in summary


def test_thresholds_and_further_normalisers_are_the_callers_choice():
  pred, true = _faces(4)
  norms = {"box_dataset": np.full(4, 100.0)}

  errors = face_errors.measure(pred, true, norms, thresholds={"box_dataset": (5, 2.5)})

  summary = errors.summary()
  names = metrics.metric_names("box_dataset", (5, 2.5))
  assert {"nme_box_dataset", "auc_box_dataset_5", "fr_box_dataset_2.5"} <= set(names)
  assert summary["metric_names"] == {"box_dataset": names}
  others = {"num_images", "metric_names", "num_degenerate", "degenerate"}
  assert set(summary) == {*names, *others}


def test_some_of_the_faces_have_the_errors_that_they_have_alone():
  pred, true = _faces(20)
  true[3, 36] = np.nan
  rows = np.array([3, 5, 6, 17])
  names = [f"face {row}" for row in range(20)]

  taken = _measure(pred, true, ids=names).take(rows).summary()

  assert taken == _measure(pred[rows], true[rows], ids=[names[row] for row in rows]).summary()
  assert taken["degenerate"] == {"ic": ["face 3"], "ip": ["face 3"]}


def test_a_number_of_ids_that_does_not_fit_is_refused():
  with pytest.raises(InputError, match="2 ids for 4 faces: give one id per face"):
    _measure(*_faces(4), ids=["a", "b"])


def test_a_shift_of_one_pixel_costs_what_is_known_of_the_300w_test_faces():
  root = os.environ.get("FAL_JAX_TEST_DATA")
  path = pathlib.Path(root or "", "annotations", "w300_full.npz")
  if not root or not path.is_file():
    pytest.skip("FAL_JAX_TEST_DATA names no folder with annotations/w300_full.npz")
  with np.load(path, allow_pickle=False) as archive:
    true = archive["landmarks"]

  summary = _measure(true + 1, true).summary()

  assert summary["nme_ic"] == pytest.approx(1.14, abs=0.005)
  assert summary["nme_box"] == pytest.approx(0.66, abs=0.005)
  assert summary["nme_ip"] / summary["nme_ic"] == pytest.approx(1.41, abs=0.02)
