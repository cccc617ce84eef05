"""Protocols: which faces, normaliser, threshold, box and training data make a dataset's results.

One table; `--mode=eval`, `--mode=score` and training read it. All normalisers are always reported;
a protocol says which of them the literature compares, and what else belongs beside it. The paper's
results are those of Bulat et al. 2021: from its Tables 1 to 4, or, where the text that we have ends
before them, as leader-boards list them. Its 300VW and Menpo rows, its failure rate on COFW and its
subsets of WFLW are not available.
"""

import dataclasses
import itertools
from collections.abc import Mapping

from fal_jax import metrics
from fal_jax.prepared import split_names


@dataclasses.dataclass(frozen=True)
class Protocol:
  """How results on some splits of one dataset are made.

  Attributes:
    title: what papers call it.
    dataset: TFDS name, without the config ("/68") unless it matters.
    splits: split -> number of faces that it must have for a result to compare; None where no
      source ties a number to the recipe.
    norm: normaliser that papers compare: "ic", "ip", "box", "diag".
    threshold: percent, of its area and failure rate.
    box: the box that our configs make crops from, "dataset" or "landmarks"; few papers state it.
    train: which data the network may have seen.
    source: where this is written.
    subsets: subset -> number of faces, for the table of subsets.
    tags: subset -> the tags of the records that belong to it, where a record's tag is not the
      subset's name.
    dataset_box_norms: whether "box" and "diag" are also measured by the dataset's own box
      (`box_dataset`, `diag_dataset`).
    paper: split (or subset) -> the paper's results by their names in the summary.
    paper_source: name of such a result -> where it is from: the paper's table, or "leader-boards".
    note: what a reader of the results must know, or "".
    own_thresholds: percents at which the user wants areas and failure rates, under all normalisers;
      none for the usual ones, `metrics.THRESHOLDS`.
  """

  title: str
  dataset: str
  splits: Mapping[str, int | None]
  norm: str
  threshold: float
  box: str
  train: str
  source: str
  subsets: Mapping[str, int] = dataclasses.field(default_factory=dict)
  tags: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
  dataset_box_norms: bool = False
  paper: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
  paper_source: Mapping[str, str] = dataclasses.field(default_factory=dict)
  note: str = ""
  own_thresholds: tuple[float, ...] = ()

  @property
  def thresholds(self) -> Mapping[str, tuple[float, ...]]:
    """Percents at which area and failures are reported, by normaliser, this protocol's first."""
    thresholds = {norm: self.own_thresholds or usual for norm, usual in metrics.THRESHOLDS.items()}
    thresholds[self.norm] = tuple(dict.fromkeys((self.threshold, *thresholds[self.norm])))
    if self.dataset_box_norms:
      thresholds |= {f"{norm}_dataset": thresholds[norm] for norm in ("box", "diag")}
    return thresholds


_LP = "300W-LP (61,225 and mirrored), optionally fine-tuned on the 3,837 public 300W faces"
_AFLW_NORMS = (
  'What is published as "NME_diag" is, by all evidence, nme_box_dataset, by the side of the '
  "dataset's square box: the code of LUVLi, which the paper follows, and of HRNet divides by it. "
  "FaRL's NME_box, NME_diag and AUC are all by that box."
)
_LEADER_BOARDS = "leader-boards"
_SPLIT_NAMES = "Papers number the two splits of 300W either way round: name them by content."

PROTOCOLS: tuple[Protocol, ...] = (
  Protocol(
    "WFLW",
    "wflw",
    {"test": 2500},
    "ic",
    10,
    "dataset",
    "WFLW train, 7,500",
    "Wu et al. 2018 (LAB); wywu/LAB issue 8 for the threshold",
    subsets={
      "largepose": 326,
      "expression": 314,
      "illumination": 698,
      "makeup": 206,
      "occlusion": 736,
      "blur": 773,
    },
    paper={"test": {"nme_ic": 3.72, "auc_ic_10": 63.1, "fr_ic_10": 1.55}},
    paper_source=dict.fromkeys(("nme_ic", "auc_ic_10", "fr_ic_10"), "Table 4a"),
    note="Landmark box or the authors' rectangle: about 0.14 of nme_ic (H3R). Which the paper used "
    "is not stated.",
  ),
  Protocol(
    "300W common, challenge, full",
    "w300",
    {"test_full": 689, "test_common": 554, "test_challenge": 135},
    "ic",
    8,
    "landmarks",
    "300W train, 3,148",
    "Sagonas et al. 2013, 2016",
    subsets={"common": 554, "challenge": 135},
    tags={"common": ("helen", "lfpw"), "challenge": ("ibug",)},
    paper={
      "test_full": {"nme_ic": 2.94},
      "common": {"nme_ic": 2.61},
      "challenge": {"nme_ic": 4.13},
      "test_common": {"nme_ic": 2.61},
      "test_challenge": {"nme_ic": 4.13},
    },
    paper_source={"nme_ic": "Table 4b"},
    note=_SPLIT_NAMES,
  ),
  Protocol(
    "300W private",
    "w300",
    {"test_private": 600},
    "box",
    7,
    "landmarks",
    _LP,
    "Bulat and Tzimiropoulos 2017 (FAN); LUVLi",
    subsets={"indoor": 300, "outdoor": 300},
    paper={"test_private": {"nme_box": 2.04, "auc_box_7": 71.1}},
    paper_source={"nme_box": "Tables 1 and 3", "auc_box_7": _LEADER_BOARDS},
    note=_SPLIT_NAMES,
  ),
  Protocol(
    "COFW-29",
    "cofw29",
    {"test": 507},
    "ic",
    10,
    "landmarks",
    "COFW train, 1,345",
    "Burgos-Artizzu et al. 2013",
    paper={"test": {"nme_ic": 3.02}},
    paper_source={"nme_ic": _LEADER_BOARDS},
    note="Much of the literature reports nme_ip, 1.4 times as large.",
  ),
  Protocol(
    "COFW-68",
    "cofw68",
    {"test": 507},
    "box",
    7,
    "landmarks",
    _LP,
    "Ghiasi and Fowlkes 2015; LUVLi",
    paper={"test": {"nme_box": 2.47, "auc_box_7": 64.9}},
    paper_source=dict.fromkeys(("nme_box", "auc_box_7"), _LEADER_BOARDS),
    note="Occluded landmarks count; their error alone is under visibility.",
  ),
  Protocol(
    "AFLW-19 full",
    "aflw19",
    {"test_full": 4386},
    "box",
    7,
    "dataset",
    "AFLW train, 20,000",
    "Zhu et al. 2016 (CCL); LUVLi",
    dataset_box_norms=True,
    paper={"test_full": {"nme_box_dataset": 1.31, "nme_box": 2.14, "auc_box_7": 70.0}},
    paper_source=dict.fromkeys(("nme_box_dataset", "nme_box", "auc_box_7"), _LEADER_BOARDS),
    note=_AFLW_NORMS,
  ),
  Protocol(
    "AFLW-19 frontal",
    "aflw19",
    {"test_frontal": None, "test_frontal_inside": None},
    "box",
    7,
    "dataset",
    "AFLW train, 20,000",
    "Zhu et al. 2016 (CCL); lists of SAN and SBR",
    dataset_box_norms=True,
    paper={
      "test_frontal": {"nme_box_dataset": 1.12},
      "test_frontal_inside": {"nme_box_dataset": 1.12},
    },
    paper_source={"nme_box_dataset": _LEADER_BOARDS},
    note=f"Papers have 1,165 or 1,314 faces, and none says by which recipe: name the split and its "
    f"count. {_AFLW_NORMS}",
  ),
  Protocol(
    "Menpo semi-frontal",
    "menpo/frontal68",
    {"train": 6679, "test": 5335},
    "box",
    7,
    "landmarks",
    _LP,
    "Bulat and Tzimiropoulos 2017 (FAN); Deng et al. 2019",
    note="FAN, LUVLi and the paper test on the 6,679 of the challenge's training set; "
    "MenpoBenchmark's release has 6,653.",
  ),
  Protocol(
    "Menpo profile",
    "menpo/profile39",
    {"train": 2300, "test": 1946},
    "diag",
    3,
    "landmarks",
    "Menpo profile train, 2,300",
    "Zafeiriou et al. 2017",
    note="The challenge's norm is the diagonal of the landmarks' box; its curve ends at 3 %.",
  ),
  Protocol(
    "300VW A, B, C",
    "w300vw",
    {"test_a": 62135, "test_b": 32805, "test_c": 26338},
    "box",
    7,
    "landmarks",
    _LP,
    "Shen et al. 2015; Bulat and Tzimiropoulos 2017 (FAN)",
    note="Counts are of all frames but the 2,127 broken ones (62,846, 32,872 and 27,687 with "
    "them); a stride leaves fewer. Intervals are over videos. Jitter is a metric of ours.",
  ),
  Protocol(
    "rendered videos",
    "synthetic_faces/video",
    {"test": 960},
    "ic",
    10,
    "landmarks",
    "synthetic_faces train, 2,000",
    "this repository",
    note="Rendered faces: compares to nothing published. Intervals are over its 24 videos.",
  ),
  Protocol(
    "synthetic faces",
    "synthetic_faces",
    {"test": 400},
    "ic",
    10,
    "landmarks",
    "synthetic_faces train, 2,000",
    "this repository",
    note="Rendered faces: compares to nothing published.",
  ),
)


def find(dataset: str, split: str, *, norm: str) -> Protocol:
  """The protocol of a split, or a general one.

  Args:
    dataset: TFDS name, its config and version included, or a name of your own.
    split: name of a split; a slice of one ("test[:10%]") has its protocol and is not complete, nor
      is a union of splits that have the same one ("test_a+test_b").
    norm: normaliser of the general protocol.

  Returns:
    One of `PROTOCOLS`, or one without splits, paper and note.
  """
  name, bases = dataset.partition(":")[0], split_names.bases(split)
  for protocol in PROTOCOLS:
    is_dataset = name == protocol.dataset or name.startswith(f"{protocol.dataset}/")
    if is_dataset and all(base in protocol.splits for base in bases):
      return protocol

  return Protocol(
    title=f"general (none is known for {dataset}, {split})",
    dataset=dataset,
    splits={},
    norm=norm,
    threshold=metrics.THRESHOLDS[norm][0],
    box="",
    train="",
    source="",
  )


def with_dataset_boxes(protocol: Protocol) -> Protocol:
  """The same protocol, with box and diagonal by the dataset's own box as well."""
  return dataclasses.replace(protocol, dataset_box_norms=True)


def with_thresholds(protocol: Protocol, percents: tuple[float, ...]) -> Protocol:
  """The same protocol, with areas and failure rates at these thresholds under all normalisers.

  Args:
    protocol: keeps its own threshold beside them if papers compare it; a general one takes the
      first of them.
    percents: one or more.

  Returns:
    A protocol.
  """
  threshold = protocol.threshold if protocol.splits else percents[0]
  return dataclasses.replace(protocol, threshold=threshold, own_thresholds=percents)


def cite(results: Mapping[str, float], sources: Mapping[str, str]) -> str:
  """Results and where they are from: "nme_box 2.04 (Tables 1 and 3), auc_box_7 71.1 (...)".

  Args:
    results: name -> value.
    sources: name -> where it is from; results that follow one another and share it are named once.

  Returns:
    One line, "" without results.
  """
  groups = itertools.groupby(results, key=lambda name: sources[name])
  return ", ".join(
    f"{', '.join(f'{name} {results[name]:g}' for name in names)} ({source})"
    for source, names in groups
  )


def markdown() -> str:
  """The table of protocols for README."""
  columns = (
    "protocol",
    "splits and faces",
    "norm, threshold",
    "subsets",
    "crop box",
    "trained on",
    "the paper",
  )
  lines = [columns, ["---"] * len(columns), *map(_markdown_row, PROTOCOLS)]
  return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _markdown_row(protocol: Protocol) -> list[str]:
  boxes = ", both boxes" if protocol.dataset_box_norms else ""
  paper = (
    f"{of}: {cite(results, protocol.paper_source)}" for of, results in protocol.paper.items()
  )
  return [
    protocol.title,
    ", ".join(
      f"`{split}`" if count is None else f"`{split}` {count:,}"
      for split, count in protocol.splits.items()
    ),
    f"nme_{protocol.norm}, {protocol.threshold:g} %{boxes}",
    ", ".join(f"{subset} {count}" for subset, count in protocol.subsets.items()),
    protocol.box,
    protocol.train,
    "; ".join(paper),
  ]
