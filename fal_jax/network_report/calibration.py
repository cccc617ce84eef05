"""Whether a network's scores, covariances and disagreement of views foretell its errors."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fal_jax import data, metrics
from fal_jax.evaluate import OpenedRun
from fal_jax.images import read_image
from fal_jax.network_report.run import no_norm
from fal_jax.output import markdown
from fal_jax.output.provenance import provenance
from fal_jax.predict import FaceAligner
from fal_jax.scoring import confidence


def measure(opened: OpenedRun, split: str, *, views: int) -> dict[str, Any]:
  """What each confidence of one network is worth on one split.

  All are of the same predictions: those of `FaceAligner(views=views)`.

  Args:
    opened: the network and its splits.
    split: name of one.
    views: looks at each face; of a single one there is no disagreement.

  Returns:
    A mapping ready for JSON: `dataset`, `split`, `num_images` that count, `norm`, `box`, `views`,
    `decode`; `nme`, percent; `confidences`, what `confidence.summarise` returns for `score`,
    `covariance` and `views`; `minus_score`, what `confidence.compare_gains` returns for the others
    against `score`; and `provenance`.

  Raises:
    InputError: no face has the normaliser, or there is no view.
  """
  setup, source = opened.setup, opened.sources[split]
  aligner = FaceAligner(setup, opened.variables, views=views)
  errors = []
  uncertainties: dict[str, list[np.ndarray]] = {}
  for record in source:
    true = np.asarray(record["landmarks"], np.float64)
    norm = metrics.norms(true[None], setup.markup)[setup.norm][0]
    if not norm >= metrics.MIN_NORM:
      continue
    box = data.face_box(record, setup.crop)
    image = read_image(record["image"], name=data.example_id(record), trusted=True)
    faces = aligner(image, box[None])

    # Heatmaps are taught in the crop, whose scale is the box's.
    sigma = setup.codec.sigma * setup.codec.stride * np.max(box[2:] - box[:2]) / setup.crop.face
    predicted = {
      "score": confidence.error_of_score(faces.scores[0], sigma=sigma),
      "covariance": confidence.error_of_covariance(faces.covariance[0]),
    }
    if faces.uncertainty is not None:
      predicted["views"] = faces.uncertainty[0]
    for name, values in predicted.items():
      uncertainties.setdefault(name, []).append(100 * values / norm)
    errors.append(100 * np.linalg.norm(faces.landmarks[0] - true, axis=-1) / norm)

  if not errors:
    raise no_norm(split, setup.norm)
  error = np.stack(errors)
  stacked = {name: np.stack(values) for name, values in uncertainties.items()}
  return {
    "dataset": setup.eval_dataset,
    "split": split,
    "num_images": len(error),
    "norm": setup.norm,
    "box": setup.crop.box,
    "views": views,
    "decode": setup.codec.decoding,
    "nme": float(np.nanmean(error, 1).mean()),
    "confidences": {
      name: confidence.summarise(uncertainty, error) for name, uncertainty in stacked.items()
    },
    "minus_score": {
      name: confidence.compare_gains(uncertainty, stacked["score"], error)
      for name, uncertainty in stacked.items()
      if name != "score"
    },
    "provenance": provenance(setup.config, split=split, step=opened.step),
  }


def describe(report: Mapping[str, Any]) -> str:
  """Markdown that also lines up on a screen.

  Args:
    report: from `measure`.

  Returns:
    A table, then notes.
  """
  first = next(iter(report["confidences"].values()))
  notes = [
    f"{report['num_images']:,} faces of {report['dataset']}, {report['split']}, box: "
    f"{report['box']}, decoder: {report['decode']}; nme_{report['norm']} {report['nme']:.3f} % "
    f"(mean of {report['views']} views).",
    "gain: what of the oracle's saving a confidence saves where the least certain are left out, in "
    "percent, with its 95 % interval over faces; 0 is a random order. AURC of landmarks: oracle "
    f"{first['landmarks']['oracle']:.2f}, random {first['landmarks']['random']:.2f}; of faces: "
    f"oracle {first['faces']['oracle']:.2f}, random {first['faces']['random']:.2f}.",
    "true / predicted: root mean square of the true errors over that of the predicted ones; ENCE: "
    "the mean relative distance from the diagonal, before and after multiplying by that.",
    *(
      f"{name} minus score, gain in points over the same faces: landmarks "
      f"{_difference(against['landmarks'])}, faces {_difference(against['faces'])}."
      for name, against in report["minus_score"].items()
    ),
  ]
  return "\n\n".join([table(report), "\n".join(f"* {note}" for note in notes)])


def table(report: Mapping[str, Any]) -> str:
  """A row for each confidence.

  Args:
    report: from `measure`.

  Returns:
    A Markdown table.
  """
  head = [
    "confidence",
    "rank correlation: landmarks",
    "one landmark",
    "faces",
    "AURC: landmarks",
    "gain, %",
    "faces",
    "gain, %",
    "true / predicted",
    "ENCE, %",
    "scaled",
  ]
  rows = []
  for name, result in report["confidences"].items():
    correlations, landmarks, faces = (result[key] for key in ("spearman", "landmarks", "faces"))
    rows.append(
      [
        name,
        *(_cell(correlations[key], 2) for key in ("landmarks", "same_landmark", "faces")),
        *_saved(landmarks),
        *_saved(faces),
        _cell(result["scale"], 2),
        _cell(result["ence"], 0),
        _cell(result["ence_scaled"], 0),
      ]
    )
  return markdown.table(head, rows)


def _saved(coverage: Mapping[str, Any]) -> list[str]:
  """The area under the curve, and the gain with its interval."""
  low, high = coverage["interval"]
  return [f"{coverage['aurc']:.2f}", f"{coverage['gain']:.0f} [{low:.0f}, {high:.0f}]"]


def _difference(compared: Mapping[str, Any]) -> str:
  low, high = compared["interval"]
  return f"{compared['gain']:+.0f} [{low:+.0f}, {high:+.0f}]"


def _cell(value: float | None, digits: int) -> str:
  return "-" if value is None else f"{value:.{digits}f}"
