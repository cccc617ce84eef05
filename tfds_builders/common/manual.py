"""The builder of datasets that the user downloads: find everything, check every face, then write.

Nothing is written before every file has been looked at, so that one run reports all there is to
fix.
"""

import abc
import dataclasses
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from fal_jax.errors import InputError, counted
from tfds_builders.common.downloads import Archive, Downloads, unpack
from tfds_builders.common.hold_out import hold_out
from tfds_builders.common.origin import check_origin
from tfds_builders.common.schema import FaceDatasetBuilder, face_example
from tfds_builders.common.validate import Face, Finding, check_faces, listing


@dataclasses.dataclass
class Layout:
  """What a dataset's folder holds.

  Attributes:
    splits: the faces of each split; a face may be in several.
    missing: one line for everything that the official dataset has and this folder lacks.
    findings: what is wrong with single annotation files.
    witnesses: annotated faces that are not built, read for the sake of their first landmark.
  """

  splits: dict[str, list[Face]]
  missing: list[str] = dataclasses.field(default_factory=list)
  findings: list[Finding] = dataclasses.field(default_factory=list)
  witnesses: list[Face] = dataclasses.field(default_factory=list)

  @classmethod
  def empty(cls, splits: Iterable[str]) -> "Layout":
    """A layout with these splits and nothing in them."""
    return cls({name: [] for name in splits})

  def add(self, split: str, faces: Iterable[Face | None]) -> None:
    """Adds faces to a split; None, a bad face, is left out."""
    self.splits[split] += [face for face in faces if face]

  def add_train(self, faces: Sequence[Face | None]) -> None:
    """Adds faces to `train`, a tenth of them to `val` and the others to `fit`.

    Args:
      faces: in their official order, None in the place of a bad one, so that the hold-out of the
        others does not depend on it.
    """
    held_out, kept = hold_out(faces)
    self.add("train", faces)
    self.add("val", held_out)
    self.add("fit", kept)


class ManualFaceBuilder(FaceDatasetBuilder):
  """Builds a dataset from files below `manual_dir`.

  A dataset's own builder says which archives there are (`ARCHIVES`), what lies where in them
  (`layout`), how many faces each official split has (`OFFICIAL_COUNTS`) and which mark-up they have
  (`NUM_LANDMARKS`). The build adds to the metadata `partial` (bool), `missing` (one line per gap),
  `skipped` (file -> why), `warnings` and `notes` (what -> files), `official_counts`
  (split -> faces) and, where there are `FIRST_LANDMARKS`, `origin` (which of them confirmed it, or
  that none could).
  """

  # Whether NaN is the dataset's sign for "not annotated".
  MISSING_LANDMARKS: ClassVar[bool] = False
  # Those that are still packed in `manual_dir` are unpacked.
  ARCHIVES: ClassVar[tuple[Archive, ...]] = ()
  # First landmarks of some faces by the end of their file name, image px, pixel-centre: another
  # version or convention of the files shows there, see `common/origin.py`.
  FIRST_LANDMARKS: ClassVar[Mapping[str, tuple[float, float]]] = {}
  # Whether they are taken from others' copies: one face that agrees is enough then.
  FIRST_LANDMARKS_SECOND_HAND: ClassVar[bool] = False
  # (width, height) of the images of those whose crops and resized copies are tolerated.
  FIRST_LANDMARK_SIZES: ClassVar[Mapping[str, tuple[int, int]]] = {}

  def __init__(self, *, allow_partial: bool = False, skip_bad: bool = False, **kwargs: Any):
    """See `FaceDatasetBuilder`.

    Args:
      allow_partial: build what is there although the official dataset has more.
      skip_bad: leave faces with errors out and list them in the metadata instead of refusing to
        build.
      **kwargs: `data_dir` and whatever else TFDS takes.
    """
    self.allow_partial = allow_partial
    self.skip_bad = skip_bad
    super().__init__(**kwargs)

  @classmethod
  def config_from_folder(cls, manual_dir: Path) -> tfds.core.BuilderConfig | None:
    """The configuration that the user's folder describes.

    Args:
      manual_dir: the folder.

    Returns:
      The configuration; None for published datasets, which describe nothing there.

    Raises:
      InputError: the description is missing or wrong.
    """
    del manual_dir
    return None

  @abc.abstractmethod
  def layout(self, downloads: Downloads) -> Layout:
    """Looks through the downloaded files.

    It does not raise for what is missing or wrong in them, but lists it.
    """

  @property
  def unpack_dir(self) -> Path:
    """Where archives are unpacked: beside the dataset, so that a second try finds them."""
    return Path(self.data_path).parent / "unpacked"

  def plan(self, manual_dir: Path, *, unpack_dir: Path | None = None) -> dict[str, list[Face]]:
    """Finds and checks everything.

    Args:
      manual_dir: folder with the downloaded files, archives or unpacked.
      unpack_dir: where archives are unpacked, by default `self.unpack_dir`; needed until the
        dataset is written.

    Returns:
      The faces of each split that has any. `self.info.metadata` then says what is missing, skipped
      or noteworthy.

    Raises:
      InputError: files are missing and `allow_partial` is off, or faces are bad and `skip_bad` is
        off: lists all of them.
    """
    layout = self.layout(unpack(self.ARCHIVES, manual_dir, unpack_dir or self.unpack_dir))
    self._check_complete(layout, manual_dir)

    # A face of several splits is checked once.
    faces = list({id(face): face for split in layout.splits.values() for face in split}.values())
    checked = check_faces(
      faces,
      title=f"Checking {self.name}",
      missing_allowed=self.MISSING_LANDMARKS,
    )
    findings = layout.findings + self._check_origin(faces, layout.witnesses, checked)
    findings += [finding for of_face in checked for finding in of_face]
    errors = _errors(findings)
    if errors and not self.skip_bad:
      problems = counted(len(errors), "problem")
      raise InputError(
        f"{self.name}: {problems} below {manual_dir}; "
        f"fix these files, or leave them out with --skip_bad.\n{listing(errors)}"
      )

    bad = {id(face) for face, of_face in zip(faces, checked, strict=True) if _errors(of_face)}
    splits = {
      name: [face for face in split if id(face) not in bad] for name, split in layout.splits.items()
    }
    for name, split in splits.items():
      if layout.splits[name] and not split:
        raise InputError(
          f"{self.name}: every face of the split {name!r} is bad.\n{listing(errors)}"
        )
    if not any(splits.values()):
      raise InputError(f"{self.name}: every face below {manual_dir} is bad.\n{listing(errors)}")

    self._note(layout.missing, findings)
    return {name: split for name, split in splits.items() if split}

  def _check_complete(self, layout: Layout, manual_dir: Path) -> None:
    """Refuses an empty or incomplete folder."""
    how_to_get = textwrap.dedent(self.MANUAL_DOWNLOAD_INSTRUCTIONS).strip()
    sizes = [f"{archive.name} ({archive.size})" for archive in self.ARCHIVES if archive.size]
    if sizes:
      how_to_get += f"\nOfficial sizes: {', '.join(sizes)}."
    missing = "\n".join(f"  {line}" for line in layout.missing)

    if not any(layout.splits.values()) and not _errors(layout.findings):
      raise InputError(
        f"{self.name}: none of its files were found below {manual_dir}.\n{missing}\n{how_to_get}"
      )

    if layout.missing and not self.allow_partial:
      raise InputError(
        f"{self.name} is not complete below {manual_dir}; "
        "fetch what is missing, or build the rest with --allow_partial.\n"
        f"{missing}\n{how_to_get}"
      )

  def _check_origin(
    self, faces: Sequence[Face], witnesses: Sequence[Face], checked: Sequence[list[Finding]]
  ) -> list[Finding]:
    """Compares known first landmarks and notes in the metadata what they say.

    Args:
      faces: those that are built.
      witnesses: those that are not.
      checked: findings of each of `faces`; what contradicts is added.

    Returns:
      What contradicts among the witnesses.
    """
    if not self.FIRST_LANDMARKS:
      return []
    origin = check_origin(
      [*faces, *witnesses], self.FIRST_LANDMARKS, sizes=self.FIRST_LANDMARK_SIZES
    )
    self.info.metadata["origin"] = str(origin)

    tolerated = self.FIRST_LANDMARKS_SECOND_HAND and origin.confirmed
    of_witnesses: list[Finding] = []
    for index, finding in origin.differing.items():
      if tolerated:
        finding = dataclasses.replace(finding, severity="note")
      (checked[index] if index < len(faces) else of_witnesses).append(finding)
    return of_witnesses

  def _note(self, missing: Sequence[str], findings: Sequence[Finding]) -> None:
    """Writes into the metadata what is missing, skipped or noteworthy."""

    def by_message(severity: str) -> dict[str, list[str]]:
      files: dict[str, list[str]] = {}
      for finding in sorted(findings):
        if finding.severity == severity:
          files.setdefault(finding.message, []).append(finding.file)
      return files

    self.info.metadata.update(
      partial=bool(missing),
      missing=missing,
      skipped={finding.file: finding.message for finding in sorted(_errors(findings))},
      warnings=by_message("warning"),
      notes=by_message("note"),
      # Whoever opens the prepared dataset later, `doctor` for one, has no builder class to ask.
      official_counts=dict(self.OFFICIAL_COUNTS),
    )

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator[tuple[str, Mapping[str, Any]]]]:
    splits = self.plan(Path(dl_manager.manual_dir))
    return {name: self._generate_examples(faces) for name, faces in splits.items()}

  def _generate_examples(self, faces: Sequence[Face]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for face in faces:
      example = face_example(
        image=face.image.read_bytes(),
        landmarks=face.landmarks,
        file_name=face.file_name,
        **face.extra,
      )
      yield f"{face.file_name}#{example['face_index']}", example


def _errors(findings: Sequence[Finding]) -> list[Finding]:
  return [finding for finding in findings if finding.severity == "error"]
