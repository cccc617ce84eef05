"""What `doctor` has to say about a dataset as a whole, in plain words; about single faces see
`doctor_faces`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from fal_jax.crop import CropRule
from fal_jax.landmarks import Markup

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
_ASYMMETRY = 3.0  # percent; 300W, WFLW and COFW have 0.6 to 0.8


@dataclasses.dataclass(frozen=True)
class Finding:
  """One thing to know about a dataset.

  Attributes:
    severity: "error" spoils training or its numbers; "warning" should be looked at; "note" is good
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


def sides(mean: np.ndarray, markup: Markup) -> Literal["right", "exchanged"] | None:
  """Whether landmarks named right_ lie where a person's right is; however the shape is turned, only
  a mirror exchanges them.

  Args:
    mean: (K, 2) mean shape.
    markup: the mark-up; its names tell sides, and what is up and down.

  Returns:
    None where the names do not tell.
  """

  def centre(*words: str) -> np.ndarray:
    rows = [
      k
      for k, name in enumerate(markup.names)
      if any(word in name for word in words) and np.isfinite(mean[k]).all()
    ]
    return mean[rows].mean(0) if rows else np.full(2, np.nan)

  across, down = (
    centre("left_") - centre("right_"),
    centre("mouth", "lip", "chin") - centre("eye", "brow", "pupil"),
  )
  turn = across[0] * down[1] - across[1] * down[0]
  if not abs(turn) > 0.05:  # of the shape's size squared: a face turned to the side tells nothing
    return None
  return "right" if turn > 0 else "exchanged"


def of_config(wanted: list[str], splits: list[str]) -> list[Finding]:
  """Findings about splits that the config names and the dataset does not have."""
  if not (absent := [name for name in dict.fromkeys(wanted) if name not in splits]):
    return []
  return [
    Finding(
      "error",
      f"The config names splits that are not there: {', '.join(absent)}",
      f"The dataset has {', '.join(splits)}; training or evaluation would stop at once.",
      "Set --config.data.train_split and --config.eval.splits, or prepare the missing part.",
    )
  ]


def of_shape(shape: Mapping[str, Any], markup: Markup) -> list[Finding]:
  """Findings about the mean shape.

  Args:
    shape: `sides`, `asymmetry_percent`, `unit` and `better_partners`, see `doctor.describe_shape`.
    markup: the mark-up.
  """
  findings = []
  if shape["sides"] == "exchanged":
    findings.append(
      Finding(
        "error",
        "Left and right are exchanged in the whole dataset",
        "On the mean face the landmarks named right_ lie on the person's left. Either all images or coordinates are mirrored, x "
        "and y are exchanged, or the mark-up's names are the wrong way round.",
        "Check the reader's order of x and y first, then the mark-up's names.",
      )
    )
  if partners := shape["better_partners"]:
    listed = ", ".join(
      f"{k} ({markup.names[k]}) mirrors {p}, not {markup.flip[k]}" for k, p in partners[:8]
    )
    findings.append(
      Finding(
        "error",
        f"The flip permutation does not fit the mean shape at {_count(len(partners), 'landmark')}",
        f"In the mean face, {listed}{' ...' if len(partners) > 8 else ''}. Mirrored views are taught wrong labels.",
        "Check the names of these landmarks in the mark-up: the prefixes left_ and right_ make the permutation.",
      )
    )
  elif (percent := shape["asymmetry_percent"]) is not None and percent > _ASYMMETRY:
    findings.append(
      Finding(
        "warning",
        f"The mean face is not symmetric: {percent:.1f} % of {shape['unit']}",
        f"It disagrees with its mirror image by more than the {_ASYMMETRY:g} % that face datasets stay below: most faces look to "
        "one side, one side is annotated differently, or a convention is wrong.",
        "Look at the drawing of the mean face: rings are its mirror image.",
      )
    )
  return findings


def of_overlaps(
  overlaps: Mapping[str, Mapping[str, Mapping[str, int]]],
  train: str,
  tests: list[str],
  *,
  names: Mapping[str, Mapping[str, list[str]]],
) -> list[Finding]:
  """Findings about pictures that are in several splits.

  Args:
    overlaps: split -> other split -> `pictures` and `faces` of the first that are in the other; the
      diagonal gives all of them.
    train: the config's training split.
    tests: the config's evaluation splits.
    names: split -> other split -> what the faces of the first are called whose pictures are in the
      other.
  """
  findings: list[Finding] = []
  designed, splits = [], list(overlaps)
  for place, a in enumerate(splits):
    for b in splits[place + 1 :]:
      faces, pictures = overlaps[a][b]["faces"], overlaps[a][b]["pictures"]
      if not pictures:
        continue
      whole = ((x, y) for x, y in ((a, b), (b, a)) if overlaps[x][y] == overlaps[x][x])
      within = next((f"{x} within {y}" for x, y in whole), None)
      configured = (a == train and b in tests) or (b == train and a in tests)
      roles = {_role(a, train, tests), _role(b, train, tests)}
      mixed = roles == {"train", "test"}
      both = {a: names[a][b], b: names[b][a]}
      if faces and within and not configured:
        designed.append(within)
      elif faces and (configured or mixed):
        findings.append(
          Finding(
            "error",
            f"{a} and {b} share {_count(faces, 'face')}",
            "A network that has seen the test's faces in training looks better than it is.",
            f"Take these faces out of {train if configured else 'one of the splits'}, or evaluate on another split.",
            both,
          )
        )
      elif faces:
        findings.append(
          Finding(
            "warning",
            f"{a} and {b} share {_count(faces, 'face')}",
            "They overlap without one being part of the other.",
            "Train on one and evaluate on the other only without these faces.",
            both,
          )
        )
      elif mixed:
        findings.append(
          Finding(
            "warning",
            f"{a} and {b} share {_count(pictures, 'picture')}, but no face",
            "Different people in the same photograph: light, blur and background are known from training.",
            "Know it when you compare numbers; most published protocols have it too.",
            both,
          )
        )
  if designed:
    findings.append(
      Finding(
        "note",
        "Splits that are parts of others",
        f"{'; '.join(designed)}. Such unions are made by design.",
        "Never train on one and evaluate on the other.",
      )
    )
  return findings


def of_crop(
  percents: Mapping[str, Mapping[str, float]], rule: CropRule, band: int
) -> list[Finding]:
  """Findings about where the config's crops put the landmarks.

  Args:
    percents: split -> `band` and `outside`, shares of its annotated landmarks in percent.
    rule: the config's.
    band: width of the border band, heatmap px.
  """
  findings = []
  listed = {
    kind: "; ".join(f"{split} {share[kind]:.2f} %" for split, share in percents.items())
    for kind in ("band", "outside")
  }
  if (worst := max(share["outside"] for share in percents.values())) > 0:
    findings.append(
      Finding(
        "warning" if worst > 0.5 else "note",
        "Landmarks outside the crop",
        f"{listed['outside']}. A heatmap cannot show them: the network must miss them.",
        f"Lower config.crop.face (now {rule.face:g} of {rule.size} px) or crop by another box.",
      )
    )
  if (worst := max(share["band"] for share in percents.values())) > 0:
    findings.append(
      Finding(
        "warning" if worst > 5 else "note",
        f"Landmarks within {band} heatmap px of the crop's border",
        f"{listed['band']}. The window that reads them is cut there, which pulls them inwards by up to 0.27 heatmap px.",
        f"Lower config.crop.face (now {rule.face:g} of {rule.size} px), or set --config.codec.decode=calibrated.",
      )
    )
  return findings


def of_metadata(metadata: Mapping[str, Any]) -> list[Finding]:
  """Findings that the builder made when the dataset was prepared: `missing`, `skipped`, `notes`."""
  findings = []
  if missing := metadata.get("missing"):
    findings.append(
      Finding(
        "warning",
        "The dataset is not complete",
        f"{'; '.join(missing)}. Its numbers are not those of the official splits.",
        "Fetch the rest and prepare it again, or say so beside every number.",
      )
    )
  if skipped := metadata.get("skipped"):
    findings.append(
      Finding(
        "warning",
        f"{_count(len(skipped), 'bad file')} left out when it was prepared",
        "; ".join(f"{file}: {why}" for file, why in list(skipped.items())[:10])
        + (" ..." if len(skipped) > 10 else "."),
        "Mend these files and prepare it again.",
      )
    )
  if notes := metadata.get("notes"):
    listed = "; ".join(
      f"{note}: {_count(len(files), 'file')}, e.g. {files[0]}" for note, files in notes.items()
    )
    findings.append(Finding("note", "Noted by the builder", f"{listed}.", "Nothing."))
  return findings


def _count(number: int, noun: str) -> str:
  return f"{number:,} {noun}{'s' * (number != 1)}"


def _role(split: str, train: str, tests: list[str]) -> str:
  """What a split is for: as the config has it, else as it is called."""
  if split == train or (split not in tests and split.startswith(("train", "fit"))):
    return "train"
  return "test" if split in tests or split.startswith("test") else "other"
