"""What heatmaps alone cost: annotated landmarks encoded and decoded again, without network or image
(Figure 3 of the paper).
"""

import csv
import dataclasses
import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fal_jax import affine, build, evaluate, metrics
from fal_jax.codec_report import decoder_tables
from fal_jax.codec_report.figure import draw_codec_report
from fal_jax.codec_report.roundtrip import errors_by_temperature, recommend_temperature, roundtrip
from fal_jax.crop import crop_from_image
from fal_jax.errors import InputError
from fal_jax.heatmap import HeatmapCodec
from fal_jax.output import markdown
from fal_jax.plots import figure
from fal_jax.scoring.annotations import Faces, read_npz, read_split

STANDARD = "rounded + argmax"
EQ_1 = "continuous + local_softargmax, amplitude of Eq. 1"
NORMS = ("ic", "box", "diag")


def run(
  config: ConfigDict, workdir: str | Path, landmarks: str | None, *, command: str
) -> Iterator[str]:
  """--mode=codec_report: writes `codec_report/<name>.md`, `.json`, `.png`, and `.csv` with the NME
  of each face.

  And `decoders.md`, about noise and low peaks, which needs no landmarks.

  Args:
    config: gives crop and codec, and the dataset unless `landmarks` does.
    workdir: the folder to write to.
    landmarks: an .npz file; None reads the landmarks of all `config.eval.splits`.
    command: what makes the report again.

  Yields:
    What belongs on the screen, for each file or split.
  """
  num, rule = build.markup(config).num, build.crop_rule(config)
  if rule.size % build.STRIDE:
    raise InputError(f"config.crop.size must be a multiple of {build.STRIDE}, got {rule.size}.")
  if landmarks is not None:
    read = [read_npz(landmarks, num_landmarks=num)]
  elif config.data.name and config.eval.splits:
    name, place = build.eval_dataset(config), config.data.dir
    read = [
      read_split(name, split, data_dir=place, num_landmarks=num, rule=rule)
      for split in config.eval.splits
    ]
  else:
    raise InputError(
      "config.data.name or config.eval.splits is empty: name a prepared dataset and splits, or give --landmarks."
    )
  measured = [
    measure(faces, config) for faces in read
  ]  # a mistake in the last one comes up before anything is written
  directory = Path(workdir).expanduser() / "codec_report"
  try:
    directory.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise InputError(
      f"Nothing can be written to --workdir={workdir} ({error.strerror}): name another folder."
    ) from error
  (directory / "decoders.md").write_text(decoder_tables.report(config), encoding="utf-8")
  for faces, (report, errors) in zip(read, measured, strict=True):
    path = directory / f"{faces.name}.md"
    path.with_name(f"{faces.name}.json").write_text(
      json.dumps({"command": command, **report}, indent=2) + "\n", encoding="utf-8"
    )
    with path.with_name(f"{faces.name}.csv").open("w", newline="", encoding="utf-8") as file:
      csv.writer(file).writerows(
        [[f"nme_{report['curve']}", *errors], *zip(faces.ids, *errors.values(), strict=True)]
      )
    if figure.has_matplotlib():
      _draw(path.with_name(f"{faces.name}.png"), report, errors, codec(config))
      picture = f"![Error of each face, and by temperature]({faces.name}.png)"
    else:
      picture = f"No figure is drawn: {figure.NO_MATPLOTLIB}."
    settings = json.dumps(report["provenance"], indent=2)
    text = f"{faces.name}\n\n{table(report)}\n\n" + "\n".join(f"* {note}" for note in notes(report))
    path.write_text(
      f"# {text}\n\n{picture}\n\n```\n{command}\n```\n\n```json\n{settings}\n```\n",
      encoding="utf-8",
    )
    yield f"{text}\n\n" + (
      f"Report with figure: {path}\n" if figure.has_matplotlib() else f"Report: {path}. {picture}\n"
    )


def codec(config: ConfigDict, **changes: Any) -> HeatmapCodec:
  """The config's codec with other options. The report itself says what is wrong with Eq. 1's
  amplitude.
  """
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    return dataclasses.replace(build.codec(config), **changes)


def methods(config: ConfigDict) -> dict[str, HeatmapCodec]:
  """The codecs to compare: baselines, every decoder there is, Eq. 1 as printed, and the config's
  own if it is none of these.
  """
  found = {
    f"{encode} + {decode}": codec(config, encoding=encode, decoding=decode, amplitude="peak_one")
    for encode, decode in decoder_tables.PAIRS
  }
  found[EQ_1] = codec(
    config, encoding="continuous", decoding="local_softargmax", amplitude="normalised"
  )
  own = codec(config)
  return (
    found
    if own in found.values()
    else {**found, f"config: {own.encoding} + {own.decoding}, {own.amplitude}": own}
  )


def measure(faces: Faces, config: ConfigDict) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """Every method on every face.

  Returns:
    The report, ready for JSON; and by method (N,) the NME of each face in percent of the normaliser
    `report["curve"]`, NaN for a face that lacks it.
  """
  crops = np.stack([_crop(faces, row, config) for row in range(len(faces.ids))])
  crop_landmarks = affine.apply(crops, faces.landmarks)
  norms = metrics.norms(faces.landmarks, build.markup(config))
  norms = {norm: norms[norm] for norm in NORMS}
  rows: dict[str, dict[str, float]] = {}
  errors: dict[str, np.ndarray] = {}
  for name, method in methods(config).items():
    decoded = roundtrip(method, crop_landmarks)
    pred = affine.apply(affine.invert(crops), decoded)
    summary = metrics.summarise(pred, faces.landmarks, norms, ids=faces.ids, thresholds={})
    if "nme_box" not in summary:
      raise InputError(
        f"{faces.dataset}: no face is as wide as a pixel; landmarks must be in image pixels, not from 0 to 1."
      )
    curve = "ic" if "nme_ic" in summary else "box"
    nme = metrics.nme(pred, faces.landmarks, norms[curve])
    errors[name] = np.where(norms[curve] >= metrics.MIN_NORM, nme, np.nan)
    rows[name] = {
      "heatmap_px": float(np.nanmean(np.linalg.norm(decoded - crop_landmarks, axis=-1)))
      / build.STRIDE
    }
    rows[name] |= {"ratio": rows[STANDARD]["heatmap_px"] / max(rows[name]["heatmap_px"], 1e-9)}
    rows[name] |= {
      f"nme_{norm}": summary[f"nme_{norm}"] for norm in NORMS if f"nme_{norm}" in summary
    }

  own, provenance = codec(config), evaluate.provenance(config, split=faces.name, step=0)
  temperatures = own.temperature, recommend_temperature(own)
  read_at = errors_by_temperature(own, np.array(temperatures, np.float32))
  position = affine.apply(
    affine.shrink(build.STRIDE), crop_landmarks[np.isfinite(crop_landmarks).all(-1)]
  )
  depth = (
    np.minimum(position, own.size - 1 - position).min(-1) + 0.5
  )  # heatmap px from the border, negative outside
  report = {
    "faces": len(faces.ids),
    "landmarks": len(position),
    "not_annotated": crop_landmarks[..., 0].size - len(position),
    "percent_cut": 100 * float((depth < own.window // 2).mean()),
    "percent_outside": 100 * float((depth < 0).mean()),
    "methods": rows,
    "curve": curve,
    "degenerate": summary["degenerate"],
    "temperature": dict(zip(("config", "recommended"), temperatures, strict=True)),
    "temperature_heatmap_px": dict(
      zip(("config", "recommended"), map(float, read_at), strict=True)
    ),
    "provenance": {
      **{key: provenance[key] for key in ("split", "crop", "codec", "fal_jax", "git_commit")},
      "dataset": faces.dataset,
      "markup": config.data.markup,
      "box": faces.box,
    },
  }
  return report, errors


def _crop(faces: Faces, row: int, config: ConfigDict) -> np.ndarray:
  try:
    return crop_from_image(faces.boxes[row], build.crop_rule(config))
  except InputError as error:
    raise InputError(f"{faces.dataset}, {faces.ids[row]}: {error}") from error


def table(report: dict[str, Any]) -> str:
  """The methods as a markdown table whose columns also stand in line on a screen."""
  columns = {
    "heatmap_px": "heatmap px",
    **{f"nme_{norm}": f"NME_{norm} %" for norm in NORMS},
    "ratio": "standard / this",
  }
  columns = {key: head for key, head in columns.items() if key in report["methods"][STANDARD]}
  rows = [
    [name, *(f"{row[key]:,.0f}" if row[key] >= 100 else f"{row[key]:#.3g}" for key in columns)]
    for name, row in report["methods"].items()
  ]
  return markdown.table(["encode + decode", *columns.values()], rows)


def notes(report: dict[str, Any]) -> list[str]:
  """What a reader must know about the table, one sentence or two each."""
  options, temperature, error = (
    report["provenance"]["codec"],
    report["temperature"],
    report["temperature_heatmap_px"],
  )
  sigma, window, tau = options["sigma"], options["window"], options["temperature"]
  peak = 1 / (2 * math.pi * sigma**2)
  found = [
    f"{report['faces']:,} faces, {report['landmarks']:,} landmarks ({report['not_annotated']:,} not annotated); box: "
    f"{report['provenance']['box']}; sigma {sigma:g}, window {window}, temperature {tau:g}.",
    f"Standard is {STANDARD}; the quarter offset that FAN adds changes nothing there: a rounded peak is symmetric.",
    f"Recommended for perfect heatmaps of sigma {sigma:g} and window {window}, amplitude {options['amplitude']}: "
    f"--config.codec.temperature={temperature['recommended']:.3g}, with which the local soft-argmax errs by "
    f"{error['recommended']:.3g} heatmap px away from the border, against {error['config']:.3g} at the config's {tau:g}.",
    f"Eq. 1's amplitude is a trap: with peaks of {peak:.2g}, temperature {tau:g} acts like {tau * peak:.2g}. Keep peak_one, or "
    f"multiply the temperature by 2 pi sigma^2 = {1 / peak:.3g}.",
    # Kept in the table, poor as it is: it is a row of Table 1 and a value of config.codec.decode,
    # so someone will wonder.
    "global_softargmax averages over the whole map, whose empty cells draw every landmark to the middle unless the temperature "
    "is high: it is for networks trained through it (Table 1).",
    f"{report['percent_cut']:.2f} % of the landmarks lie within {window // 2} heatmap px of the border or beyond, where the "
    f"window is cut; {report['percent_outside']:.2f} % lie outside the crop.",
  ]
  if options["amplitude"] == "normalised":
    warning = "WARNING: config.codec.amplitude is normalised, Eq. 1 as printed; every row that does not say so uses peak_one."
    found.insert(0, warning)
  for norm, ids in report["degenerate"].items():
    found.append(
      f"{len(ids)} faces lack the normaliser {norm} and are not in its mean: {', '.join(ids[:10])}."
    )
  return found


def _draw(
  path: Path, report: dict[str, Any], errors: dict[str, np.ndarray], own: HeatmapCodec
) -> None:
  temperature, heatmap_px = report["temperature"], report["temperature_heatmap_px"]
  grid = np.geomspace(min(temperature.values()) / 5, max(temperature.values()) * 5, 161).astype(
    np.float32
  )
  draw_codec_report(
    path,
    {name: nme[np.isfinite(nme)] for name, nme in errors.items()},
    norm=report["curve"],
    temperatures=grid,
    heatmap_px=errors_by_temperature(own, grid),
    marks={
      f"{name}: τ = {temperature[name]:.3g}": (temperature[name], heatmap_px[name])
      for name in temperature
    },
    titles=(
      f"{path.stem}: encoded and decoded again, no network",
      f"local soft-argmax, σ {own.sigma:g}, window {own.window}",
    ),
  )
