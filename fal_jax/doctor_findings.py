"""What `doctor` has to say about a dataset, in plain words: what was found, what it means, what to do."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from fal_jax import dataset_stats, metrics, procrustes
from fal_jax.crop import CropRule
from fal_jax.dataset_stats import Split
from fal_jax.landmarks import Markup

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
_SWAPPED = 0.75  # of the distance to the mean shape, once left and right change places; of 3,162 genuine test faces none is below 1.8
_SMALL_NORM = 0.2  # of the face's size, sqrt(width * height)
_ELSEWHERE = 0.2  # intersection over union of the dataset's box and the landmarks' box
_ASYMMETRY = 3.0  # percent; 300W, WFLW and COFW have 0.6 to 0.8


@dataclasses.dataclass(frozen=True)
class Finding:
  """One thing to know about a dataset.

  Attributes:
    severity: "error" spoils training or its numbers; "warning" should be looked at; "note" is good to know.
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


# flag -> severity, title, meaning, remedy; the order is that of the page among findings of one severity.
_OF_FACES: dict[str, tuple[Severity, str, str, str]] = {
    "unreadable": (
        "error", "Images whose header cannot be read", "Training stops when it reaches one of them.",
        "Fetch these files again and prepare the dataset anew; --skip_bad leaves them out.",
    ),
    "empty": (
        "error", "Faces without a single landmark", "There is nothing to learn from them, and no box to crop them by.",
        "Leave them out of the dataset.",
    ),
    "no_extent": (
        "error", "Faces without extent: all landmarks within a pixel", "They cannot be cropped, and every normaliser is zero.",
        "Mend these annotations or leave them out; landmarks from 0 to 1 must be multiplied by the image's size when they are read.",
    ),
    "swapped": (
        "error", "Left and right exchanged in single faces",
        "These faces fit the mean shape far better once left and right landmarks change places: they are mirrored without the "
        "permutation, or labelled the other way round. The network is taught contradictions.",
        "Look at them below; apply the mark-up's flip permutation to their landmarks.",
    ),
    "far_outside": (
        "error", "Landmarks further outside the image than the face is large",
        "They most likely belong to another image, to another size of it, or have x and y exchanged.",
        "Compare the annotation file with the image.",
    ),
    "box_degenerate": (
        "error", "Dataset boxes that are inverted or have no area", "No crop can be made from them.",
        "If they are (x, y, width, height), convert them to corners where they are read; else set --config.data.box=landmarks.",
    ),
    "no_crop": (
        "error", "Faces that the config's crop rule cannot crop", "Their box is missing or degenerate: training stops at them.",
        "Set --config.data.box=landmarks, or leave them out.",
    ),
    "repeated": (
        "warning", "The same face twice in one split", "It counts double in training and in means.",
        "Keep one of each.",
    ),
    "renamed": (
        "warning", "The same picture under several names", "Two annotations of one picture may contradict each other.",
        "Look at them; where they show the same face, keep the better annotation.",
    ),
    "box_elsewhere": (
        "warning", f"Dataset boxes that hardly meet the landmarks (intersection over union below {_ELSEWHERE:g})",
        "Such a box shows another face, or none; a network that is cropped by it cannot find the landmarks.",
        "Compare the box with the image; check the order (x0, y0, x1, y1) where it is read.",
    ),
    "small_norm": (
        "warning", f"Normalisers below {metrics.MIN_NORM:g} px or below {_SMALL_NORM:.0%} of the face's size",
        "An error of a pixel is a huge percentage of these: such faces dominate mean errors by eye distance. They are mostly profiles.",
        "Report a box normaliser (nme_box) beside nme_ic and nme_ip, or evaluate profiles on their own.",
    ),
    "odd": (
        "warning", "Faces unlike all others", "Their landmarks are six robust standard deviations further from the mean shape than "
        "usual: often a wrong annotation, sometimes an extreme pose.",
        "Look at them below.",
    ),
    "tiny": (
        "note", "Faces that the crop enlarges more than eight times", "They are blurred in the network's input.",
        "Expect larger errors on them.",
    ),
    "box_missing": (
        "note", "Faces without a box of the dataset's own", "Only --config.data.box=landmarks can crop them.",
        "Nothing, unless you want to crop by the dataset's boxes.",
    ),
    "outside": (
        "note", "Landmarks outside their image", "Annotators follow a face across the border. Such landmarks are trained and "
        "evaluated like all others; the crop is black there.", "Nothing.",
    ),
    "missing": (
        "note", "Landmarks that are not annotated", "They are left out of the loss and of all errors.", "Nothing.",
    ),
    "occluded": ("note", "Landmarks annotated as hidden", "They are trained and evaluated like visible ones.", "Nothing."),
    "not_rgb": ("note", "Images that are not RGB", "They are converted when they are read; grey stays grey.", "Nothing."),
    "turned": (
        "note", "Images with an EXIF orientation", "It is ignored: annotations belong to the stored pixels.",
        "If landmarks lie beside their faces below, they were made on the turned picture: turn the files and annotate anew.",
    ),
}  # fmt: skip


def flags(split: Split, *, mean: np.ndarray, markup: Markup, rule: CropRule, depth: np.ndarray) -> dict[str, np.ndarray]:
  """Which faces have which peculiarity.

  Args:
    split: the faces.
    mean: (K, 2), mean shape of the dataset.
    markup: the mark-up.
    rule: the config's crop rule.
    depth: (N, K) px of landmarks from the heatmap's border, NaN where unknown.

  Returns:
    flag -> (N,) bool, for each finding that is about faces.
  """
  known = np.isfinite(split.landmarks).all(-1)
  tight = dataset_stats.landmark_boxes(split.landmarks)
  width, height = (tight[:, 2:] - tight[:, :2]).T
  beyond = np.nan_to_num(dataset_stats.beyond_image(split.landmarks, split.sizes), nan=-np.inf).max(1, initial=-np.inf)
  given, sides = np.isfinite(split.boxes).all(-1), split.boxes[:, 2:] - split.boxes[:, :2]
  distance, exchanged = shape_distances(split, mean, markup)
  norms = metrics.norms(split.landmarks, markup)
  size = np.sqrt(width * height)
  extent = known.any(1) & ~(np.minimum(width, height) < 1)
  small = [norm < np.maximum(metrics.MIN_NORM, _SMALL_NORM * size) for name, norm in norms.items() if name in ("ic", "ip")]
  return {
      "unreadable": (split.sizes == 0).any(1),
      "empty": ~known.any(1),
      "no_extent": known.any(1) & ~extent,
      "swapped": exchanged < _SWAPPED * distance,
      "far_outside": extent & (beyond > np.maximum(width, height)),
      "box_degenerate": given & (sides <= 0).any(-1),
      "no_crop": known.any(1) & extent & np.isnan(depth).all(1),
      "repeated": dataset_stats.repeated_faces(split),
      "renamed": dataset_stats.renamed_pictures(split),
      "box_elsewhere": given & (dataset_stats.box_iou(split.boxes, tight) < _ELSEWHERE),
      "small_norm": extent & np.logical_or.reduce(small),
      "odd": dataset_stats.outliers(distance),
      "tiny": extent & (np.maximum(width, height) < rule.face / 8),
      "box_missing": ~given,
      "outside": extent & (beyond > 0) & (beyond <= np.maximum(width, height)),
      "missing": known.any(1) & ~known.all(1),
      "occluded": (known & ~split.visible).any(1),
      "not_rgb": np.array([mode not in ("RGB", "") for mode in split.modes]),
      "turned": split.orientations != 1,
  }


def shape_distances(split: Split, mean: np.ndarray, markup: Markup) -> tuple[np.ndarray, np.ndarray]:
  """Distances of (N, K, 2) landmarks to the mean shape as they are, and with left and right exchanged; (N,) each, see `procrustes`."""
  alike = sides_alike(markup)
  as_is = procrustes.distances(split.landmarks, mean, mirrored_alike=alike)
  return as_is, as_is if alike else procrustes.distances(split.landmarks[:, markup.flip], mean)


def sides_alike(markup: Markup) -> bool:
  """Whether a mirror leaves every landmark its number, as in profiles."""
  return bool((markup.flip == np.arange(markup.num)).all())


def sides(mean: np.ndarray, markup: Markup) -> Literal["right", "exchanged"] | None:
  """Whether landmarks named right_ lie where a person's right is; however the shape is turned, only a mirror exchanges them.

  Args:
    mean: (K, 2) mean shape.
    markup: the mark-up; its names tell sides, and what is up and down.

  Returns:
    None where the names do not tell.
  """

  def centre(*words: str) -> np.ndarray:
    rows = [k for k, name in enumerate(markup.names) if any(word in name for word in words) and np.isfinite(mean[k]).all()]
    return mean[rows].mean(0) if rows else np.full(2, np.nan)

  across, down = centre("left_") - centre("right_"), centre("mouth", "lip", "chin") - centre("eye", "brow", "pupil")
  turn = across[0] * down[1] - across[1] * down[0]
  if not abs(turn) > 0.05:  # of the shape's size squared: a face turned to the side tells nothing
    return None
  return "right" if turn > 0 else "exchanged"


def of_config(wanted: list[str], splits: list[str]) -> list[Finding]:
  """Findings about splits that the config names and the dataset does not have."""
  if not (absent := [name for name in dict.fromkeys(wanted) if name not in splits]):
    return []
  return [Finding(
      "error", f"The config names splits that are not there: {', '.join(absent)}",
      f"The dataset has {', '.join(splits)}; training or evaluation would stop at once.",
      "Set --config.data.train_split and --config.eval.splits, or prepare the missing part.",
  )]  # fmt: skip


def of_faces(names: Mapping[str, list[str]], found: Mapping[str, Mapping[str, np.ndarray]]) -> list[Finding]:
  """Findings about single faces.

  Args:
    names: split -> N names.
    found: split -> flag -> (N,) bool.
  """
  findings = []
  for flag, (severity, title, meaning, remedy) in _OF_FACES.items():
    faces = {split: [names[split][row] for row in np.flatnonzero(mask[flag])] for split, mask in found.items()}
    if faces := {split: ids for split, ids in faces.items() if ids}:
      findings.append(Finding(severity, title, meaning, remedy, faces))
  return findings


def of_shape(shape: Mapping[str, Any], markup: Markup) -> list[Finding]:
  """Findings about the mean shape.

  Args:
    shape: `sides`, `asymmetry_percent`, `unit` and `better_partners`, see `doctor.describe_shape`.
    markup: the mark-up.
  """
  findings = []
  if shape["sides"] == "exchanged":
    findings.append(Finding(
        "error", "Left and right are exchanged in the whole dataset",
        "On the mean face the landmarks named right_ lie on the person's left. Either all images or coordinates are mirrored, x and y "
        "are exchanged, or the mark-up's names are the wrong way round; the mirror of training still works, names and drawings lie.",
        "Check the reader's order of x and y first, then the mark-up's names.",
    ))  # fmt: skip
  if partners := shape["better_partners"]:
    listed = ", ".join(f"{k} ({markup.names[k]}) looks like the mirror of {p}, not of {markup.flip[k]}" for k, p in partners[:8])
    findings.append(Finding(
        "error", f"The flip permutation does not fit the mean shape at {len(partners)} landmarks",
        f"In the mean face, {listed}{' ...' if len(partners) > 8 else ''}. Mirrored views are taught wrong labels.",
        "Check the names of these landmarks in the mark-up: the prefixes left_ and right_ make the permutation.",
    ))  # fmt: skip
  elif (percent := shape["asymmetry_percent"]) is not None and percent > _ASYMMETRY:
    findings.append(Finding(
        "warning", f"The mean face is not symmetric: {percent:.1f} % of {shape['unit']}",
        f"It disagrees with its mirror image by more than the {_ASYMMETRY:g} % that any face dataset should stay below: most faces "
        "look to one side, one side is annotated differently, or a convention is wrong.",
        "Look at the drawing of the mean face: rings are its mirror image.",
    ))  # fmt: skip
  return findings


def of_overlaps(overlaps: Mapping[str, Mapping[str, Mapping[str, int]]], train: str, tests: list[str]) -> list[Finding]:
  """Findings about pictures that are in several splits.

  Args:
    overlaps: split -> other split -> `pictures` and `faces` of the first that are in the other; the diagonal gives all of them.
    train: the config's training split.
    tests: the config's evaluation splits.
  """
  findings, designed = [], []
  splits = list(overlaps)
  for place, a in enumerate(splits):
    for b in splits[place + 1 :]:
      faces, pictures = overlaps[a][b]["faces"], overlaps[a][b]["pictures"]
      if not pictures:
        continue
      within = next((f"{x} within {y}" for x, y in ((a, b), (b, a)) if overlaps[x][y]["faces"] == overlaps[x][x]["faces"]), None)
      configured = (a == train and b in tests) or (b == train and a in tests)
      roles = {_role(a, train, tests), _role(b, train, tests)}
      mixed = roles == {"train", "test"}
      if faces and within and not configured:
        designed.append(within)
      elif faces and (configured or mixed):
        findings.append(Finding(
            "error", f"{a} and {b} share {faces:,} faces",
            "A network that has seen the test's faces in training looks better than it is.",
            f"Take these faces out of {train if configured else 'one of the splits'}, or evaluate on another split.",
        ))  # fmt: skip
      elif faces:
        findings.append(Finding(
            "warning", f"{a} and {b} share {faces:,} faces", "They overlap without one being part of the other.",
            "Train on one and evaluate on the other only without these faces.",
        ))  # fmt: skip
      elif mixed:
        findings.append(Finding(
            "warning", f"{a} and {b} share {pictures:,} pictures, but no face",
            "Different people in the same photograph: light, blur and background are known from training.",
            "Know it when you compare numbers; most published protocols have it too.",
        ))  # fmt: skip
  if designed:
    findings.append(Finding(
        "note", "Splits that are parts of others", f"{'; '.join(designed)}. Such unions are made by design.",
        "Never train on one and evaluate on the other.",
    ))  # fmt: skip
  return findings


def of_crop(percents: Mapping[str, Mapping[str, float]], rule: CropRule, band: int) -> list[Finding]:
  """Findings about where the config's crops put the landmarks.

  Args:
    percents: split -> `band` and `outside`, shares of its annotated landmarks in percent.
    rule: the config's.
    band: width of the border band, heatmap px.
  """
  findings = []
  listed = {kind: "; ".join(f"{split} {share[kind]:.2f} %" for split, share in percents.items()) for kind in ("band", "outside")}
  if (worst := max(share["outside"] for share in percents.values())) > 0:
    findings.append(Finding(
        "warning" if worst > 0.5 else "note", "Landmarks outside the crop", f"{listed['outside']}. A heatmap cannot show them: the "
        "network must miss them.", f"Lower config.crop.face (now {rule.face:g} of {rule.size} px) or crop by another box.",
    ))  # fmt: skip
  if (worst := max(share["band"] for share in percents.values())) > 0:
    findings.append(Finding(
        "warning" if worst > 5 else "note", f"Landmarks within {band} heatmap px of the crop's border", f"{listed['band']}. The window "
        "that reads them is cut there, which pulls them inwards by up to a quarter of a heatmap px.",
        f"Lower config.crop.face (now {rule.face:g} of {rule.size} px), or set --config.codec.decode=calibrated.",
    ))  # fmt: skip
  return findings


def of_metadata(metadata: Mapping[str, Any]) -> list[Finding]:
  """Findings that the builder made when the dataset was prepared: `missing`, `skipped`, `notes`."""
  findings = []
  if missing := metadata.get("missing"):
    findings.append(Finding(
        "warning", "The dataset is not complete", f"{'; '.join(missing)}. Its numbers are not those of the official splits.",
        "Fetch the rest and prepare it again, or say so beside every number.",
    ))  # fmt: skip
  if skipped := metadata.get("skipped"):
    findings.append(Finding(
        "warning", f"{len(skipped):,} bad files were left out when it was prepared",
        "; ".join(f"{file}: {why}" for file, why in list(skipped.items())[:10]) + (" ..." if len(skipped) > 10 else "."),
        "Mend these files and prepare it again.",
    ))  # fmt: skip
  if notes := metadata.get("notes"):
    listed = "; ".join(f"{note}: {len(files):,} files, e.g. {files[0]}" for note, files in notes.items())
    findings.append(Finding("note", "Noted by the builder", f"{listed}.", "Nothing."))
  return findings


def _role(split: str, train: str, tests: list[str]) -> str:
  """What a split is for: as the config has it, else as it is called."""
  if split == train or (split not in tests and split.startswith(("train", "fit"))):
    return "train"
  return "test" if split in tests or split.startswith("test") else "other"
