"""The numbers that READMEs quote are those of the result files that are committed.

To watch another table, add it to `TABLES`; to watch a sentence, write it into `SENTENCES` with its
numbers as fields of the file.
"""

import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest

ROOT = pathlib.Path(__file__).parents[1]
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


class Table(NamedTuple):
  """A table of a README and where its numbers are from.

  Attributes:
    page: the README.
    section: the heading that the table is the first one under.
    file: JSON; `rows` in it is a list with a mapping for each line of the table, in any order.
    columns: head of a column -> where the numbers in its cells are, in their order: keys and
      positions in a row, joined by dots. A cell holds no number where the row has none of them.
    label: key of what a line's first cell says.
  """

  page: str
  section: str
  file: str
  columns: Mapping[str, tuple[str, ...]]
  label: str = "label"


PEERS = "launch/peers/README.md"
ABLATIONS = "configs/ablations/README.md"
INTERVAL = ("difference.interval_over_faces.0", "difference.interval_over_faces.1")


def ablation(
  section: str,
  name: str,
  *,
  against: str,
  also: Sequence[str] = (),
  seeds: int = 3,
  metric: str = "nme_ic",
  interval: bool = True,
) -> Table:
  """A table of `python -m fal_jax.ablation`, whose JSON is in the folder of results."""
  columns = {
    f"{metric}, mean ± sd": ("mean", "standard_deviation"),
    **{f"seed {seed}": (f"values.{seed}",) for seed in range(seeds)},
    f"minus {against} ± se": ("difference.mean", "difference.standard_error"),
    **({"95 % over faces": INTERVAL} if interval else {}),
    **{name: (f"also.{name}.mean", f"also.{name}.standard_deviation") for name in also},
    **{
      f"{name}, minus {against}": (
        f"also.{name}.difference.mean",
        f"also.{name}.difference.standard_error",
      )
      for name in also
    },
  }
  return Table(ABLATIONS, section, f"configs/ablations/results/{name}.json", columns)


def medium(section: str, name: str, *, also: Sequence[str] = (), **options: Any) -> Table:
  """A table of three seeds in which rows scatter faces."""
  also = ("median", "unscattered", *also)
  table = ablation(section, f"w300_medium/{name}", interval=False, also=also, **options)
  scattered = tuple(f"catastrophic.{seed}" for seed in range(3))
  return table._replace(
    columns={
      **table.columns,
      "above 20 %, % of faces by seed": scattered,
      "unscattered, 95 % over faces": tuple(f"also.unscattered.{end}" for end in INTERVAL),
    },
  )


TABLES = (
  Table(
    PEERS,
    "Results",
    "launch/peers/results.json",
    {
      "NME_ic (95 %)": ("nme_ic", "interval.0", "interval.1"),
      "median": ("median",),
      "FR_ic_8": ("fr_ic_8",),
      "missed": ("missed",),
      "minus ours": ("minus_ours.mean", "minus_ours.interval.0", "minus_ours.interval.1"),
      "with offsets": ("offsets_nme_ic",),
    },
  ),
  Table(PEERS, "Results", "launch/peers/times.json", {"CPU ms": ("cpu_ms",)}),
  ablation(
    "The paper's Table 2 on real faces, made small", "w300_small/table2", against="row above"
  ),
  ablation(
    "The paper's Table 1 on real faces, made small",
    "w300_small/table1",
    against="first row",
    metric="nme_box",
  ),
  ablation(
    "The paper's Table 3 on real faces, made small",
    "w300_small/table3",
    against="first row",
    metric="nme_box",
  ),
  ablation("What the paper leaves open", "w300_small/defaults", against="first row"),
  ablation("Readings of Eq. 6", "w300_small/eq6", against="first row"),
  ablation("A family of networks", "w300_small/family", against="first row"),
  Table(
    ABLATIONS,
    "What the family costs",
    "configs/ablations/results/w300_small/family_costs.json",
    {
      "input": ("input",),
      "depth": ("depth",),
      "expansion": ("expansion",),
      "CPU ms": ("cpu_ms",),
      "of the first": ("relative",),
      "MFLOP": ("mflop",),
      "float16, MB": ("float16_mb",),
      "ONNX, MB": ("onnx_mb",),
    },
  ),
  ablation(
    "Consistency of views",
    "w300_small/consistency",
    against="first row",
    also=("agreement", "shared_error", "shift_spread"),
  ),
  ablation(
    "Views after longer training",
    "w300_small_40/consistency",
    against="first row",
    also=("agreement", "shared_error", "shift_spread"),
  ),
  ablation("Jitter in videos", "w300_small/jitter", against="first row", also=("jitter",)),
  medium("Table 2 at the shipped size", "table2", against="row above"),
  medium("Losses at the shipped size", "table1", against="first row", metric="nme_box"),
  medium(
    "Windows and decoders at the shipped size", "table3", against="first row", metric="nme_box"
  ),
  medium(
    "Views at the shipped size",
    "consistency",
    against="first row",
    also=("agreement", "shift_spread"),
  ),
  ablation(
    "The recipe at the shipped size",
    "w300_medium/recipe",
    against="first row",
    seeds=2,
    interval=False,
    also=("detector_box", "stress", "catastrophic_stress"),
  ),
)
# README, file, and words that it must say; `{rows[LABEL][key]:.2f}` is a number of the file.
SENTENCES = (
  (
    PEERS,
    "launch/peers/results.json",
    "above 20 % are {rows[dlib, box given][catastrophic_ic]:.1f} % of them",
  ),
  (
    PEERS,
    "launch/peers/results.json",
    "`w300-68` from {rows[w300-68, box given][nme_ic]:.2f} to "
    "{rows[w300-68, box given][offsets_nme_ic]:.2f}",
  ),
  (
    ABLATIONS,
    "configs/ablations/results/w300_small/consistency.json",
    "({rows[sum of two views (Eq. 6)][difference][mean]:.2f} ± "
    "{rows[sum of two views (Eq. 6)][difference][standard_error]:.2f})",
  ),
  (
    ABLATIONS,
    "configs/ablations/results/w300_medium/table1.json",
    "read by the local soft-argmax have "
    "{rows[the same, local soft-argmax][also][unscattered][mean]:.3f}, continuous ones "
    "{rows[continuous heatmaps, local soft-argmax][also][unscattered][mean]:.3f}",
  ),
  (
    ABLATIONS,
    "configs/ablations/results/w300_medium/table2.json",
    "over the {unscattered[0]} faces whose error is at most 20 % in every row and seed",
  ),
  (
    ABLATIONS,
    "configs/ablations/results/decoders/w300-68.json",
    "from {rows[softargmax][nme_ic]:.3f} to {rows[calibrated][nme_ic]:.3f} %",
  ),
  (
    ABLATIONS,
    "configs/ablations/results/decoders/free-68.json",
    "{rows[calibrated][differences][nme_ic][mean]:.4f} "
    "({rows[calibrated][differences][nme_ic][interval][0]:.4f} to "
    "{rows[calibrated][differences][nme_ic][interval][1]:.4f}), "
    "{rows[calibrated][percent_improved]:.1f} %",
  ),
  (
    "fal_jax/robustness/README.md",
    "fal_jax/robustness/results/w300-68_calibration.json",
    "for `w300-68`, {minus_score[views][landmarks][gain]:.0f} points of landmarks "
    "[{minus_score[views][landmarks][interval][0]:.0f}, "
    "{minus_score[views][landmarks][interval][1]:.0f}] and "
    "{minus_score[views][faces][gain]:+.0f} of faces "
    "[{minus_score[views][faces][interval][0]:.0f}, "
    "{minus_score[views][faces][interval][1]:+.0f}]",
  ),
  (
    "fal_jax/robustness/README.md",
    "fal_jax/robustness/results/free-68_calibration.json",
    "for `free-68` {minus_score[views][faces][gain]:.0f} of faces "
    "[{minus_score[views][faces][interval][0]:.0f}, "
    "{minus_score[views][faces][interval][1]:+.0f}], and "
    "{minus_score[views][landmarks][gain]:+.0f} of landmarks "
    "[{minus_score[views][landmarks][interval][0]:+.0f}, "
    "{minus_score[views][landmarks][interval][1]:+.0f}]",
  ),
  (PEERS, "launch/peers/times.json", "a load of {load[0]:.1f} before and {load[1]:.1f} after"),
)


def read(file: str) -> Any:
  return json.loads((ROOT / file).read_text(encoding="utf-8"))


def lines(page: str, section: str) -> list[dict[str, str]]:
  """The first table under a heading: for each line, head of a column -> cell."""
  text = (ROOT / page).read_text(encoding="utf-8")
  _, _, after = text.partition(f"\n## {section}\n")
  found = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)
  assert found, f"{page} has no table under {section!r}"
  head, _, *body = [
    [cell.strip() for cell in line.strip().strip("|").split("|")] for line in found[0].splitlines()
  ]
  return [dict(zip(head, cells, strict=True)) for cells in body]


def value(row: Any, path: str) -> float | None:
  """What stands in a row under a path; None where it holds nothing of that name."""
  for key in path.split("."):
    row = row[int(key)] if isinstance(row, list) else row.get(key)
    if row is None:
      return None
  return row


def differences(cells: Mapping[str, str], row: Any, columns: Mapping[str, tuple[str, ...]]):
  """Cells whose numbers are not those of the row, to the digits that they print."""
  for head, paths in columns.items():
    expected = [number for path in paths if (number := value(row, path)) is not None]
    printed = NUMBER.findall(cells[head])
    digits = [len(text.partition(".")[2]) for text in printed]
    same = len(printed) == len(expected) and all(
      abs(float(text) - number) <= 0.5001 * 10.0**-places
      for text, number, places in zip(printed, expected, digits, strict=True)
    )
    if not same:
      yield f"{head}: the README says {cells[head]!r}, the file {expected}"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.file}, {table.section}")
def test_a_table_says_what_its_file_does(table):
  rows = {row[table.label]: row for row in read(table.file)["rows"]}
  first, *_ = lines(table.page, table.section)[0]
  cells = {line[first]: line for line in lines(table.page, table.section)}
  assert rows.keys() <= cells.keys()

  wrong = [
    f"{label}, {text}"
    for label, line in cells.items()
    for text in differences(line, rows.get(label, {}), table.columns)
  ]
  assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["w300-68", "free-68"])
def test_regions_and_subsets_are_those_of_the_evaluation(name):
  summary = read(f"fal_jax/robustness/results/{name}_eval.json")
  subsets = [subset["nme_ic"] for subset in summary["subsets"].values()]
  table = lines("fal_jax/robustness/README.md", "Regions and subsets")
  printed = next(list(line.values())[1:] for line in table if line[""] == name)
  assert printed == [f"{error:.2f}" for error in [*summary["regions"].values(), *subsets]]


@pytest.mark.parametrize(("page", "file", "sentence"), SENTENCES)
def test_a_sentence_says_what_its_file_does(page, file, sentence):
  content = read(file)
  content["rows"] = {row["label"]: row for row in content.get("rows", ())}
  text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
  assert sentence.format(**content) in text


def test_a_number_that_is_not_the_file_s_is_found():
  row = {"label": "a", "error": 3.456, "interval": [3.1, 3.9], "none": None}
  columns = {"error": ("error", "interval.0", "interval.1"), "none": ("none", "absent.0")}

  assert not list(differences({"error": "3.46 (3.1 to 3.9)", "none": ""}, row, columns))
  for cell in ("3.45 (3.1 to 3.9)", "3.46 (3.1)", "-3.46 (3.1 to 3.9)", "3.46 (3.9 to 3.1)", ""):
    assert len(list(differences({"error": cell, "none": ""}, row, columns))) == 1, cell
  assert list(differences({"error": "3.5 (3 to 4)", "none": "0"}, row, columns)) == [
    "none: the README says '0', the file []"
  ]
