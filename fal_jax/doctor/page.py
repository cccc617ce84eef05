"""The doctor's page: one HTML file that holds everything, without scripts, in light and in dark."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from fal_jax.doctor import shape_plots, stats, symmetry
from fal_jax.doctor.findings import NOTHING_TO_DO, Finding, severity_counts
from fal_jax.doctor.style import CSS
from fal_jax.errors import join_names
from fal_jax.landmarks import Markup

LISTED_FACES = 40  # names under a finding; the JSON beside the page has all


def render(
  report: Mapping[str, Any], findings: Sequence[Finding], sheets: Sequence[str], markup: Markup
) -> str:
  """Renders the whole page.

  Args:
    report: the numbers, see `examine.examine`; also `dataset` and `command`.
    findings: worst first.
    sheets: HTML of the faces, see `sheets.draw`.
    markup: the mark-up.

  Returns:
    HTML text.
  """
  dataset = escape(report["dataset"])
  crop = report["crop"]
  train = escape(" and ".join(report["train"]))
  tests = escape(", ".join(report["tests"]) or "another dataset")
  commit = f", commit {report['git_commit'][:10]}" if report["git_commit"] else ""

  shared_images: list[str] = []
  if len(report["splits"]) > 1:
    shared_images = ["<h2>Images that splits share</h2>", _overlaps(report["overlaps"])]

  parts = [
    "<!doctype html>",
    '<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width">'
    f"<title>{dataset}: doctor</title><style>{CSS}</style></head><body>",
    f"<h1>{dataset}</h1>",
    f'<p class="quiet">{markup.num} landmarks. Crops of {crop["size"]} px from the box of the '
    f"{report['box']}, its larger side {crop['face']:g} px; trained on {train}, "
    f"evaluated on {tests}.</p>",
    f"<h2>Findings: {severity_counts(findings, zeros=False) or 'Nothing found'}</h2>",
    *map(_finding, findings),
    "<h2>Statistics</h2>",
    _statistics(report["splits"]),
    '<p class="quiet">Triples: 5th percentile, median, 95th percentile, in px of the stored image '
    "unless stated otherwise. Distance to the mean face: root mean square over the landmarks after "
    "the best similarity, in percent of the mean face's root mean square radius.</p>",
    *shared_images,
    "<h2>Mean face</h2>",
    _shape(report["shape"], markup),
    "<h2>Where landmarks fall in the heatmap</h2>",
    _heat(report),
    "<h2>Face sizes</h2>",
    _sizes(report),
    "<h2>Faces</h2>",
    *sheets,
    '<p class="quiet">All annotations and image headers were read; of the images only those shown '
    f"were decoded. fal_jax {report['fal_jax']}{commit}.<br><code>{escape(report['command'])}"
    "</code></p></body></html>\n",
  ]
  return "\n".join(parts)


def largest(report: Mapping[str, Any]) -> list[str]:
  """Names of the splits that are not wholly in another one.

  Drawings of the others would only repeat theirs.

  Args:
    report: `splits` and `overlaps`, see `examine.examine`.

  Returns:
    Names, in the order of the report.
  """
  overlaps = report["overlaps"]
  names = list(report["splits"])

  def is_part(a: str, b: str) -> bool:
    """Of two splits of the same faces, the later one is a part of the earlier."""
    faces = {name: report["splits"][name]["faces"] for name in (a, b)}
    return (
      a != b
      and overlaps[a][b] == overlaps[a][a]
      and (faces[b], -names.index(b)) > (faces[a], -names.index(a))
    )

  return [a for a in names if not any(is_part(a, b) for b in names)]


def _finding(finding: Finding) -> str:
  counts = ", ".join(f"{escape(split)} {len(ids):,}" for split, ids in finding.faces.items())
  lists = "".join(
    f"<p>{escape(split)}: {escape(join_names(ids, limit=LISTED_FACES))}</p>"
    for split, ids in finding.faces.items()
  )
  few = sum(map(len, finding.faces.values())) <= LISTED_FACES
  opened = " open" if finding.severity == "error" and few else ""
  faces = f"<details{opened}><summary>{counts}</summary>{lists}</details>" if lists else ""

  remedy = ""
  if finding.remedy != NOTHING_TO_DO:
    remedy = f"<p><strong>What to do:</strong> {escape(finding.remedy)}</p>"

  return (
    f'<section class="finding {finding.severity}">'
    f'<h3><span class="tag">{finding.severity}</span>{escape(finding.title)}</h3>'
    f"<p>{escape(finding.meaning)}</p>{remedy}{faces}</section>"
  )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """Cells are HTML already; the first of each row is its name."""

  def line(row: Sequence[str]) -> str:
    cells = (cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row[1:])
    return f"<tr><th>{row[0]}</th>{''.join(cells)}</tr>"

  heads = "".join(f"<th>{cell}</th>" for cell in head)
  return (
    f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>'
    f"<tbody>{''.join(map(line, rows))}</tbody></table></div>"
  )


def _statistics(splits: Mapping[str, Mapping[str, Any]]) -> str:
  def quantiles(values: Sequence[float] | None, factor: float = 1, unit: str = "") -> str:
    """The inner three of five numbers."""
    if not values:
      return "–"
    scaled = [factor * value for value in values[1:4]]
    texts = (f"{value:.3g}" if value < 100 else f"{value:,.0f}" for value in scaled)
    return " · ".join(texts) + unit

  def furthest(row: Mapping[str, Any]) -> str:
    return f"{row['outside_image_px']:.1f} px" if row["outside_image"] else "–"

  rows = {
    "faces": lambda row: f"{row['faces']:,}",
    "official faces": lambda row: "–" if row["official"] is None else f"{row['official']:,}",
    "distinct images": lambda row: f"{row['pictures']:,}",
    "image width": lambda row: quantiles(row["image_width"]),
    "image height": lambda row: quantiles(row["image_height"]),
    "face size, √(width × height)": lambda row: quantiles(row["face_size"]),
    "outer eye distance": lambda row: quantiles(row["eye_distance"]),
    "landmarks annotated": lambda row: f"{row['landmarks']:,}",
    "not annotated": lambda row: f"{row['missing']:,}",
    "visible": lambda row: f"{row['percent_visible']:.1f} %",
    "outside the image": lambda row: f"{row['outside_image']:,}",
    "the furthest of these": furthest,
    "in the border band of the heatmap": lambda row: f"{row['percent_in_band']:.2f} %",
    "outside the heatmap": lambda row: f"{row['percent_outside_crop']:.2f} %",
    "boxes of the dataset": lambda row: f"{row['faces'] - row['flags']['box_missing']:,}",
    "their overlap (IoU) with the landmarks' box": lambda row: quantiles(row["box_iou"]),
    "distance to the mean face": lambda row: quantiles(row["shape_distance"], 100, " %"),
  }
  return _table(
    ["", *map(escape, splits)],
    [[name, *map(cell, splits.values())] for name, cell in rows.items()],
  )


def _overlaps(overlaps: Mapping[str, Mapping[str, Mapping[str, int]]]) -> str:
  def cell(a: str, b: str) -> str:
    images = overlaps[a][b]["pictures"]
    faces = overlaps[a][b]["faces"]
    if a == b:
      return f'<td class="own">{images:,}</td>'
    same = f" ({faces:,} same faces)" if faces != images else ""
    return f'<td class="hit">{images:,}{same}</td>' if images else "<td>0</td>"

  caption = "Faces of the row whose image, byte by byte, is in the column as well."
  table = _table(
    ["", *map(escape, overlaps)],
    [[escape(a), *(cell(a, b) for b in overlaps)] for a in overlaps],
  )
  return f'<p class="quiet">{caption}</p>{table}'


def _shape(shape: Mapping[str, Any], markup: Markup) -> str:
  def points(lists: Sequence[Sequence[float] | None]) -> np.ndarray:
    """(K, 2), NaN where unknown."""
    return np.array([point or (np.nan, np.nan) for point in lists])

  mean = points(shape["mean"])
  if not np.isfinite(mean).any():
    return "<p>No landmark is annotated.</p>"

  if symmetry.has_no_pairs(markup):
    caption = (
      "Left and right profiles share one mark-up, so there are no pairs; faces are mirrored to the "
      "same side here."
    )
  elif shape["asymmetry_percent"] is None:
    caption = (
      "No pair of left and right is annotated, so it cannot be compared with its mirror image."
    )
  else:
    caption = (
      f"It disagrees with its mirror image (rings) by {shape['asymmetry_percent']:.2f} % of "
      f"{shape['unit']} on average, by {shape['worst_percent']:.2f} % at most. Dashed lines join "
      "the partners of the flip permutation."
    )

  mirror = points(shape["mirror"]) if shape["mirror"] else None
  drawing = shape_plots.draw_mean_shape(mean, mirror, markup)
  legend = "".join(
    f'<span class="dot" style="background: var(--{name})"></span>{label}'
    for name, label in (("right", "the person's right"), ("left", "left"), ("middle", "middle"))
  )
  return f"<p>{caption}</p><figure>{drawing}<figcaption>{legend}</figcaption></figure>"


def _heat(report: Mapping[str, Any]) -> str:
  band = report["band"]
  caption = (
    "A stronger colour means more landmarks, on a logarithmic scale. Solid: the border of the "
    f"heatmap; beyond it nothing can be found. Dashed: {band} cells inside, where the decoder's "
    "window is cut."
  )
  figures = "".join(
    _figure(name, shape_plots.draw_heat(counts, margin=stats.MARGIN, band=band))
    for name, counts in report["heat"].items()
    if name in largest(report)
  )
  return f'<p class="quiet">{caption}</p><div class="pairs">{figures}</div>'


def _sizes(report: Mapping[str, Any]) -> str:
  edges = report["face_size_edges"]
  used = np.array([row["face_sizes"] for row in report["splits"].values()]).sum(0) > 0
  if not used.any():
    return "<p>No face has a size.</p>"

  # At least three octaves, or a set of equal sizes would be one wide bar.
  first = int(used.argmax())
  last = len(used) - int(used[::-1].argmax())
  middle = (first + last) // 2
  first = max(min(first - 1, middle - 6), 0)
  last = min(max(last + 1, middle + 6), len(used))

  def histogram(name: str) -> str:
    counts = report["splits"][name]["face_sizes"][first:last]
    return shape_plots.draw_histogram(
      counts, edges[first : last + 1], label=f"Face sizes of {name}"
    )

  caption = (
    "√(width × height) of the landmarks' box, px of the stored image; bins of a quarter of an "
    "octave."
  )
  figures = "".join(_figure(name, histogram(name)) for name in largest(report))
  return f'<p class="quiet">{caption}</p>{figures}'


def _figure(name: str, svg: str) -> str:
  return f"<figure><h3>{escape(name)}</h3>{svg}</figure>"
