"""Each process's share of the rows, put together again without processes."""

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from fal_jax.distributed import share


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("length", [1, 2, 7, 8, 9])
def test_the_rows_of_all_are_those_of_the_source_in_its_order(monkeypatch, count, length):
  rng = np.random.default_rng(length)
  source = list(rng.normal(size=(length, 3, 2)) * 1e6)
  monkeypatch.setattr(jax, "process_count", lambda: count)

  shares = []
  for index in range(count):
    monkeypatch.setattr(jax, "process_index", lambda index=index: index)
    mine = share.of(source)
    shares.append([mine[row] for row in range(len(mine))])
  assert len({len(rows) for rows in shares}) == 1  # a collective needs shares of one shape
  assert len(shares[0]) == -(-length // count)

  def gather(content):
    assert content.dtype == np.uint8
    return np.stack([np.stack(rows).view(np.uint8).reshape(len(rows), -1) for rows in shares])

  monkeypatch.setattr(multihost_utils, "process_allgather", gather)
  everything = share.gathered(shares[0], length)
  assert everything.dtype == np.float64
  np.testing.assert_array_equal(everything, np.stack(source))


def test_a_source_without_rows_stays_as_it_is(monkeypatch):
  monkeypatch.setattr(jax, "process_count", lambda: 2)
  assert share.of([]) == []
