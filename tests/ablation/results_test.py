"""Means, deviations and paired differences against NumPy, and the page they stand on."""

import numpy as np
import pytest

from fal_jax.ablation import results

FIRST, SECOND, THIRD = {0: 5.0, 1: 5.2, 2: 5.9}, {0: 4.0, 1: 4.5, 2: 4.6}, {0: 4.25, 2: 4.75}
ROWS = [
  {"row": "a", "label": "A", "paper": 4.2, "training": "a", "values": FIRST},
  {"row": "b", "label": "B", "paper": None, "training": "b", "values": SECOND},
  {"row": "c", "label": "C", "paper": 3.72, "training": "b", "values": THIRD},
  {"row": "d", "label": "D", "paper": None, "training": "d", "values": {}},
]


def report(**changes):
  return {
    "title": "Title",
    "command": "python -m it",
    "base": "demo",
    "dataset": "faces",
    "split": "test",
    "metric": "nme_ic",
    "paper": "WFLW",
    "against": "previous",
    "seeds": [0, 1, 2],
    "git_commits": ["0123456789abcdef"],
    "rows": results.summarise(ROWS, against=changes.get("against", "previous")),
    **changes,
  }


def line(page, label):
  (found,) = [line for line in page.splitlines() if line.startswith(f"| {label} |")]
  return [cell.strip() for cell in found.strip("|").split("|")]


def test_the_numbers_are_those_of_numpy():
  first, second, _, _ = results.summarise(ROWS, against="previous")
  values, differences = (
    np.array(list(each))
    for each in (SECOND.values(), (SECOND[seed] - FIRST[seed] for seed in FIRST))
  )
  assert second["mean"] == pytest.approx(values.mean()) and second["seeds"] == 3
  assert second["standard_deviation"] == pytest.approx(values.std(ddof=1))
  assert second["difference"]["mean"] == pytest.approx(differences.mean())
  assert second["difference"]["standard_error"] == pytest.approx(
    differences.std(ddof=1) / np.sqrt(3)
  )
  assert second["difference"]["from"] == "A" and "difference" not in first


def test_differences_are_paired_by_seed_and_not_by_place():
  """C lacks seed 1: paired with B by place, its second value would meet the wrong one."""
  third = results.summarise(ROWS, against="previous")[2]
  differences = np.array([4.25 - 4.0, 4.75 - 4.6])
  assert (
    third["difference"]["mean"] == pytest.approx(differences.mean())
    and third["difference"]["seeds"] == 2
  )
  assert third["difference"]["standard_error"] == pytest.approx(
    differences.std(ddof=1) / np.sqrt(2)
  )
  paired = results.difference({2: 1.0, 0: 3.0}, {0: 1.0, 1: 9.0, 2: 2.0})
  assert paired["mean"] == 0.5 and paired["seeds"] == 2


def test_the_page_shows_what_was_calculated_by_hand():
  page = results.markdown(report())
  # A: 16.1 / 3, deviations -0.3667 -0.1667 0.5333; B - A: -1.0 -0.7 -1.3.
  assert line(page, "A") == ["A", "4.20", "5.367 ± 0.473", "3", "5.000", "5.200", "5.900", ""]
  assert line(page, "B") == [
    "B",
    "",
    "4.367 ± 0.321",
    "3",
    "4.000",
    "4.500",
    "4.600",
    "-1.000 ± 0.173",
  ]
  assert line(page, "C") == [
    "C",
    "3.72",
    "4.500 ± 0.354",
    "2",
    "4.250",
    "",
    "4.750",
    "+0.200 ± 0.050",
  ]
  assert line(page, "D") == ["D", "", "", "0", "", "", "", ""]
  assert (
    line(page, "row")[1:3] == ["paper, WFLW", "nme_ic, mean ± sd"]
    and line(page, "row")[-1] == "minus row above ± se"
  )


def test_differences_may_be_from_the_first_row_instead():
  page = results.markdown(report(against="first"))
  assert (
    line(page, "C")[-1] == "-0.950 ± 0.200" and line(page, "row")[-1] == "minus first row ± se"
  )  # -0.75, -1.15


def test_one_seed_gives_no_deviation_and_says_so():
  rows = [
    {**row, "values": {seed: value for seed, value in row["values"].items() if seed == 0}}
    for row in ROWS
  ]
  page = results.markdown(report(seeds=[0], rows=results.summarise(rows, against="previous")))
  assert line(page, "B") == ["B", "", "4.000", "1", "4.000", "-1.000"]
  assert "One seed" in page


def test_the_page_says_what_its_reader_must_know():
  page = results.markdown(report())
  for part in (
    "# Title\n",
    "nme_ic on faces, split test; base config demo; commit 0123456789.",
    "From 3 seeds",
    "about 50 %",
    "4 of 12 numbers are missing",
    "The same trainings, read by different decoders: B; C.",
    "```\npython -m it\n```",
  ):
    assert part in page, part
  assert "more than one version" not in page
  assert "more than one version" in results.markdown(report(git_commits=["a" * 40, "b" * 40]))
