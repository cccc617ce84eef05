"""Means, deviations and paired differences against NumPy, and the page that shows them."""

import re

import numpy as np
import pytest
import tiny_dataset
from ablation_rows import TABLE, rows_of

from fal_jax.ablation import results
from fal_jax.ablation import run as ablation

FIRST, SECOND, THIRD = {0: 5.0, 1: 5.2, 2: 5.9}, {0: 4.0, 1: 4.5, 2: 4.6}, {0: 4.25, 2: 4.75}
SCATTERED = [{0: 0.0, 1: 0.5, 2: 1.0}, {0: 0.0, 1: 0.0, 2: 0.0}, {0: 2.0, 2: None}, {}]  # percent
ROWS = [
  {"row": "a", "label": "A", "paper": 4.2, "training": "a", "values": FIRST},
  {"row": "b", "label": "B", "paper": None, "training": "b", "values": SECOND},
  {"row": "c", "label": "C", "paper": 3.72, "training": "b", "values": THIRD},
  {"row": "d", "label": "D", "paper": None, "training": "d", "values": {}},
]
for row, percent in zip(ROWS, SCATTERED, strict=True):
  row["catastrophic"] = percent
  row["faces"], row["also"] = {}, {}


def report(**changes):
  return {
    "title": "Title",
    "command": "python -m it",
    "base": "demo",
    "dataset": "faces",
    "trained_on": "faces",
    "split": "test",
    "metric": "nme_ic",
    "also": [],
    "unscattered": None,
    "paper": "WFLW",
    "against": "previous",
    "seeds": [0, 1, 2],
    "git_commits": ["0123456789abcdef"],
    "rows": results.summarise(ROWS, against=changes.get("against", "previous")),
    "figure": None,
    **changes,
  }


def cells(page, label):
  """The cells of the only line of the table that begins with a label."""
  (line,) = [line for line in page.splitlines() if re.match(rf"\| {label} +\|", line)]
  return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_statistics_are_those_of_numpy():
  values = np.array(list(SECOND.values()))
  differences = np.array([SECOND[seed] - FIRST[seed] for seed in FIRST])

  first, second, _, _ = results.summarise(ROWS, against="previous")

  assert "difference" not in first
  assert second["mean"] == pytest.approx(values.mean())
  assert second["standard_deviation"] == pytest.approx(values.std(ddof=1))
  assert second["seeds"] == 3
  assert second["difference"]["from"] == "A"
  assert second["difference"]["mean"] == pytest.approx(differences.mean())
  standard_error = differences.std(ddof=1) / np.sqrt(3)
  assert second["difference"]["standard_error"] == pytest.approx(standard_error)


def test_differences_are_paired_by_seed_and_not_by_place():
  """C lacks seed 1: paired with B by place, its second value would meet the wrong one."""
  differences = np.array([4.25 - 4.0, 4.75 - 4.6])

  third = results.summarise(ROWS, against="previous")[2]
  paired = results.difference({2: 1.0, 0: 3.0}, {0: 1.0, 1: 9.0, 2: 2.0})

  assert third["difference"]["mean"] == pytest.approx(differences.mean())
  assert third["difference"]["seeds"] == 2
  standard_error = differences.std(ddof=1) / np.sqrt(2)
  assert third["difference"]["standard_error"] == pytest.approx(standard_error)
  assert (paired["mean"], paired["seeds"]) == (0.5, 2)


def test_the_page_shows_what_was_calculated_by_hand():
  page = results.markdown(report())

  # A: 16.1 / 3, deviations -0.3667 -0.1667 0.5333; B - A: -1.0 -0.7 -1.3.
  a, b, c, d = (cells(page, label) for label in "ABCD")
  assert a == ["A", "4.20", "5.367 ± 0.473", "3", "5.000", "5.200", "5.900", "", "", "0.50"]
  assert b == [
    "B",
    "",
    "4.367 ± 0.321",
    "3",
    "4.000",
    "4.500",
    "4.600",
    "-1.000 ± 0.173",
    "",
    "0.00",
  ]
  assert c == ["C", "3.72", "4.500 ± 0.354", "2", "4.250", "", "4.750", "+0.200 ± 0.050", "", ""]
  assert d == ["D", "", "", "0", "", "", "", "", "", ""]
  head = cells(page, "row")
  assert head[1:3] == ["paper, WFLW", "nme_ic, mean ± sd"]
  assert head[-3:] == ["minus row above ± se", "95 % over faces", "catastrophic, % of faces"]


def with_faces(**changes):
  """ROWS with the errors of 40 faces in two seeds, 1 % apart from one row to the next."""
  rng = np.random.default_rng(0)
  errors = rng.uniform(3, 8, (2, 40))
  noise = [rng.normal(0, 0.5, (2, 40)) for _ in ROWS]
  return [
    {**row, "faces": dict(enumerate(errors - k + noise[k])), **changes}
    for k, row in enumerate(ROWS)
  ]


def test_the_interval_over_faces_is_that_of_paired_differences_averaged_over_seeds():
  rows = with_faces()
  change = (np.array([*rows[1]["faces"].values()]) - [*rows[0]["faces"].values()]).mean(0)

  summary = results.summarise(rows, against="previous")[1]

  assert "faces" not in summary
  low, high = summary["difference"]["interval_over_faces"]
  by_hand = 1.96 * change.std(ddof=1) / np.sqrt(len(change))
  assert (low, high) == pytest.approx((change.mean() - by_hand, change.mean() + by_hand), abs=0.03)
  assert high - low < 0.5  # of unpaired faces, whose errors differ by percents, above 1
  page = results.markdown(report(rows=results.summarise(rows, against="previous")))
  assert cells(page, "B")[-2] == f"{low:+.3f} to {high:+.3f}"
  assert "paired bootstrap" in page


def test_rows_are_compared_without_the_faces_that_any_of_them_scatters():
  rows = with_faces()
  rows[1]["faces"][1][3], rows[2]["faces"][0][7] = 90.0, 20.1
  others = np.delete(np.arange(40), [3, 7])
  cut = [{**row, "faces": {k: v[others] for k, v in row["faces"].items()}} for row in rows]
  videos = [f"video{k // 4}" for k in range(40)]

  added, kept = results.with_unscattered(rows)
  summaries = results.summarise(added, against="previous", groups=videos, kept=kept)
  page = results.markdown(report(rows=summaries, also=[results.UNSCATTERED], unscattered=[38, 40]))

  np.testing.assert_array_equal(np.flatnonzero(kept), others)
  means = [[errors.mean() for errors in row["faces"].values()] for row in cut]
  assert list(added[1]["also"]["unscattered"].values()) == pytest.approx(means[1])
  difference = np.subtract(means[1], means[0]).mean()
  assert cells(page, "B")[-2].startswith(f"{difference:+.3f} ± ")
  by_hand = results.interval_over_faces(
    cut[1]["faces"], cut[0]["faces"], groups=[videos[k] for k in others]
  )
  assert summaries[1]["also"]["unscattered"]["difference"]["interval_over_faces"] == by_hand
  assert cells(page, "B")[-1] == f"{by_hand[0]:+.3f} to {by_hand[1]:+.3f}"
  assert cells(page, "row")[-1] == "unscattered, 95 % over faces"
  assert "over the 38 of 40 faces whose error is at most 20 %" in page


def test_there_is_nothing_to_leave_out_where_no_face_or_every_face_is_scattered():
  for rows in (ROWS, with_faces(), [{**ROWS[0], "faces": {0: np.full(5, 99.0)}}]):
    assert results.with_unscattered(rows) == (rows, None)


def test_frames_of_a_video_are_drawn_together_and_two_videos_are_too_few():
  rows = with_faces()
  videos = [f"video{k // 20}" for k in range(40)]
  pairs = [f"video{k // 4}" for k in range(40)]

  few = results.summarise(rows, against="first", groups=videos)
  enough = results.summarise(rows, against="first", groups=pairs)

  assert few[1]["difference"]["interval_over_faces"] is None
  low, high = enough[1]["difference"]["interval_over_faces"]
  assert low < -1 + 0.3 and high > -1 - 0.3


def test_other_measures_have_columns_and_differences_of_their_own():
  spreads = [{0: 3.0, 1: 3.2}, {0: 2.0, 1: 2.4}, {0: 1.0}, {}]
  rows = [{**row, "also": {"agreement": values}} for row, values in zip(ROWS, spreads, strict=True)]
  summaries = results.summarise(rows, against="first")

  page = results.markdown(report(rows=summaries, also=["agreement"], against="first"))

  head = cells(page, "row")
  assert head[-2:] == ["agreement, mean ± sd", "agreement, minus first row ± se"]
  assert cells(page, "A")[-2:] == ["3.100 ± 0.141", ""]
  assert cells(page, "B")[-2:] == ["2.200 ± 0.283", "-0.900 ± 0.100"]
  assert cells(page, "C")[-2:] == ["1.000", "-2.000"]
  assert cells(page, "D")[-2:] == ["", ""]


def test_the_table_lines_up():
  rows = [line for line in results.markdown(report()).splitlines() if line.startswith("|")]

  assert len({len(row) for row in rows}) == 1


def test_differences_may_be_from_the_first_row_instead():
  page = results.markdown(report(against="first"))

  assert cells(page, "C")[-3] == "-0.950 ± 0.200"  # -0.75, -1.15
  assert cells(page, "row")[-3] == "minus first row ± se"


def test_one_seed_gives_no_deviation_and_says_so():
  rows = [{**row, "values": {k: v for k, v in row["values"].items() if k == 0}} for row in ROWS]
  summaries = results.summarise(rows, against="previous")

  page = results.markdown(report(seeds=[0], rows=summaries))

  assert cells(page, "B") == ["B", "", "4.000", "1", "4.000", "-1.000", "", "0.00"]
  assert "One seed" in page


@pytest.mark.parametrize(
  "part",
  [
    "# Title\n",
    "nme_ic on faces, split test; base config demo; commit 0123456789.",
    "From 3 seeds",
    "about 50 %",
    "4 of 12 results are missing",
    "The same trainings, read by different decoders: B; C.",
    "```\npython -m it\n```",
  ],
)
def test_the_page_says_what_its_reader_must_know(part):
  assert part in results.markdown(report())


def test_the_page_shows_the_figure_where_there_is_one():
  page = results.markdown(report(figure="table2_ced.png"))

  assert "](table2_ced.png)\n\n*" in page
  assert "each face counts once per seed" in page
  assert "![" not in results.markdown(report())


def test_a_report_names_the_dataset_that_was_measured_and_the_one_trained_on(tmp_path):
  rows = rows_of(tmp_path, {"plain": {}}, eval__name="w300", eval__splits=("test_private",))
  jobs = ablation.plan(rows, tmp_path, seeds=1)

  written = ablation.report(TABLE, rows, jobs, command="it")

  assert (written["dataset"], written["split"]) == ("w300", "test_private")
  assert written["trained_on"] == tiny_dataset.NAME


def test_the_page_names_the_training_data_where_the_test_is_on_another_dataset():
  page = results.markdown(report(dataset="w300", trained_on="w300lp/no_flips"))
  assert "nme_ic on w300, split test; trained on w300lp/no_flips; base config demo;" in page


def test_the_page_warns_of_several_versions_of_the_code():
  several = results.markdown(report(git_commits=["a" * 40, "b" * 40]))

  assert "several versions" in several
  assert "several versions" not in results.markdown(report())
