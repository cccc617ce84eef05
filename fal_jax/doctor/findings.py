"""Findings about a dataset as a whole, in plain words; those about faces are in `face_findings`."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from fal_jax.crop import CropRule
from fal_jax.errors import join_findings
from fal_jax.landmarks import Markup
from fal_jax.prepared import split_names

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
NOTHING_TO_DO = "Nothing."
_ROLL = 45.0  # degrees
_LYING = 67.5  # degrees: nearer to 90 than to 45
_ASYMMETRY = 3.0  # percent; 300W, WFLW and COFW have 0.6 to 0.8


@dataclasses.dataclass(frozen=True)
class Finding:
  """One thing to know about a dataset.

  Attributes:
    severity: "error" spoils training or its results; "warning" should be looked at; "note" is good
      to know.
    title: what was found.
    meaning: why it matters.
    remedy: what to do.
    faces: split -> names of the faces concerned.
  """

  severity: Severity
  title: str
  meaning: str
  remedy: str
  faces: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)


def config_findings(
  train: Sequence[str], tests: Sequence[str], splits: Sequence[str]
) -> Iterator[Finding]:
  """Finds splits that the config names and the dataset does not have, or that it trains and tests.

  Args:
    train: the parts of the config's training split, slices included.
    tests: those of its evaluation splits.
    splits: the dataset's.

  Yields:
    One error, and one warning, if there are any.
  """
  bases = {part: split_names.bases(part)[0] for part in (*train, *tests)}
  absent = [base for base in dict.fromkeys(bases.values()) if base not in splits]
  if absent:
    yield Finding(
      "error",
      title=f"The config names splits that are not there: {', '.join(absent)}",
      meaning=f"The dataset has {', '.join(splits)}; training or evaluation would stop at once.",
      remedy=(
        "Set --config.data.train_split and --config.eval.splits, or prepare the missing part."
      ),
    )

  # Two slices of a split may be disjoint; the whole split and a slice are not.
  trained = [bases[part] for part in train]
  both = [bases[part] for part in tests if bases[part] in trained and bases[part] in (*train, part)]
  if both:
    yield Finding(
      "warning",
      title=f"The config trains on what it evaluates: {', '.join(dict.fromkeys(both))}",
      meaning="A network that has seen the test faces in training looks better than it is.",
      remedy="Set --config.data.train_split or --config.eval.splits to other faces.",
    )


def shape_findings(shape: Mapping[str, Any], markup: Markup) -> Iterator[Finding]:
  """Finds what is wrong with the mean shape.

  Args:
    shape: `sides`, `roll_degrees`, `asymmetry_percent`, `unit` and `better_partners`, see
      `symmetry.describe_shape`.
    markup: the mark-up.

  Yields:
    Swapped sides; a face that is not upright; then wrong pairs or, where there are none, asymmetry.
  """
  if shape["sides"] == "exchanged":
    yield Finding(
      "error",
      title="Left and right are swapped in the whole dataset",
      meaning=(
        "On the mean face the landmarks named right_ lie on the person's left. Either all images "
        "or coordinates are mirrored, x and y are swapped, or the mark-up's names are the wrong "
        "way round."
      ),
      remedy="Check the reader's order of x and y first, then the mark-up's names.",
    )

  roll = shape["roll_degrees"]
  if roll is not None and abs(roll) > _ROLL:
    lies = "lies on its side" if abs(roll) < 180 - _ROLL else "is upside down"
    yield Finding(
      "error" if abs(roll) > _LYING else "warning",
      title=f"The mean face {lies}: it is turned by {abs(roll):.0f} degrees",
      meaning=(
        "By the names or the mirror pairs of its landmarks it is not upright, as faces are when "
        "anything is predicted on them: a network that has learnt them lying finds no other. "
        "Either the images are stored turned, or x and y of the landmarks are swapped."
      ),
      remedy=(
        "Turn the images and their landmarks; if only the EXIF orientation of photographs turns "
        "them, write `upright: true` into the markup.yaml of your own dataset and prepare it again."
      ),
    )

  percent = shape["asymmetry_percent"]
  if partners := shape["better_partners"]:
    pairs = [f"{k} ({markup.names[k]}) mirrors {p}, not {markup.flip[k]}" for k, p in partners]
    yield Finding(
      "error",
      title=(
        f"The flip permutation does not fit the mean shape at {_count(len(partners), 'landmark')}"
      ),
      meaning=(
        f"In the mean face, {join_findings(pairs, limit=8)}. "
        "Mirrored views are taught wrong labels."
      ),
      remedy=(
        "Check the names of these landmarks in the mark-up: the prefixes left_ and right_ make the "
        "permutation."
      ),
    )
  elif percent is not None and percent > _ASYMMETRY:
    yield Finding(
      "warning",
      title=f"The mean face is not symmetric: {percent:.1f} % of {shape['unit']}",
      meaning=(
        f"It disagrees with its mirror image by more than the {_ASYMMETRY:g} % that face datasets "
        "stay below: most faces look to one side, one side is annotated differently, or a "
        "convention is wrong."
      ),
      remedy="Look at the drawing of the mean face: the rings are its mirror image.",
    )


def overlap_findings(
  overlaps: Mapping[str, Mapping[str, Mapping[str, int]]],
  train: Sequence[str],
  tests: Sequence[str],
  *,
  names: Mapping[str, Mapping[str, list[str]]],
) -> Iterator[Finding]:
  """Finds images that are in several splits.

  Args:
    overlaps: split -> other split -> `pictures` and `faces`: how many faces of the first have their
      image, or are themselves, in the other; the diagonal counts all of them.
    train: the splits that the config trains on.
    tests: the splits that it evaluates.
    names: split -> other split -> names of the first one's faces whose images are in the other.

  Yields:
    One finding per pair of splits that should not overlap, and one for all unions by design.
  """
  unions = []
  for a, b in itertools.combinations(overlaps, 2):
    faces = overlaps[a][b]["faces"]
    images = overlaps[a][b]["pictures"]
    if not images:
      continue

    within = _within(overlaps, a, b)
    trained = [split for split in (a, b) if split in train]
    configured = (a in train and b in tests) or (b in train and a in tests)
    source = trained[0] if configured else "one of the splits"
    mixed = {_role(a, train, tests), _role(b, train, tests)} == {"train", "test"}
    both = {a: names[a][b], b: names[b][a]}

    if faces and len(trained) == 2:
      yield Finding(
        "error",
        title=f"{a} and {b} share {_count(faces, 'face')}",
        meaning="The config trains on both, so these faces are learnt twice as often as others.",
        remedy="Leave one of them out of --config.data.train_split.",
        faces=both,
      )
    elif faces and within and not configured:
      unions.append(within)
    elif faces and (configured or mixed):
      yield Finding(
        "error",
        title=f"{a} and {b} share {_count(faces, 'face')}",
        meaning="A network that has seen the test faces in training looks better than it is.",
        remedy=f"Remove these faces from {source}, or evaluate on another split.",
        faces=both,
      )
    elif faces:
      yield Finding(
        "warning",
        title=f"{a} and {b} share {_count(faces, 'face')}",
        meaning="They overlap without one being part of the other.",
        remedy="Train on one and evaluate on the other only without these faces.",
        faces=both,
      )
    elif mixed:
      yield Finding(
        "warning",
        title=f"{a} and {b} share {_count(images, 'image')}, but no face",
        meaning=(
          "Different people in the same photograph: light, blur and background have been seen in "
          "training."
        ),
        remedy="Keep it in mind when you compare results; most published protocols have it too.",
        faces=both,
      )

  if unions:
    yield Finding(
      "note",
      title="Splits that are parts of others",
      meaning=f"{'; '.join(unions)}. Such unions are made by design.",
      remedy="Never train on one and evaluate on the other.",
    )


def crop_findings(
  percents: Mapping[str, Mapping[str, float]], rule: CropRule, band: int
) -> Iterator[Finding]:
  """Finds landmarks outside the config's crops or near their border.

  Args:
    percents: split -> `band` and `outside`, percentages of its annotated landmarks.
    rule: the config's.
    band: width of the border band, heatmap px.

  Yields:
    At most one finding of each kind.
  """

  def per_split(kind: str) -> str:
    return "; ".join(f"{split} {share[kind]:.2f} %" for split, share in percents.items())

  lower_face = f"Lower config.crop.face (now {rule.face:g} of {rule.size} px)"
  if (worst := max(share["outside"] for share in percents.values())) > 0:
    yield Finding(
      "warning" if worst > 0.5 else "note",
      title="Landmarks outside the crop",
      meaning=(
        f"{per_split('outside')}. A heatmap cannot represent them: the network will miss them."
      ),
      remedy=f"{lower_face} or crop by another box.",
    )

  if (worst := max(share["band"] for share in percents.values())) > 0:
    yield Finding(
      "warning" if worst > 5 else "note",
      title=f"Landmarks within {band} heatmap px of the crop's border",
      meaning=(
        f"{per_split('band')}. The window that reads them is cut there, which pulls them inwards "
        "by up to 0.27 heatmap px."
      ),
      remedy=f"{lower_face}, or set --config.codec.decode=calibrated.",
    )


def metadata_findings(metadata: Mapping[str, Any]) -> Iterator[Finding]:
  """Passes on what the builder noted when the dataset was prepared.

  Args:
    metadata: `missing` parts, `skipped` files with the reason, `warnings` and `notes` with their
      files.

  Yields:
    One finding for each of the four that is there.
  """
  if missing := metadata.get("missing"):
    yield Finding(
      "warning",
      title="The dataset is not complete",
      meaning=f"{'; '.join(missing)}. Its results are not those of the official splits.",
      remedy="Download the rest and prepare it again, or state this with every result.",
    )

  if skipped := metadata.get("skipped"):
    reasons = [f"{file}: {why}" for file, why in skipped.items()]
    yield Finding(
      "warning",
      title=f"{_count(len(skipped), 'bad file')} left out when it was prepared",
      meaning=f"{join_findings(reasons, limit=10)}.",
      remedy="Fix these files and prepare it again.",
    )

  def examples(messages: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(
      f"{message}: {_count(len(files), 'file')}, e.g. {files[0]}"
      for message, files in messages.items()
    )

  if warnings := metadata.get("warnings"):
    yield Finding(
      "warning",
      title="Warnings from when it was prepared",
      meaning=f"{examples(warnings)}.",
      remedy="Change the mark-up file or the annotations accordingly, and prepare it again.",
    )

  if notes := metadata.get("notes"):
    yield Finding(
      "note", title="Noted by the builder", meaning=f"{examples(notes)}.", remedy=NOTHING_TO_DO
    )


def severity_counts(findings: Sequence[Finding], *, zeros: bool) -> str:
  """How many findings there are of each severity.

  Args:
    findings: all of them.
    zeros: also name severities of which there are none.

  Returns:
    For example "1 error, 0 warnings, 2 notes".
  """
  counts = {
    severity: sum(finding.severity == severity for finding in findings) for severity in SEVERITIES
  }
  return ", ".join(_count(count, severity) for severity, count in counts.items() if count or zeros)


def _count(number: int, noun: str) -> str:
  return f"{number:,} {noun}{'s' * (number != 1)}"


def _within(overlaps: Mapping[str, Mapping[str, Mapping[str, int]]], a: str, b: str) -> str | None:
  """Which of two splits is a part of the other, in words."""
  for part, whole in ((a, b), (b, a)):
    if overlaps[part][whole] == overlaps[part][part]:
      return f"{part} within {whole}"
  return None


def _role(
  split: str, train: Sequence[str], tests: Sequence[str]
) -> Literal["train", "test", "other"]:
  """What a split is for: as the config uses it, otherwise by its name."""
  if split in train or (split not in tests and split.startswith(("train", "fit"))):
    return "train"
  return "test" if split in tests or split.startswith("test") else "other"
