"""Promise 1: kills at random moments leave no trace in state, log, evaluation and predictions."""

import pytest
import soak


@pytest.mark.heavy
def test_kills_at_random_moments_leave_no_difference(folder, tmp_path):
  assert soak.soak(folder, tmp_path, kills=2, seed=3) == []
