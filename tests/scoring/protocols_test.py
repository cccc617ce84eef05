"""The table of protocols: found by dataset and split, consistent, with the builders' own counts."""

import importlib
import pathlib

import pytest

from fal_jax import metrics
from fal_jax.scoring import protocols


@pytest.mark.parametrize(
  ("dataset", "split", "title"),
  [
    ("wflw", "test", "WFLW"),
    ("wflw:1.0.0", "test[:10%]", "WFLW"),
    ("w300", "test_full", "300W common, challenge, full"),
    ("w300", "test_private", "300W private"),
    ("menpo/frontal68", "train", "Menpo semi-frontal"),
    ("menpo/profile39:1.0.0", "train", "Menpo profile"),
    ("synthetic_faces/98", "test", "synthetic faces"),
    ("cofw68", "test", "COFW-68"),
    ("w300", "test_common[:9]+test_challenge", "300W common, challenge, full"),
    ("w300vw/every1", "test_a + test_b + test_c", "300VW A, B, C"),
  ],
)
def test_a_protocol_is_found_by_dataset_and_split(dataset, split, title):
  assert protocols.find(dataset, split, norm="ip").title == title


@pytest.mark.parametrize(
  ("dataset", "split"),
  [
    ("w300", "val"),
    ("w300lp", "test_full"),
    ("my.csv", "my"),
    ("wflw2", "test"),
    ("w300", "train+test_full"),
    ("w300", "test_full+test_private"),  # by the eyes, and by the box
  ],
)
def test_a_split_without_a_protocol_gets_a_general_one(dataset, split):
  """With all normalisers, and the one asked for first."""
  general = protocols.find(dataset, split, norm="box")

  assert general.title.startswith("general (none is known for")
  assert (general.norm, general.threshold) == ("box", 7)
  assert general.thresholds == metrics.THRESHOLDS
  assert not general.splits
  assert not general.subsets


def test_the_usual_thresholds_are_always_reported_and_the_protocol_s_own_first():
  for protocol in protocols.PROTOCOLS:
    for norm, usual in metrics.THRESHOLDS.items():
      assert set(usual) <= set(protocol.thresholds[norm])
    assert protocol.thresholds[protocol.norm][0] == protocol.threshold

  both = protocols.with_dataset_boxes(protocols.find("w300", "test_private", norm="ic"))
  assert both.thresholds["box_dataset"] == both.thresholds["box"]


@pytest.mark.parametrize("protocol", protocols.PROTOCOLS, ids=lambda protocol: protocol.title)
def test_the_paper_s_results_have_the_names_that_a_summary_has(protocol):
  """And belong to one of the protocol's splits or subsets."""
  names = {f"nme_{norm}" for norm in protocol.thresholds}
  names |= {
    f"{kind}_{norm}_{at:g}"
    for norm, all_at in protocol.thresholds.items()
    for at in all_at
    for kind in ("auc", "fr")
  }

  assert {name for results in protocol.paper.values() for name in results} <= names
  assert protocol.paper.keys() <= {*protocol.splits, *protocol.subsets}
  assert protocol.tags.keys() <= protocol.subsets.keys()


def test_aflw_s_published_nme_diag_is_beside_the_error_by_the_dataset_s_box():
  """By the side of its square box: what the paper's numbers are beside, see scoring/README.md."""
  full = protocols.find("aflw19", "test_full", norm="ic")
  frontal = protocols.find("aflw19", "test_frontal", norm="ic")

  assert full.paper["test_full"] == {"nme_box_dataset": 1.31, "nme_box": 2.14, "auc_box_7": 70.0}
  assert {*frontal.paper} == {"test_frontal", "test_frontal_inside"}
  assert all(paper == {"nme_box_dataset": 1.12} for paper in frontal.paper.values())

  assert importlib.import_module("configs.aflw19").get_config().eval.norm == full.norm == "box"
  assert "NME_diag" in full.note and "NME_diag" in frontal.note


def test_no_number_of_frontal_faces_is_called_the_official_one():
  """Papers have 1,165 or 1,314, and none says by which recipe."""
  protocol = protocols.find("aflw19", "test_frontal", norm="ic")

  assert [*protocol.splits.values()] == [None, None]
  assert "1,165 or 1,314" in protocol.note
  assert "`test_frontal`, `test_frontal_inside` |" in protocols.markdown()


@pytest.mark.parametrize("protocol", protocols.PROTOCOLS, ids=lambda protocol: protocol.title)
def test_each_of_the_paper_s_results_says_whether_the_paper_or_a_leader_board_has_it(protocol):
  """The text that we have ends inside Table 4; what it holds is written out here once more."""
  in_the_text = {
    ("WFLW", "nme_ic", 3.72),
    ("WFLW", "auc_ic_10", 63.1),
    ("WFLW", "fr_ic_10", 1.55),
    ("300W common, challenge, full", "nme_ic", 2.94),
    ("300W common, challenge, full", "nme_ic", 2.61),
    ("300W common, challenge, full", "nme_ic", 4.13),
    ("300W private", "nme_box", 2.04),
  }

  for results in protocol.paper.values():
    for name, value in results.items():
      is_the_paper_s = (protocol.title, name, value) in in_the_text
      source = protocol.paper_source[name]
      assert source.startswith("Table" if is_the_paper_s else "leader-boards"), name

  named = {name for results in protocol.paper.values() for name in results}
  assert protocol.paper_source.keys() == named


def test_results_are_cited_with_each_source_named_once():
  results = {"nme_box": 2.04, "auc_box_7": 71.1, "fr_box_7": 0.5}
  sources = {"nme_box": "Table 1", "auc_box_7": "leader-boards", "fr_box_7": "leader-boards"}

  line = protocols.cite(results, sources)

  assert line == "nme_box 2.04 (Table 1), auc_box_7 71.1, fr_box_7 0.5 (leader-boards)"
  assert protocols.cite({}, sources) == ""


def test_every_protocol_states_its_box_source_and_training_data():
  for protocol in protocols.PROTOCOLS:
    assert protocol.box in ("dataset", "landmarks")
    assert protocol.source
    assert protocol.train


def test_no_split_has_two_protocols():
  splits = [
    (protocol.dataset, split) for protocol in protocols.PROTOCOLS for split in protocol.splits
  ]

  assert len(splits) == len(set(splits))


@pytest.mark.parametrize("protocol", protocols.PROTOCOLS, ids=lambda protocol: protocol.title)
def test_the_counts_are_those_of_the_builders_where_they_have_one(protocol):
  name = protocol.dataset.split("/", maxsplit=1)[0]
  try:
    builder = importlib.import_module(f"tfds_builders.{name}.{name}_dataset_builder").Builder
  except ModuleNotFoundError:
    pytest.skip(f"the builder of {name} is missing")

  for split in protocol.splits.keys() & builder.OFFICIAL_COUNTS.keys():
    assert protocol.splits[split] == builder.OFFICIAL_COUNTS[split]


def test_the_subsets_of_300w_make_the_whole():
  for protocol in protocols.PROTOCOLS:
    if protocol.dataset == "w300":
      assert sum(protocol.subsets.values()) == max(protocol.splits.values())


def test_the_table_for_the_readme_has_a_row_for_each_protocol():
  header, rule, *rows = protocols.markdown().splitlines()

  assert len(rows) == len(protocols.PROTOCOLS)
  assert {line.count("|") for line in (header, rule, *rows)} == {8}


def test_the_readme_shows_the_table_as_it_is_in_code():
  readme = pathlib.Path(protocols.__file__).with_name("README.md").read_text(encoding="utf-8")
  assert protocols.markdown().strip() in readme
