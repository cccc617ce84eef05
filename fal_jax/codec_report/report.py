"""What heatmaps alone cost: landmarks encoded and decoded again (Figure 3 of the paper)."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fal_jax import affine, build, metrics
from fal_jax.codec_report import decoder_tables, pictures, sweeps
from fal_jax.codec_report.decoder_tables import codec
from fal_jax.codec_report.roundtrip import errors_by_temperature, recommend_temperature, roundtrip
from fal_jax.crop import crop_from_image
from fal_jax.errors import InputError
from fal_jax.heatmap import HeatmapCodec
from fal_jax.output import markdown
from fal_jax.output.folders import make_dir, write_atomic
from fal_jax.output.provenance import provenance
from fal_jax.plots.figure import NO_MATPLOTLIB, has_matplotlib
from fal_jax.scoring import face_errors
from fal_jax.scoring.annotations import read_npz, read_split
from fal_jax.scoring.faces import Faces
from fal_jax.scoring.summary import own_norms

STANDARD = "rounded + argmax"
PAPER = "continuous + local_softargmax"
EQ_1 = "continuous + local_softargmax, amplitude of Eq. 1"
NORMS = ("ic", "box", "diag")


def run(
  config: ConfigDict, workdir: str | Path, landmarks: str | None, *, command: str
) -> Iterator[str]:
  """--mode=codec_report: writes a report for each file or split.

  `codec_report/<name>.md`, `.json`, `.csv` with the NME of each face, and figures; and
  `decoders.md` with one, about noise and low peaks, which needs no landmarks.

  Args:
    config: gives crop and codec, and the dataset unless `landmarks` does.
    workdir: the folder to write to.
    landmarks: an .npz file; None reads the landmarks of all `config.eval.splits`.
    command: what makes the report again.

  Yields:
    What belongs on the screen, for each file or split.

  Raises:
    InputError: the config, the dataset or the file needs the user.
  """
  faces_list = _read_faces(config, landmarks)
  # A mistake in the last one comes up before anything is written.
  measured = [measure(faces, config, settings=True) for faces in faces_list]

  directory = make_dir(workdir, "codec_report")
  decoders = decoder_tables.report(config)
  if has_matplotlib():
    decoders += "\n" + pictures.draw_decoders(directory / pictures.NOISE, config, command=command)
  (directory / "decoders.md").write_text(f"{decoders.strip()}\n", encoding="utf-8")
  for faces, (report, errors) in zip(faces_list, measured, strict=True):
    yield _write(directory, faces, report, errors, config, command=command)


def methods(config: ConfigDict) -> dict[str, HeatmapCodec]:
  """The codecs to compare, by name.

  Baselines, every decoder there is, Eq. 1 as printed, and the config's own if it is none of these.
  """
  codecs = {
    f"{encode} + {decode}": codec(config, encoding=encode, decoding=decode, amplitude="peak_one")
    for encode, decode in decoder_tables.PAIRS
  }
  codecs[EQ_1] = codec(
    config, encoding="continuous", decoding="local_softargmax", amplitude="normalised"
  )

  own = codec(config)
  if own not in codecs.values():
    codecs[f"config: {own.encoding} + {own.decoding}, {own.amplitude}"] = own
  return codecs


def measure(
  faces: Faces, config: ConfigDict, *, settings: bool = False
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """Every method on every face.

  Args:
    faces: N annotated faces.
    config: gives crop and codec.
    settings: whether to add what the pictures show: errors by position and by other settings of the
      codec, each of which compiles anew.

  Returns:
    The report, ready for JSON; and by method (N,) the NME of each face in percent of the normaliser
    `report["curve"]`, NaN for a face that lacks it.
  """
  crops = np.stack([_crop(faces, row, config) for row in range(len(faces.ids))])
  crop_landmarks = affine.apply(crops, faces.landmarks)
  all_norms = own_norms(faces, build.markup(config))
  norms = {norm: all_norms[norm] for norm in NORMS}
  stride = build.network(config).stride

  rows: dict[str, dict[str, float]] = {}
  nme: dict[str, np.ndarray] = {}
  for name, method in methods(config).items():
    decoded = roundtrip(method, crop_landmarks)
    pred = affine.apply(affine.invert(crops), decoded)
    errors = face_errors.measure(pred, faces.landmarks, norms, ids=faces.ids, thresholds={})
    summary = errors.summary()
    if "nme_box" not in summary:
      raise InputError(
        f"{faces.dataset}: no face is as wide as a pixel; landmarks must be in image pixels, not "
        "from 0 to 1."
      )

    curve = "ic" if "nme_ic" in summary else "box"
    nme[name] = np.where(errors.by_norm[curve].valid, errors.by_norm[curve].nme, np.nan)

    distance = np.linalg.norm(decoded - crop_landmarks, axis=-1)
    heatmap_px = float(np.nanmean(distance)) / stride
    rows[name] = {"heatmap_px": heatmap_px}
    rows[name]["ratio"] = rows[STANDARD]["heatmap_px"] / max(heatmap_px, 1e-9)
    rows[name] |= {key: value for key, value in summary.items() if key.startswith("nme_")}
    rows[name] |= _against_standard(nme[name], nme[STANDARD])

  report = {
    "faces": len(faces.ids),
    **_positions(crop_landmarks, codec(config)),
    "methods": rows,
    "curve": curve,
    "degenerate": summary["degenerate"],
    **_temperatures(codec(config)),
    "provenance": _provenance(faces, config),
  }
  if settings:
    shown = sweeps.sample(crop_landmarks, codec(config))
    report["pictures"] = {
      "landmarks": len(shown),
      "position": sweeps.by_position(codec(config), shown),
      "settings": sweeps.by_setting(codec(config), shown),
    }
  return report, nme


def _read_faces(config: ConfigDict, landmarks: str | None) -> list[Faces]:
  """The faces of the file, or of all `config.eval.splits`."""
  num, rule = build.markup(config).num, build.crop_rule(config)
  stride = build.network(config).stride
  if rule.size % stride:
    raise InputError(f"config.crop.size must be a multiple of {stride}, got {rule.size}.")

  if landmarks is not None:
    return [read_npz(landmarks, num_landmarks=num)]

  if not config.data.name or not config.eval.splits:
    raise InputError(
      "config.data.name or config.eval.splits is empty: name a prepared dataset and splits, or "
      "give --landmarks."
    )
  name, data_dir = build.eval_dataset(config), config.data.dir
  return [
    read_split(name, split, data_dir=data_dir, num_landmarks=num, rule=rule)
    for split in config.eval.splits
  ]


def _crop(faces: Faces, row: int, config: ConfigDict) -> np.ndarray:
  """`crop_from_image` (2, 3) of one face; an error says which."""
  try:
    return crop_from_image(faces.boxes[row], build.crop_rule(config))
  except InputError as error:
    raise InputError(f"{faces.dataset}, {faces.ids[row]}: {error}") from error


def _against_standard(nme: np.ndarray, standard: np.ndarray) -> dict[str, float]:
  """How a method does on single faces, Figure 3's "across all samples".

  Args:
    nme: (N,) percent; NaN for faces without the normaliser.
    standard: (N,) percent, of the standard codec, NaN for the same faces.

  Returns:
    `percent_improved`, the percentage of faces whose error is smaller than the standard's, and
    `worst_ratio`, the largest ratio of the two.
  """
  valid = np.isfinite(standard)
  return {
    "percent_improved": metrics.percent_improved(nme[valid], standard[valid]),
    "worst_ratio": float((nme[valid] / np.maximum(standard[valid], 1e-9)).max()),
  }


def _positions(crop_landmarks: np.ndarray, codec: HeatmapCodec) -> dict[str, Any]:
  """Counts the landmarks (N, K, 2), crop px, and those that the border of the map affects."""
  annotated = crop_landmarks[np.isfinite(crop_landmarks).all(-1)]
  position = affine.apply(affine.shrink(codec.stride), annotated)
  # heatmap px from the border, negative outside
  depth = np.minimum(position, codec.size - 1 - position).min(-1) + 0.5
  return {
    "landmarks": len(position),
    "not_annotated": crop_landmarks[..., 0].size - len(position),
    "percent_cut": 100 * float((depth < codec.window // 2).mean()),
    "percent_outside": 100 * float((depth < 0).mean()),
  }


def _temperatures(codec: HeatmapCodec) -> dict[str, dict[str, float]]:
  """The codec's temperature and the recommended one, and the error at each, heatmap px."""
  temperatures = {"config": codec.temperature, "recommended": recommend_temperature(codec)}
  errors = errors_by_temperature(codec, np.array([*temperatures.values()], np.float32))
  return {
    "temperature": temperatures,
    "temperature_heatmap_px": dict(zip(temperatures, map(float, errors), strict=True)),
  }


def _provenance(faces: Faces, config: ConfigDict) -> dict[str, Any]:
  common = provenance(config, split=faces.name, step=0)
  return {
    **{key: common[key] for key in ("split", "crop", "codec", "fal_jax", "git_commit")},
    "dataset": faces.dataset,
    "markup": config.data.markup,
    "box": faces.box,
  }


def _write(
  directory: Path,
  faces: Faces,
  report: Mapping[str, Any],
  errors: Mapping[str, np.ndarray],
  config: ConfigDict,
  *,
  command: str,
) -> str:
  """Writes the files of one report.

  Args:
    directory: where they go.
    faces: N annotated faces.
    report: from `measure`.
    errors: from `measure`, method -> (N,) percent.
    config: gives the codec.
    command: what makes the report again.

  Returns:
    What belongs on the screen.
  """
  page = directory / f"{faces.name}.md"
  written = json.dumps({"command": command, **report}, indent=2)
  page.with_suffix(".json").write_text(written + "\n", encoding="utf-8")

  rows = io.StringIO(newline="")
  writer = csv.writer(rows)
  writer.writerow([f"nme_{report['curve']}", *errors])
  writer.writerows(zip(faces.ids, *errors.values(), strict=True))
  write_atomic(page.with_suffix(".csv"), rows.getvalue())

  if has_matplotlib():
    figures = pictures.draw_faces(
      directory / f"{faces.name}.png", report, errors, codec(config), command=command
    )
    location = f"Report with figures: {page}"
  else:
    figures = f"No figure is drawn: {NO_MATPLOTLIB}."
    location = f"Report: {page}. {figures}"

  text = "\n".join([faces.name, "", table(report), "", *(f"* {note}" for note in notes(report))])
  settings = json.dumps(report["provenance"], indent=2)

  page.write_text(
    f"# {text}\n\n{figures}\n\n```\n{command}\n```\n\n```json\n{settings}\n```\n",
    encoding="utf-8",
  )
  return f"{text}\n\n{location}\n"


def table(report: Mapping[str, Any]) -> str:
  """The methods as a Markdown table whose columns also line up on a screen."""
  columns = {
    "heatmap_px": "heatmap px",
    **{f"nme_{norm}": f"NME_{norm} %" for norm in NORMS},
    "ratio": "standard / this",
    "percent_improved": "faces better, %",
    "worst_ratio": "this / standard, worst face",
  }
  columns = {key: head for key, head in columns.items() if key in report["methods"][STANDARD]}
  rows = [[name, *(_cell(row[key]) for key in columns)] for name, row in report["methods"].items()]
  return markdown.table(["encode + decode", *columns.values()], rows)


def _cell(value: float) -> str:
  """Three digits, or all of them before the decimal point."""
  return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def notes(report: Mapping[str, Any]) -> list[str]:
  """What a reader must know about the table, one sentence or two each."""
  options, temperature = report["provenance"]["codec"], report["temperature"]
  error = report["temperature_heatmap_px"]
  sigma, window, tau = options["sigma"], options["window"], options["temperature"]
  peak = 1 / (2 * math.pi * sigma**2)
  paper = report["methods"][PAPER]

  sentences = [
    f"{report['faces']:,} faces, {report['landmarks']:,} landmarks "
    f"({report['not_annotated']:,} not annotated); box: {report['provenance']['box']}; "
    f"sigma {sigma:g}, window {window}, temperature {tau:g}.",
    f"{PAPER}, the paper's, reduces the error of {paper['percent_improved']:.4g} % of the faces "
    f"(Figure 3: 'across all samples'), and that of the worst of them to "
    f"{_cell(paper['worst_ratio'])} of the standard's.",
    f"Standard is {STANDARD}; the quarter offset that FAN adds changes nothing there: a rounded "
    "peak is symmetric.",
    f"Recommended for perfect heatmaps of sigma {sigma:g} and window {window}, amplitude "
    f"{options['amplitude']}: --config.codec.temperature={temperature['recommended']:.3g}, with "
    f"which the local soft-argmax errs by {error['recommended']:.3g} heatmap px away from the "
    f"border, against {error['config']:.3g} at the config's {tau:g}.",
    f"Eq. 1's amplitude is a trap: with peaks of {peak:.2g}, temperature {tau:g} acts like "
    f"{tau * peak:.2g}. Keep peak_one, or multiply the temperature by 2 pi sigma^2 = "
    f"{1 / peak:.3g}.",
    # Kept in the table, poor as it is: it is a row of Table 1 and a value of config.codec.decode,
    # so someone will wonder.
    "global_softargmax averages over the whole map, whose empty cells draw every landmark to the "
    "middle unless the temperature is high: it is for networks trained through it (Table 1).",
    f"{report['percent_cut']:.2f} % of the landmarks lie within {window // 2} heatmap px of the "
    f"border or beyond, where the window is cut; {report['percent_outside']:.2f} % lie outside the "
    "crop.",
  ]

  if options["amplitude"] == "normalised":
    sentences.insert(
      0,
      "WARNING: config.codec.amplitude is normalised, Eq. 1 as printed; every row that does not "
      "say so uses peak_one.",
    )
  for norm, ids in report["degenerate"].items():
    sentences.append(
      f"{len(ids)} faces lack the normaliser {norm} and are not in its mean: {', '.join(ids[:10])}."
    )
  return sentences
