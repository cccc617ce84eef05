"""The table of protocols: found by dataset and split, consistent in itself, and with the builders'
own counts.
"""

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
  ],
)
def test_a_protocol_is_found_by_dataset_and_split(dataset, split, title):
  assert protocols.find(dataset, split, norm="ip").title == title


@pytest.mark.parametrize(
  ("dataset", "split"),
  [("w300", "val"), ("w300lp", "test_full"), ("my.csv", "my"), ("wflw2", "test")],
)
def test_what_has_none_gets_all_normalisers_and_the_one_asked_for(dataset, split):
  found = protocols.find(dataset, split, norm="box")
  assert found.title.startswith("general (none is known for") and (found.norm, found.threshold) == (
    "box",
    7,
  )
  assert found.thresholds == metrics.THRESHOLDS and not found.splits and not found.subsets


def test_the_usual_thresholds_are_always_reported_and_the_protocol_s_own_comes_first():
  for protocol in protocols.PROTOCOLS:
    for norm, usual in metrics.THRESHOLDS.items():
      assert set(usual) <= set(protocol.thresholds[norm])
    assert protocol.thresholds[protocol.norm][0] == protocol.threshold
  both = protocols.with_dataset_boxes(protocols.find("w300", "test_private", norm="ic"))
  assert both.thresholds["box_dataset"] == both.thresholds["box"]


def test_numbers_of_the_paper_have_names_that_a_summary_has_and_belong_to_a_split_or_subset():
  for protocol in protocols.PROTOCOLS:
    names = {f"nme_{norm}" for norm in protocol.thresholds}
    names |= {
      f"{kind}_{norm}_{at:g}"
      for norm, all_at in protocol.thresholds.items()
      for at in all_at
      for kind in ("auc", "fr")
    }
    assert protocol.paper.keys() <= {*protocol.splits, *protocol.subsets}
    assert {name for numbers in protocol.paper.values() for name in numbers} <= names
    assert protocol.tags.keys() <= protocol.subsets.keys()
    assert protocol.box in ("dataset", "landmarks") and protocol.source and protocol.train


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
    pytest.skip(f"the builder of {name} is not there")
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
