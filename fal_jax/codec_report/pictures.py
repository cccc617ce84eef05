"""Which figures a codec report consists of, and what their captions say."""

import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fal_jax.codec_report import decoder_tables, sweep_figures, sweeps
from fal_jax.codec_report.figure import draw_codec_report
from fal_jax.codec_report.roundtrip import errors_by_temperature
from fal_jax.heatmap import HeatmapCodec

NOISE = "decoders_noise.png"


def draw_faces(
  path: Path,
  report: Mapping[str, Any],
  errors: Mapping[str, np.ndarray],
  codec: HeatmapCodec,
  *,
  command: str,
) -> str:
  """Draws the figures of one file or split.

  Args:
    path: `<name>.png`, beside which `<name>_position.png` and `<name>_settings.png` go.
    report: from `report.measure`.
    errors: from there, method -> (N,) percent.
    codec: the config's.
    command: what makes the figures again.

  Returns:
    Markdown that shows them.
  """
  temperature, heatmap_px = report["temperature"], report["temperature_heatmap_px"]
  low, high = min(temperature.values()) / 5, max(temperature.values()) * 5
  grid = np.geomspace(low, high, 161).astype(np.float32)
  draw_codec_report(
    path,
    {name: nme[np.isfinite(nme)] for name, nme in errors.items()},
    norm=report["curve"],
    temperatures=grid,
    heatmap_px=errors_by_temperature(codec, grid),
    marks={
      f"{name}: τ = {temperature[name]:.3g}": (temperature[name], heatmap_px[name])
      for name in temperature
    },
    titles=(
      f"{path.stem}: encoded and decoded again, no network",
      f"local soft-argmax, σ {codec.sigma:g}, window {codec.window}",
    ),
  )

  where = report["provenance"]
  split = "" if where["dataset"].startswith(path.stem) else f", {path.stem}"
  side = round(codec.size * codec.stride)
  subject = (
    f"{report['pictures']['landmarks']:,} of {report['landmarks']:,} annotated landmarks of "
    f"{where['dataset']}{split}, drawn as perfect heatmaps of {codec.size} x {codec.size} cells "
    f"(crops of {side} px) and read again, no network"
  )
  options = f"σ {codec.sigma:g}, window {codec.window}, temperature {codec.temperature:g}"
  position = path.with_name(f"{path.stem}_position.png")
  sweep_figures.draw_position(
    position,
    report["pictures"]["position"],
    caption=f"Mean along x and y of {subject}; {options}. Errors of 1e-7 are rounding of float32.",
    command=command,
  )
  settings = path.with_name(f"{path.stem}_settings.png")
  sweep_figures.draw_settings(
    settings,
    report["pictures"]["settings"],
    own={"sigma": codec.sigma, "window": codec.window, "temperature": codec.temperature}
    | {"size": codec.size},
    caption=(
      f"{subject}; continuous encoding. Dotted: the config's own, {options}, which other panels "
      "keep. Temperatures: on points that fill a cell. Below 1e-5: rounding of float32."
    ),
    command=command,
  )
  return "\n\n".join(
    _link(*pair)
    for pair in (
      ("Error of each face, and by temperature", path),
      ("Error by position in a cell", position),
      ("Error by sigma, window, temperature and size", settings),
    )
  )


def draw_decoders(path: Path, config: ConfigDict, *, command: str) -> str:
  """Draws the errors of the decoders on noisy heatmaps.

  Args:
    path: of the figure.
    config: gives sigma, window and temperature.
    command: what makes the figure again.

  Returns:
    Markdown that shows it.
  """
  options = config.codec
  sweep_figures.draw_noise(
    path,
    sweeps.by_noise(config),
    caption=(
      f"Mean over {decoder_tables.POINTS:,} random points away from the border, continuous "
      f"heatmaps of {decoder_tables.MAP} x {decoder_tables.MAP} cells, no network; "
      f"σ {options.sigma:g}, window {options.window}, temperature {options.temperature:g}. Noise: "
      "its standard deviation."
    ),
    command=command,
  )
  return _link("Errors of decoders on noisy heatmaps", path)


def _link(text: str, path: Path) -> str:
  return f"![{text}]({urllib.parse.quote(path.name)})"  # a slice has brackets and a percent sign
