"""Paired differences: their intervals against SciPy's and theory, and the verdict in one line."""

import numpy as np
import pytest
import scipy.stats

from fal_jax.scoring import comparison, face_errors

PROTOCOL = {"norm": "ic", "threshold": 10, "expected": None, "found": 0, "title": "mine"}
NUM = 200


def _errors(percents, found=None):
  """Errors of one landmark each, in percent of a normaliser of 100 px."""
  true = np.zeros((len(percents), 1, 2))
  pred = true + np.asarray(percents)[:, None, None] * [1.0, 0.0]
  return face_errors.measure(pred, true, {"ic": np.full(len(percents), 100.0)}, found=found)


def _compare(first, second, *, found=(None, None), **options):
  errors = {"A": _errors(first, found[0]), "B": _errors(second, found[1])}
  return comparison.compare(errors, PROTOCOL, **options)["rows"][1]


@pytest.fixture
def pair():
  """Faces differ by more than the two methods do."""
  rng = np.random.default_rng(0)
  first = rng.gamma(4, 1, NUM)
  return first, np.abs(first + rng.normal(-0.2, 0.5, NUM))


def test_the_interval_is_that_of_scipy_s_bootstrap_over_faces(pair):
  first, second = pair

  differences = _compare(first, second)["differences"]

  for name, values in {
    "nme_ic": second - first,
    "auc_ic_10": 100 * (np.maximum(0, 1 - second / 10) - np.maximum(0, 1 - first / 10)),
    "fr_ic_10": 100 * ((second > 10) * 1.0 - (first > 10) * 1.0),
  }.items():
    theirs = scipy.stats.bootstrap(
      (values,), np.mean, method="percentile", n_resamples=9999, rng=np.random.default_rng(1)
    ).confidence_interval
    ours = differences[name]
    assert ours["mean"] == pytest.approx(values.mean())
    width = max(theirs.high - theirs.low, 1e-12)
    assert ours["interval"] == pytest.approx([*theirs], abs=0.06 * width), name


def test_pairing_makes_the_interval_as_narrow_as_theory_says(pair):
  first, second = pair

  low, high = _compare(first, second)["differences"]["nme_ic"]["interval"]

  paired = 2 * 1.96 * (second - first).std() / np.sqrt(NUM)
  unpaired = 2 * 1.96 * np.sqrt((first.var() + second.var()) / NUM)
  assert high - low == pytest.approx(paired, rel=0.1)
  assert high - low < unpaired / 2


def test_frames_of_a_video_are_drawn_together():
  """Two videos of a hundred equal frames are two differences."""
  first = np.full(NUM, 5.0)
  second = first + np.repeat([1.0, -0.5], NUM // 2)

  row = _compare(first, second, videos=["a"] * (NUM // 2) + ["b"] * (NUM // 2))

  assert row["differences"]["nme_ic"]["interval"] == pytest.approx([-0.5, 1.0])
  assert "cannot be told apart by nme_ic: the difference is 0.25 [-0.50, 1.00]" in row["verdict"]


@pytest.mark.parametrize(
  ("change", "verdict"),
  [
    (-0.25, "B is better than A by 0.25 nme_ic [0.25, 0.25]"),
    (0.004, "B is worse than A by 0.0040 nme_ic [0.0040, 0.0040]"),
    (0.0, "B and A cannot be told apart by nme_ic: the difference is 0.0000 [0.0000, 0.0000]"),
  ],
)
def test_the_verdict_is_one_line(change, verdict):
  first = np.full(NUM, 4.0)

  assert _compare(first, first + change)["verdict"].replace("-0.0000", "0.0000") == verdict


def test_few_faces_have_no_verdict():
  assert (
    "9 faces are too few for a verdict" in _compare(np.full(9, 4.0), np.full(9, 5.0))["verdict"]
  )


def test_faces_missing_in_one_file_count_as_failures_there_and_not_in_the_difference_of_nme(pair):
  """Where B found no face, A's error would flatter B if it were left in A's mean alone."""
  first, second = pair
  found = np.ones(NUM, bool)
  found[:20] = False

  row = _compare(first, second, found=(np.ones(NUM, bool), found))

  nme, failed = row["differences"]["nme_ic"], row["differences"]["fr_ic_10"]
  assert nme["mean"] == pytest.approx((second - first)[20:].mean())
  assert (nme["faces"], failed["faces"]) == (NUM - 20, NUM)
  worse = np.where(found, second > 10, True) * 1.0 - (first > 10)
  assert failed["mean"] == pytest.approx(100 * worse.mean())
  assert row["num_missing"] == 20
  assert row["percent_improved"] == pytest.approx(100 * ((second < first) & found).mean())
  assert f"on the {NUM - 20} faces of {NUM} that both found; over all, fr_ic_10" in row["verdict"]


def test_files_that_found_no_face_in_common_have_no_difference_of_nme():
  found = np.arange(NUM) < 50

  row = _compare(np.ones(NUM), np.ones(NUM), found=(found, ~found))

  assert row["verdict"] == "B and A have found no face in common"
  assert "nme_ic" not in row["differences"]
