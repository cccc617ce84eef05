"""The page of `doctor`: one HTML file that holds everything, without script or network, in light
and in dark.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fal_jax.doctor import shape_plots, stats
from fal_jax.doctor.findings import SEVERITIES, Finding
from fal_jax.landmarks import Markup

LISTED_FACES = 40  # names under a finding; the JSON beside the page has all

_STYLE = """
:root { color-scheme: light dark; --paper: #fbfbfa; --ink: #1d1d20; --quiet: #6b6b72; --rule: #dedee2; --card: #ffffff;
  --error: #b3261e; --warning: #9a6200; --note: #4a5a78; --right: #0072b2; --left: #d55e00; --middle: #555; --bar: #2078d8; }
@media (prefers-color-scheme: dark) { :root { --paper: #17171a; --ink: #ececef; --quiet: #9b9ba4; --rule: #37373d; --card: #202024;
  --error: #ff8a80; --warning: #f5bf5b; --note: #a9bde0; --right: #56b4e9; --left: #ff9248; --middle: #c4c4cc; --bar: #4c9cf0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; } h2 { font-size: 1.25rem; margin: 3rem 0 .75rem; } h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p { max-width: 46rem; margin: .5rem 0; } .quiet, figcaption { color: var(--quiet); } code { font-size: .85em; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .3rem .9rem .3rem 0; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; font-weight: 400; }
th:first-child { text-align: left; } thead th { color: var(--quiet); } td.hit { font-weight: 700; color: var(--warning); } td.own { color: var(--quiet); }
.finding { background: var(--card); border: 1px solid var(--rule); border-left: 5px solid var(--note); border-radius: 6px; padding: .8rem 1.1rem;
  margin: .7rem 0; } .finding.error { border-left-color: var(--error); } .finding.warning { border-left-color: var(--warning); }
.finding h3 { margin: 0; } .finding p { margin: .2rem 0; max-width: none; overflow-wrap: anywhere; }
.error b, .error .tag { color: var(--error); } .warning .tag { color: var(--warning); } .note .tag { color: var(--note); }
.tag { font-size: .8rem; font-weight: 700; letter-spacing: .04em; text-transform: uppercase; margin-right: .5rem; }
details { margin-top: .3rem; font-size: .85rem; } summary { cursor: pointer; color: var(--quiet); } details p { overflow-wrap: anywhere; }
figure { margin: 0; } svg { display: block; width: 100%; height: auto; } svg text { fill: var(--quiet); font: 11px system-ui, sans-serif; text-anchor: middle; }
.shape { max-width: 900px; } .shape text { fill: var(--ink); } .histogram { max-width: 760px; } .heat { border: 0; } .cells { image-rendering: pixelated; }
.right { fill: var(--right); } .left { fill: var(--left); } .middle { fill: var(--middle); } .bar { fill: var(--bar); }
.line { stroke: var(--quiet); stroke-width: 1.2; } .pair { stroke: var(--quiet); stroke-opacity: .35; stroke-width: 1; fill: none; stroke-dasharray: 4 4; }
.mirror { fill: none; stroke: var(--ink); stroke-opacity: .55; stroke-width: 1; } .axis { stroke: var(--quiet); stroke-width: 1; fill: none; }
.heat .axis, .heat .pair { vector-effect: non-scaling-stroke; stroke-width: 1.5; stroke-opacity: 1; }
.face { border-radius: 4px; background: #000; } .face circle { stroke: #000; stroke-width: .6; } .face .right { fill: #56b4e9; } .face .left { fill: #ff9248; }
.face .middle { fill: #fff; } .face .hidden { fill: #0008; stroke-width: 1; } .face .hidden.right { stroke: #56b4e9; } .face .hidden.left { stroke: #ff9248; }
.face .hidden.middle { stroke: #fff; } .edge { stroke: #fff; stroke-opacity: .45; stroke-width: .7; }
.box { fill: none; stroke: #ffe14d; stroke-width: 1; stroke-dasharray: 4 3; }
.faces { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: .8rem; } .faces figcaption { font-size: .75rem; line-height: 1.35;
  overflow-wrap: anywhere; margin-top: .25rem; } .faces b { color: var(--error); } .none { aspect-ratio: 1; border: 1px dashed var(--rule);
  padding: .5rem; font-size: .75rem; overflow: hidden; overflow-wrap: anywhere; } .pairs { display: flex; flex-wrap: wrap; gap: 2rem; } .pairs > figure { flex: 1 1 260px; max-width: 360px; }
.dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin: 0 .25em 0 .6em; }
"""  # a style sheet reads better in rules than in lines


def page(
  report: Mapping[str, Any], findings: Sequence[Finding], sheets: Sequence[str], markup: Markup
) -> str:
  """The whole page.

  Args:
    report: the numbers, see `doctor.examine`; also `dataset` and `command`.
    findings: worst first.
    sheets: HTML of the faces, see `doctor_sheets`.
    markup: the mark-up.

  Returns:
    HTML text.
  """
  text = html.escape
  counts = {
    severity: sum(finding.severity == severity for finding in findings) for severity in SEVERITIES
  }
  verdict = (
    ", ".join(
      f"{count} {severity}{'s' * (count != 1)}" for severity, count in counts.items() if count
    )
    or "Nothing found"
  )
  crop = report["crop"]
  parts = [
    f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    f"<title>{text(report['dataset'])}: doctor</title><style>{_STYLE}</style></head><body>",
    f"<h1>{text(report['dataset'])}</h1>",
    f'<p class="quiet">{markup.num} landmarks. Crops of {crop["size"]} px from the box of the {report["box"]}, its larger '
    f"side {crop['face']:g} px; trained on {text(report['train'])}, evaluated on "
    f"{text(', '.join(report['tests']) or 'another dataset')}.</p>",
    f"<h2>Findings: {verdict}</h2>",
    *map(_finding, findings),
    "<h2>Numbers</h2>",
    _numbers(report["splits"]),
    '<p class="quiet">Three numbers are the 5 % quantile, the median and the 95 % quantile, in px of the stored image unless '
    "said otherwise. Distance to the mean face: root mean square over the landmarks after the best similarity, in percent of "
    "the mean face's root mean square radius.</p>",
  ]
  if len(report["splits"]) > 1:
    parts += ["<h2>Pictures that splits share</h2>", _overlaps(report["overlaps"])]
  parts += [
    "<h2>Mean face</h2>",
    _shape(report["shape"], markup),
    "<h2>Where landmarks fall in the heatmap</h2>",
    _heat(report),
    "<h2>Face sizes</h2>",
    _sizes(report),
    "<h2>Faces</h2>",
    *sheets,
  ]
  commit = f", commit {report['git_commit'][:10]}" if report["git_commit"] else ""
  parts.append(
    f'<p class="quiet">All annotations and image headers were read; of the images only those shown were decoded. fal_jax '
    f"{report['fal_jax']}{commit}.<br><code>{text(report['command'])}</code></p></body></html>\n"
  )
  return "\n".join(parts)


def _finding(finding: Finding) -> str:
  text = html.escape
  counts = ", ".join(f"{text(split)} {len(ids):,}" for split, ids in finding.faces.items())
  lists = "".join(
    f"<p>{text(split)}: {text(', '.join(ids[:LISTED_FACES]))}{' ...' if len(ids) > LISTED_FACES else ''}</p>"
    for split, ids in finding.faces.items()
  )
  opened = (
    " open"
    if finding.severity == "error" and sum(map(len, finding.faces.values())) <= LISTED_FACES
    else ""
  )
  faces = f"<details{opened}><summary>{counts}</summary>{lists}</details>" if lists else ""
  remedy = (
    ""
    if finding.remedy == "Nothing."
    else f"<p><strong>What to do:</strong> {text(finding.remedy)}</p>"
  )
  return (
    f'<section class="finding {finding.severity}"><h3><span class="tag">{finding.severity}</span>{text(finding.title)}</h3>'
    f"<p>{text(finding.meaning)}</p>{remedy}{faces}</section>"
  )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """Cells are HTML already; the first of each row is its name."""
  filled = [
    [cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row[1:]] for row in rows
  ]
  body = "".join(
    f"<tr><th>{row[0]}</th>{''.join(cells)}</tr>" for row, cells in zip(rows, filled, strict=True)
  )
  heads = "".join(f"<th>{cell}</th>" for cell in head)
  return (
    f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
  )


def _numbers(splits: Mapping[str, Mapping[str, Any]]) -> str:
  def three(values: Sequence[float] | None, factor: float = 1, unit: str = "") -> str:
    scaled = [factor * value for value in (values or ())[1:4]]
    return (
      " · ".join(f"{value:.3g}" if value < 100 else f"{value:,.0f}" for value in scaled) + unit
      if scaled
      else "–"
    )

  rows = {
    "faces": lambda row: f"{row['faces']:,}",
    "official faces": lambda row: "–" if row["official"] is None else f"{row['official']:,}",
    "different pictures": lambda row: f"{row['pictures']:,}",
    "image width": lambda row: three(row["image_width"]),
    "image height": lambda row: three(row["image_height"]),
    "face size, √(width × height)": lambda row: three(row["face_size"]),
    "outer eye distance": lambda row: three(row["eye_distance"]),
    "landmarks annotated": lambda row: f"{row['landmarks']:,}",
    "not annotated": lambda row: f"{row['missing']:,}",
    "visible": lambda row: f"{row['percent_visible']:.1f} %",
    "outside the image": lambda row: f"{row['outside_image']:,}",
    "the furthest of them": lambda row: (
      f"{row['outside_image_px']:.1f} px" if row["outside_image"] else "–"
    ),
    "in the border band of the heatmap": lambda row: f"{row['percent_in_band']:.2f} %",
    "outside the heatmap": lambda row: f"{row['percent_outside_crop']:.2f} %",
    "boxes of the dataset": lambda row: f"{row['faces'] - row['flags']['box_missing']:,}",
    "their overlap (IoU) with the landmarks' box": lambda row: three(row["box_iou"]),
    "distance to the mean face": lambda row: three(row["shape_distance"], 100, " %"),
  }
  return _table(
    ["", *map(html.escape, splits)],
    [[name, *map(cell, splits.values())] for name, cell in rows.items()],
  )


def _overlaps(overlaps: Mapping[str, Mapping[str, Mapping[str, int]]]) -> str:
  def cell(a: str, b: str) -> str:
    pictures, faces = overlaps[a][b]["pictures"], overlaps[a][b]["faces"]
    if a == b:
      return f'<td class="own">{pictures:,}</td>'
    same = f" ({faces:,} same faces)" if faces != pictures else ""
    return f'<td class="hit">{pictures:,}{same}</td>' if pictures else "<td>0</td>"

  table = _table(
    ["", *map(html.escape, overlaps)],
    [[html.escape(a), *(cell(a, b) for b in overlaps)] for a in overlaps],
  )
  return f'<p class="quiet">Faces of the row whose picture, byte by byte, is in the column as well.</p>{table}'


def _shape(shape: Mapping[str, Any], markup: Markup) -> str:
  def points(listed: Sequence[Sequence[float] | None]) -> np.ndarray:
    return np.array([point or (np.nan, np.nan) for point in listed])

  mean = points(shape["mean"])
  if not np.isfinite(mean).any():
    return "<p>No landmark is annotated.</p>"
  if (markup.flip == np.arange(markup.num)).all():
    said = "Left and right profiles share one scheme, so there are no pairs; faces are mirrored to the same side here."
  elif shape["asymmetry_percent"] is None:
    said = "No pair of left and right is annotated, so it cannot be compared with its mirror image."
  else:
    said = (
      f"It disagrees with its mirror image (rings) by {shape['asymmetry_percent']:.2f} % of {shape['unit']} on average, by "
      f"{shape['worst_percent']:.2f} % at most. Dashed lines join the partners of the flip permutation."
    )
  legend = "".join(
    f'<span class="dot" style="background: var(--{name})"></span>{label}'
    for name, label in (("right", "the person's right"), ("left", "left"), ("middle", "middle"))
  )
  drawing = shape_plots.mean_shape(
    mean, points(shape["mirror"]) if shape["mirror"] else None, markup
  )
  return f"<p>{said}</p><figure>{drawing}<figcaption>{legend}</figcaption></figure>"


def _heat(report: Mapping[str, Any]) -> str:
  figures = "".join(
    f"<figure><h3>{html.escape(name)}</h3>{shape_plots.heat(counts, margin=stats.MARGIN, band=report['band'])}</figure>"
    for name, counts in report["heat"].items()
    if name in largest(report)
  )
  said = (
    "Stronger is more, on a logarithmic scale. Solid: the border of the heatmap; beyond it nothing can be found. Dashed: "
    f"{report['band']} cells inside, where the decoder's window is cut."
  )
  return f'<p class="quiet">{said}</p><div class="pairs">{figures}</div>'


def _sizes(report: Mapping[str, Any]) -> str:
  edges = report["face_size_edges"]
  used = np.array([row["face_sizes"] for row in report["splits"].values()]).sum(0) > 0
  if not used.any():
    return "<p>No face has a size.</p>"
  # At least three octaves, or a set of equal sizes would be one wide bar.
  first, last = int(used.argmax()), len(used) - int(used[::-1].argmax())
  first, last = (
    max(min(first - 1, (first + last) // 2 - 6), 0),
    min(max(last + 1, (first + last) // 2 + 6), len(used)),
  )
  figures = "".join(
    f"<figure><h3>{html.escape(name)}</h3>"
    + shape_plots.histogram(
      report["splits"][name]["face_sizes"][first:last],
      edges[first : last + 1],
      label=f"Face sizes of {name}",
    )
    + "</figure>"
    for name in largest(report)
  )
  said = "√(width × height) of the landmarks' box, px of the stored image; bins of a quarter of an octave."
  return f'<p class="quiet">{said}</p>{figures}'


def largest(report: Mapping[str, Any]) -> list[str]:
  """Names of the splits that are not wholly in another one: pictures of the parts would only repeat
  theirs.
  """
  overlaps, names = report["overlaps"], list(report["splits"])

  def part(a: str, b: str) -> bool:
    """Of two splits of the same faces, the later one is a part of the earlier."""
    faces = {name: report["splits"][name]["faces"] for name in (a, b)}
    return (
      a != b
      and overlaps[a][b] == overlaps[a][a]
      and (faces[b], -names.index(b)) > (faces[a], -names.index(a))
    )

  return [a for a in names if not any(part(a, b) for b in names)]
