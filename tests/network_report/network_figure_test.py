"""The figure of the network report: the sweeps as curves, every other decoder as a level."""

import drawings
import numpy as np
import pytest

from fal_jax.network_report import figure

BLUE, ORANGE, GREEN = (0, 0x72, 0xB2), (0xD5, 0x5E, 0), (0, 0x9E, 0x73)


def row(nme, **setting):
  return {"decode": "local_softargmax", "window": 5, "temperature": 10.0, "nme_ic": nme, **setting}


@pytest.mark.slow
@pytest.mark.parametrize("own", ["local_softargmax", "dark"])
def test_decoders_are_levels_at_their_errors_and_the_run_s_own_is_marked(tmp_path, own):
  path = tmp_path / "new" / "test.png"
  report = {
    "norm": "ic",
    "own": row(4.0, decode=own),
    "decoders": [row(4.0), row(1.0, decode="argmax"), row(16.0, decode="dark")],
    "windows": [row(8.0, window=1), row(4.0), row(2.0, window=7)],
    "temperatures": [row(2.0, temperature=1.0), row(4.0), row(8.0, temperature=100.0)],
  }

  figure.draw_network_report(path, report, title="test")

  pixels = drawings.read_rgb(path)[:, :1050]  # without the labels
  low, high = (
    np.median(np.nonzero(drawings.where(pixels, colour, 10))[0]) for colour in (ORANGE, GREEN)
  )
  curve = np.nonzero(drawings.where(pixels, BLUE, 10))[0]
  # From 1 to 16 in four doublings; the curves go from 2 to 8.
  assert curve.min() == pytest.approx(high + (low - high) / 4, abs=8)
  assert curve.max() == pytest.approx(high + 3 * (low - high) / 4, abs=8)

  black = drawings.where(pixels, (0, 0, 0), 10)
  middle = round((low + high) / 2)
  assert (black[middle].sum() > 20) == (own == "local_softargmax")
