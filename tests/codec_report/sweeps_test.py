"""What the codec's figures show: errors known by hand, and what the figures say."""

import numpy as np
import pytest

from fal_jax.codec_report import sweep_figures, sweeps
from fal_jax.heatmap import HeatmapCodec
from fal_jax.plots import figure

CODEC = HeatmapCodec(size=16, stride=4)
LANDMARKS = np.random.default_rng(0).uniform(24, 36, (300, 2))  # crop px


@pytest.mark.slow
def test_argmax_errs_by_the_offset_from_the_cell_and_rounding_makes_every_decoder_do_so():
  curves = sweeps.by_position(CODEC, LANDMARKS)

  position = np.array(curves["position"])
  for name in ("rounded + argmax", "rounded + calibrated", "continuous + argmax"):
    np.testing.assert_allclose(curves[name]["signed"], -position, atol=0.021)
    np.testing.assert_allclose(curves[name]["absolute"], np.abs(position), atol=0.021)
  local = np.array(curves["continuous + local_softargmax"]["absolute"])
  assert 0.01 < local.max() < 0.06
  assert max(curves["continuous + calibrated"]["absolute"]) < 1e-4


def test_landmarks_near_the_border_or_not_annotated_are_left_out_of_the_sample():
  points = np.full((2, 3, 2), 30.0)
  points[0, 0] = np.nan
  points[1, 2] = [30.0, 2.0]

  assert sweeps.sample(points, CODEC).tolist() == [[30.0, 30.0]] * 4
  # A map that is smaller than the largest window: all of them.
  assert len(sweeps.sample(points, HeatmapCodec(size=8, stride=4))) == 5


@pytest.mark.slow
def test_each_setting_is_varied_alone_and_sizes_are_in_pixels_of_the_crop():
  settings = sweeps.by_setting(CODEC, LANDMARKS)

  assert settings["window"]["x"] == [3, 5, 7, 9]
  assert settings["size"]["x"] == [8, 16, 32]  # 4 cells would be less than the window
  own = settings["sigma"]["local_softargmax"][sweeps.SIGMAS.index(1.5)]
  assert own == pytest.approx(0.029, rel=0.1)  # heatmap px, as in the tables
  assert settings["window"]["local_softargmax"][1] == pytest.approx(own)
  assert settings["size"]["local_softargmax"][1] == pytest.approx(4 * own)
  assert len(set(settings["sigma"]["argmax"])) == 1
  ten = np.argmin(np.abs(sweeps.TEMPERATURES - 10))
  assert settings["temperature"]["local_softargmax"][ten] == pytest.approx(own, rel=0.1)


@pytest.fixture
def svg(tmp_path):
  """Draws into a file and returns its text."""
  if not figure.has_matplotlib():
    pytest.skip(figure.NO_MATPLOTLIB)

  def text(draw, *arguments, **options) -> str:
    path = tmp_path / "figure.svg"
    draw(path, *arguments, caption="What was measured.", command="the command", **options)
    return path.read_text()

  return text


def test_curves_that_hide_each_other_share_a_label_beside_their_end(svg):
  x = np.linspace(-0.4, 0.4, 5)
  same = {"signed": (-x).tolist(), "absolute": np.abs(x).tolist()}
  exact = {"signed": [1e-7] * 5, "absolute": [1e-7] * 4 + [None]}
  curves = {"position": x.tolist(), "continuous + calibrated": exact}
  curves |= {f"rounded + {decoding}": same for decoding in sweeps.DECODINGS}
  curves["continuous + argmax"] = same

  text = svg(sweep_figures.draw_position, curves)

  for words in ("any decoder", "= continuous,", "calibrated (ours)", "What was", "the command"):
    assert words in text, words
  assert "local soft-argmax" not in text  # alone; it is one of "any decoder"


@pytest.mark.slow
def test_settings_and_noise_are_drawn_with_their_units(svg):
  def curves(x, names):
    return {"x": list(x), **{name: [0.1 * (i + 1)] * len(x) for i, name in enumerate(names)}}

  names = sweeps.DECODINGS
  settings = {
    "sigma": curves(sweeps.SIGMAS, names),
    "window": curves(sweeps.WINDOWS, names),
    "temperature": curves(sweeps.TEMPERATURES, names),
    "size": curves([16, 32, 64], names),
  }
  text = svg(sweep_figures.draw_settings, settings, own={"sigma": 1.5, "size": 32})
  for words in ("heatmap px", "crop px", "temperature τ", "side of the heatmap", "argmax"):
    assert words in text, words

  noises = {kind: curves(sweeps.NOISES, sweeps.NOISY_DECODINGS) for kind in ("white", "blurred")}
  text = svg(sweep_figures.draw_noise, noises)
  for words in ("white noise", "blurred by 1 heatmap px", "DARK", "0.005"):
    assert words in text, words
