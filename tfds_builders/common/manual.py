"""The builder class of datasets that the user downloads: find everything, check every face, then
write.

Nothing is written before every file has been looked at, so that one run reports all there is to
mend.
"""

import abc
import dataclasses
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from fal_jax.errors import InputError
from tfds_builders.common.downloads import Archive, Downloads, unpack
from tfds_builders.common.schema import FaceDatasetBuilder, face_example
from tfds_builders.common.validate import Face, Finding, check_faces, listing


@dataclasses.dataclass
class Layout:
  """What a dataset's folder holds.

  Attributes:
    splits: the faces of each split; a face may be in several.
    missing: one line for everything that the official dataset has and this folder has not.
    findings: what is wrong with single annotation files.
  """

  splits: dict[str, list[Face]]
  missing: list[str]
  findings: list[Finding]


class ManualFaceBuilder(FaceDatasetBuilder):
  """Builds a dataset from files below `manual_dir`.

  A dataset's own builder says which archives there are (`ARCHIVES`), what lies where in them
  (`layout`), how many faces each official split has (`OFFICIAL_COUNTS`), and in `_info` the
  mark-up: `metadata=tfds.core.MetadataDict(markup=K)`. The build adds to that metadata `partial`
  (bool), `missing` (a line each), `skipped` (file -> why), `notes` (what -> files) and
  `official_counts` (split -> faces).
  """

  MISSING_LANDMARKS: ClassVar[bool] = False  # whether NaN is the dataset's sign for "not annotated"
  ARCHIVES: ClassVar[
    tuple[Archive, ...]
  ] = ()  # those that lie in `manual_dir` untouched are unpacked
  # First landmarks of some faces by file name, image px, pixel-centre: another version or
  # convention of the files shows there.
  FIRST_LANDMARKS: ClassVar[Mapping[str, tuple[float, float]]] = {}

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
  def described_in(cls, manual_dir: Path) -> tfds.core.BuilderConfig | None:
    """The configuration that the user's folder describes; None for datasets that somebody else has
    made.

    Args:
      manual_dir: the folder.

    Raises:
      InputError: the description is missing or wrong.
    """
    del manual_dir
    return None

  @abc.abstractmethod
  def layout(self, downloads: Downloads) -> Layout:
    """Looks through the downloaded files; does not raise for what is missing or wrong in them, but
    lists it.
    """

  @property
  def unpack_dir(self) -> Path:
    """Where archives are unpacked while a dataset is built: beside it, so that a second try finds
    them.
    """
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
    how_to_get = textwrap.dedent(self.MANUAL_DOWNLOAD_INSTRUCTIONS).strip()
    sizes = ", ".join(
      f"{archive.name} ({archive.size})" for archive in self.ARCHIVES if archive.size
    )
    how_to_get += f"\nOfficial sizes: {sizes}." if sizes else ""
    if not any(layout.splits.values()) and not any(
      finding.severity == "error" for finding in layout.findings
    ):
      raise InputError(
        f"{self.name}: nothing of it lies below {manual_dir}.\n{_lines(layout.missing)}\n{how_to_get}"
      )
    if layout.missing and not self.allow_partial:
      raise InputError(
        f"{self.name} is not complete below {manual_dir}; fetch what is missing, or build the rest with --allow_partial.\n"
        f"{_lines(layout.missing)}\n{how_to_get}"
      )

    faces = list({id(face): face for split in layout.splits.values() for face in split}.values())
    checked = check_faces(
      faces,
      title=f"Checking {self.name}",
      missing_allowed=self.MISSING_LANDMARKS,
      first_landmarks=self.FIRST_LANDMARKS,
    )
    findings = layout.findings + [finding for of_face in checked for finding in of_face]
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors and not self.skip_bad:
      raise InputError(
        f"{self.name}: {len(errors)} problems below {manual_dir}; mend these files, or leave them out with --skip_bad.\n"
        + listing(errors)
      )

    good = {
      id(face)
      for face, found in zip(faces, checked, strict=True)
      if all(x.severity == "note" for x in found)
    }
    splits = {
      name: [face for face in split if id(face) in good] for name, split in layout.splits.items()
    }
    for name, split in splits.items():
      if layout.splits[name] and not split:
        raise InputError(
          f"{self.name}: every face of the split {name!r} is bad.\n{listing(errors)}"
        )
    if not any(splits.values()):
      raise InputError(f"{self.name}: every face below {manual_dir} is bad.\n{listing(errors)}")
    notes: dict[str, list[str]] = {}
    for finding in sorted(findings):
      if finding.severity == "note":
        notes.setdefault(finding.message, []).append(finding.file)
    skipped = {finding.file: finding.message for finding in sorted(errors)}
    # Whoever opens the prepared dataset later, `doctor` for one, has no builder class to ask.
    official = dict(self.OFFICIAL_COUNTS)
    self.info.metadata.update(
      partial=bool(layout.missing),
      missing=layout.missing,
      skipped=skipped,
      notes=notes,
      official_counts=official,
    )
    return {name: split for name, split in splits.items() if split}

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


def _lines(lines: Sequence[str]) -> str:
  return "\n".join(f"  {line}" for line in lines)
