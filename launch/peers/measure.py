"""python -m launch.peers.measure --data_dir=data --workdir=runs/peers

Measures the accuracy of all systems that are installed on the 202 faces of our hold-out of 300W.
What has to be tuned is tuned on training faces (tuning.py). Predictions are written as CSV files,
which --mode=score reads, and scored by the library. Results go to results.json beside this file;
those of systems that are not measured this time stay.
"""

import argparse
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs import w300_small
from fal_jax import flag_parser, score
from fal_jax.landmarks import box_iou, tight_boxes
from fal_jax.output.commit import git_commit
from fal_jax.robustness.detected import MIN_IOU
from fal_jax.scoring import comparison, landmark_csv, landmark_files, truth
from launch.peers import faces, tuning
from launch.peers.faces import Faces
from launch.peers.systems import SYSTEMS, Client, Refused, System, parser

RESULTS = Path(__file__).parent / "results.json"
EVERY = 10  # of the training faces, that offsets and vertices are measured on
EVERY_FOR_BOXES = 2  # of these, that a box is tuned on
STEPS, HALVINGS = (0.05, 0.1), 2  # of the search for a box, in sqrt(w h): down and scale
REFERENCE = "w300-68"  # which the others are compared with
GIVEN, DETECTED = "box given", "own detector"


def main() -> None:
  """Measures what the flags name."""
  args = _parse()
  folder = args.workdir / "faces"
  fit = faces.write(folder, "fit", data_dir=args.data_dir, every=EVERY)
  val = faces.write(folder, "val", data_dir=args.data_dir)

  for system in SYSTEMS:
    if args.systems is not None and system.name not in args.systems:
      continue
    try:
      with Client(system, env=args.env, onnx=args.onnx) as client:
        print(f"{system.name}: {client.versions}", flush=True)
        about = predict(system, client, fit, val, args.workdir)
    except Refused as error:
      print(f"Not measured: {error}", flush=True)
      continue
    about |= {"versions": client.versions, "weights": client.weights}
    _save(fit, val, {system.name: about}, _read(RESULTS).get("rows", []))

  _save(fit, val, {}, score_all(args.workdir, args.data_dir))


def _save(
  fit: Faces, val: Faces, measured: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> None:
  """Writes what is known by now, what was measured before included."""
  systems = _read(RESULTS).get("systems", {}) | measured
  content = {
    "dataset": "w300",
    "split": "val",
    "faces": len(val),
    "fit_faces": len(fit),
    "fit_faces_for_boxes": len(fit.every(EVERY_FOR_BOXES)),
    "python": platform.python_version(),
    "git_commit": git_commit(),
    "systems": {system.name: systems[system.name] for system in SYSTEMS if system.name in systems},
    "rows": list(rows),
  }
  RESULTS.write_text(json.dumps(_rounded(content), indent=1) + "\n", encoding="utf-8")


def predict(
  system: System, client: Client, fit: Faces, val: Faces, workdir: Path
) -> dict[str, Any]:
  """Tunes a system on training faces and writes its predictions of the hold-out.

  Args:
    system: which.
    client: it, running.
    fit: training faces.
    val: the hold-out.
    workdir: where `predictions/<name>_<box>.csv` go, and `..._offsets.csv` beside them.

  Returns:
    What was tuned, ready for JSON.
  """
  about: dict[str, Any] = {}
  vertices = None
  if system.detects:
    found = detect(client, fit)
    if system.is_mesh:
      vertices = tuning.choose_vertices(found, fit.landmarks)
      about["vertices"] = vertices.tolist()
      found = found[:, vertices]
    offsets = tuning.fit_offsets(found, fit.landmarks)
    about["found_on_fit"] = int(np.isfinite(found).all((1, 2)).sum())
    predicted = _subset(detect(client, val), vertices)
    moved = tuning.add_offsets(predicted, offsets)
    _write(workdir, f"{system.name}, {DETECTED}", val, predicted, moved)

  if system.start is None:
    placed, predicted = (place(client, part, part.boxes) for part in (fit, val))
    offsets = tuning.fit_offsets(placed, fit.landmarks)
    moved = tuning.add_offsets(predicted, offsets)
  else:
    # The best box may lie elsewhere if offsets follow: each of the two has its own.
    about["box"], predicted = _in_tuned_square(system.start, client, fit, val, vertices=vertices)
    about["offsets_box"], moved = _in_tuned_square(
      system.start, client, fit, val, vertices=vertices, with_offsets=True
    )
  _write(workdir, f"{system.name}, {GIVEN}", val, predicted, moved)
  return about


def _in_tuned_square(
  start: tuple[float, float],
  client: Client,
  fit: Faces,
  val: Faces,
  *,
  vertices: np.ndarray | None,
  with_offsets: bool = False,
) -> tuple[dict[str, float], np.ndarray]:
  """The square with the smallest error on `fit`, and landmarks (N, 68, 2) of the hold-out in it."""

  def in_squares(part: Faces, down: float, scale: float) -> np.ndarray:
    boxes = tuning.square(part.boxes, down=down, scale=scale)
    return _subset(place(client, part, boxes), vertices)

  def loss(down: float, scale: float) -> float:
    pred = in_squares(few, down, scale)
    if with_offsets:
      pred = tuning.add_offsets(pred, tuning.fit_offsets(pred, few.landmarks))
    return tuning.error(pred, few.landmarks)

  few = fit.every(EVERY_FOR_BOXES)
  down, scale = tuning.search(loss, start=start, steps=STEPS, halvings=HALVINGS)
  box = {"down": down, "scale": scale}
  predicted = in_squares(val, **box)
  if with_offsets:
    offsets = tuning.fit_offsets(in_squares(fit, **box), fit.landmarks)
    predicted = tuning.add_offsets(predicted, offsets)
  return box, predicted


def place(client: Client, part: Faces, boxes: np.ndarray) -> np.ndarray:
  """Landmarks in given boxes.

  Args:
    client: a system.
    part: N faces.
    boxes: (N, 4) image px.

  Returns:
    (N, K, 2) image px; NaN where the system saw no face in its box.
  """
  found = [client.ask(image, box).faces for image, box in zip(part.images, boxes, strict=True)]
  return _stacked([each[0] if each else None for each in found])


def detect(client: Client, part: Faces) -> np.ndarray:
  """Landmarks of the faces that a system finds itself.

  A face is found where the box tight around some predicted landmarks has an IoU of at least 0.4
  with the one around the annotated ones, as in `robustness.detected`; of several the best counts.

  Args:
    client: a system.
    part: N faces.

  Returns:
    (N, K, 2) image px; NaN where the face is not found.
  """
  return _stacked(
    [
      best_match(client.ask(image, None).faces, box)
      for image, box in zip(part.images, part.boxes, strict=True)
    ]
  )


def best_match(found: Sequence[np.ndarray], box: np.ndarray) -> np.ndarray | None:
  """The landmarks that are meant.

  Args:
    found: landmarks (K, 2) of several faces, px.
    box: (4,) tight around the annotated landmarks of one face, same pixels.

  Returns:
    (K, 2) of the face that overlaps it most; None if that is less than `MIN_IOU`.
  """
  if not found:
    return None
  overlaps = np.nan_to_num(box_iou(tight_boxes(np.stack(found)), box))
  return found[int(overlaps.argmax())] if overlaps.max() >= MIN_IOU else None


def score_all(workdir: Path, data_dir: str) -> list[dict[str, Any]]:
  """Scores all predictions that are there, as --mode=score does.

  Args:
    workdir: of `predict`.
    data_dir: where the dataset is prepared.

  Returns:
    A row for each system and box, ready for JSON: its errors as they are and with offsets.
  """
  config = w300_small.get_config()
  config.data.dir = data_dir
  options = truth.Options(config=config, missing="failure")
  target = truth.read(options)
  scored = {
    path.stem: score.measure(landmark_files.read(path), target, options)
    for path in (workdir / "predictions").glob("*.csv")
  }

  rows = []
  for system in SYSTEMS:
    for box in (GIVEN, DETECTED):
      label = f"{system.name}, {box}"
      if _stem(label) not in scored:
        continue
      row: dict[str, Any] = {"label": label, "system": system.name, "box": box}
      for suffix, prefix in (("", ""), (", offsets", "offsets_")):
        summary = scored[_stem(label + suffix)].summary
        row[f"{prefix}nme_ic"] = summary["nme_ic"]
        row[f"{prefix}interval"] = summary["intervals"]["nme_ic"]
        row[f"{prefix}median"] = summary["percentiles"]["ic"]["median"]
        row[f"{prefix}fr_ic_8"] = summary["fr_ic_8"]
        row[f"{prefix}catastrophic_ic"] = summary["catastrophic_ic"]
        row[f"{prefix}regions"] = summary["regions"]
      errors = scored[_stem(label)].errors
      row["missed"] = 0 if errors.found is None else int((~errors.found).sum())
      reference = _stem(f"{REFERENCE}, {box}")
      if reference in scored and system.name != REFERENCE:
        both = {reference: scored[reference].errors, label: errors}
        report = comparison.compare(both, scored[reference].summary["protocol"])
        row["minus_ours"] = report["rows"][1]["differences"]["nme_ic"]
      rows.append(row)
  return rows


def _subset(points: np.ndarray, vertices: np.ndarray | None) -> np.ndarray:
  return points if vertices is None else points[:, vertices]


def _stacked(found: Sequence[np.ndarray | None]) -> np.ndarray:
  """(N, K, 2), NaN for None."""
  shape = next((each.shape for each in found if each is not None), (68, 2))
  return np.stack([np.full(shape, np.nan) if each is None else each for each in found])


def _write(
  workdir: Path, label: str, part: Faces, predicted: np.ndarray, moved: np.ndarray
) -> None:
  """Writes predictions (N, 68, 2) as they are and with offsets."""
  folder = workdir / "predictions"
  folder.mkdir(parents=True, exist_ok=True)
  landmark_csv.write(folder / f"{_stem(label)}.csv", part.ids, predicted)
  landmark_csv.write(folder / f"{_stem(f'{label}, offsets')}.csv", part.ids, moved)


def _stem(label: str) -> str:
  """What the file of a row is called: --predictions separates files by commas."""
  return label.replace(", ", "_").replace(" ", "_")


def _read(path: Path) -> dict[str, Any]:
  return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _rounded(content: Any) -> Any:
  """All numbers to four digits after the point: more is noise, and the file is for readers too."""
  if isinstance(content, float):
    return round(content, 4) + 0.0  # no -0.0
  if isinstance(content, dict):
    return {key: _rounded(value) for key, value in content.items()}
  return [_rounded(value) for value in content] if isinstance(content, list) else content


def _parse() -> argparse.Namespace:
  flags = parser(__doc__)
  names = [each.name for each in SYSTEMS]
  flags.add_argument(
    "--systems", nargs="*", choices=names, help="default: all; none: scores what was predicted"
  )
  return flags.parse_args()


if __name__ == "__main__":
  sys.exit(flag_parser.exit_code(main))
