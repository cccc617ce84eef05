"""Archives are unpacked once, or refused if damaged or hostile; nothing leaves its folder."""

import gzip
import io
import os
import stat
import tarfile
import zipfile

import pytest

from fal_jax.errors import InputError
from tfds_builders.common import downloads
from tfds_builders.common.downloads import Archive, Downloads, unpack

PAGE = b"<!DOCTYPE html><html><body>Sign in</body></html>"


def zip_bytes(members, *, compression=zipfile.ZIP_DEFLATED) -> bytes:
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", compression) as archive:
    for name, content in members:
      archive.writestr(name, content)
  return file.getvalue()


def tar_bytes(members, *, mode="w:gz") -> bytes:
  """Members are (name, content) or ready TarInfos without content."""
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode=mode) as archive:
    for member in members:
      if isinstance(member, tarfile.TarInfo):
        archive.addfile(member)
      else:
        info = tarfile.TarInfo(member[0])
        info.size = len(member[1])
        archive.addfile(info, io.BytesIO(member[1]))
  return file.getvalue()


def tar_link(name, target, kind=tarfile.SYMTYPE) -> tarfile.TarInfo:
  info = tarfile.TarInfo(name)
  info.type, info.linkname = kind, target
  return info


def zip_link() -> bytes:
  info = zipfile.ZipInfo("faces/link")
  info.external_attr = (stat.S_IFLNK | 0o777) << 16
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w") as archive:
    archive.writestr(info, "/etc/passwd")
  return file.getvalue()


def encrypted_zip() -> bytes:
  data = bytearray(zip_bytes([("a.jpg", b"1234")]))
  for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
    data[data.index(signature) + offset] |= 1  # the flag that says so
  return bytes(data)


def lying_zip() -> bytes:
  """The table promises four bytes, the stream holds a million."""
  honest = bytearray(zip_bytes([("a.jpg", b"0" * 10**6)]))
  for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
    at = honest.index(signature) + offset
    honest[at : at + 4] = (4).to_bytes(4, "little")
  return bytes(honest)


MEMBERS = [
  ("faces/1.jpg", b"one"),
  ("faces/2.jpg", b"two"),
  ("__MACOSX/faces/._1.jpg", b"x"),
  ("faces/._2.jpg", b"x"),
]


@pytest.fixture
def root(tmp_path):
  (tmp_path / "manual").mkdir()
  return tmp_path


def unpacked(root, name, content, folder="") -> Downloads:
  (root / "manual" / name).write_bytes(content)
  return unpack([Archive(name, folder)], root / "manual", root / "unpacked")


def everything(root):
  return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize(
  ("name", "content"),
  [
    ("faces.zip", zip_bytes(MEMBERS)),
    ("faces.zip", zip_bytes(MEMBERS, compression=zipfile.ZIP_STORED)),
    ("faces.tar.gz", tar_bytes(MEMBERS)),
    ("faces.tar", tar_bytes(MEMBERS, mode="w")),
    ("faces.tar.xz", tar_bytes(MEMBERS, mode="w:xz")),
    ("faces.zip", tar_bytes(MEMBERS)),  # its name says nothing about what it is
  ],
)
def test_an_archive_is_unpacked_and_its_files_are_found(root, name, content):
  files = unpacked(root, name, content)
  assert files.find("faces/1.jpg").read_bytes() == b"one"
  assert files.find("faces/2.jpg").read_bytes() == b"two"
  assert files.name(files.find("faces/1.jpg")) == "faces/1.jpg"
  assert files.find("faces/3.jpg") is None
  assert [path for path in everything(root / "unpacked") if "._" in path or "MACOSX" in path] == []


def test_an_archive_in_parts_is_one_archive(root):
  content = zip_bytes([(f"{i}.bin", os.urandom(3000)) for i in range(5)])
  for part in range(4):
    (root / "manual" / f"300w.zip.00{part + 1}").write_bytes(
      content[part * 4000 : (part + 1) * 4000]
    )
  assert len(content) > 12_000

  files = unpack([Archive("300w.zip.001", "300W")], root / "manual", root / "unpacked")
  assert all(len(files.find(f"300W/{i}.bin").read_bytes()) == 3000 for i in range(5))


def test_loose_content_and_doubled_folders_end_up_where_they_belong(root):
  assert (
    unpacked(root, "afw.zip", zip_bytes([("1.jpg", b"1")]), "afw").find("afw/1.jpg") is not None
  )
  doubled = unpacked(root, "lfpw.zip", zip_bytes([("lfpw/trainset/1.jpg", b"1")]), "lfpw")
  assert doubled.find("lfpw/trainset/1.jpg") is not None


def test_the_user_s_own_files_come_first_and_nothing_is_written_there(root):
  (root / "manual" / "faces").mkdir()
  (root / "manual" / "faces" / "1.jpg").write_bytes(b"mine")
  files = unpacked(root, "faces.zip", zip_bytes(MEMBERS))
  assert files.find("faces/1.jpg").read_bytes() == b"mine"
  assert everything(root / "manual") == ["faces.zip", "faces/1.jpg"]


def test_it_is_unpacked_once_until_it_changes(root):
  first = unpacked(root, "faces.zip", zip_bytes(MEMBERS)).find("faces/1.jpg")
  first.write_bytes(b"touched")

  assert (
    unpack([Archive("faces.zip")], root / "manual", root / "unpacked")
    .find("faces/1.jpg")
    .read_bytes()
    == b"touched"
  )

  again = unpacked(root, "faces.zip", zip_bytes([("faces/1.jpg", b"newer one")]))
  assert again.find("faces/1.jpg").read_bytes() == b"newer one"
  assert again.find("faces/2.jpg") is None


def test_what_was_cut_off_half_way_is_not_taken_for_complete(root):
  leftover = root / "unpacked" / "faces.zip.unfinished" / "faces"
  leftover.mkdir(parents=True)
  (leftover / "0.jpg").write_bytes(b"half")
  assert unpacked(root, "faces.zip", zip_bytes(MEMBERS)).find("faces/0.jpg") is None
  assert not leftover.exists()


def zeros() -> list[tuple[str, bytes]]:
  """One member, which packs into a thousandth of its size; that takes seconds."""
  return [("a.bin", bytes(300_000_000))]


HOSTILE = {
  "zip climbs out": (zip_bytes([("../../evil.txt", b"x")]), "leads out of the archive"),
  "zip climbs out further in": (
    zip_bytes([("faces/../../evil.txt", b"x")]),
    "leads out of the archive",
  ),
  "zip climbs out the Windows way": (
    zip_bytes([("..\\evil.txt", b"x")]),
    "leads out of the archive",
  ),
  "zip is absolute": (zip_bytes([("/tmp/evil.txt", b"x")]), "leads out of the archive"),
  "zip names a drive": (zip_bytes([("C:/evil.txt", b"x")]), "leads out of the archive"),
  "zip links": (zip_link(), "symbolic link"),
  "zip twice": (zip_bytes([("a.jpg", b"1"), ("./a.jpg", b"2")]), "twice"),
  "zip bomb": (lambda: zip_bytes(zeros()), "far more than its size allows"),
  "zip lies about a size": (lying_zip(), "damaged|larger than the archive says"),
  "zip with a password": (encrypted_zip(), "password"),
  "zip truncated": (zip_bytes([("a.bin", os.urandom(9000))])[:5000], "truncated or damaged"),
  "zip with a flipped bit": (
    zip_bytes([("a.bin", b"0123456789" * 99)], compression=zipfile.ZIP_STORED).replace(
      b"78901", b"78801", 1
    ),
    "truncated or damaged",
  ),
  "tar climbs out": (tar_bytes([("../evil.txt", b"x")]), "leads out of the archive"),
  "tar is absolute": (tar_bytes([("/tmp/evil.txt", b"x")]), "leads out of the archive"),
  "tar links": (
    tar_bytes([tar_link("a", "/etc/passwd"), ("a/evil.txt", b"x")]),
    "a link or a device",
  ),
  "tar links hard": (
    tar_bytes([tar_link("a", "../../evil.txt", tarfile.LNKTYPE)]),
    "a link or a device",
  ),
  "tar holds a pipe": (tar_bytes([tar_link("a", "", tarfile.FIFOTYPE)]), "a link or a device"),
  "tar holds a device": (tar_bytes([tar_link("a", "", tarfile.CHRTYPE)]), "a link or a device"),
  "tar bomb": (lambda: tar_bytes(zeros()), "far more than its size allows"),
  "tar truncated": (tar_bytes([("a.bin", os.urandom(9000))])[:5000], "truncated or damaged"),
  "tar with a wrong checksum": (
    gzip.compress(tar_bytes([("a.bin", b"1")], mode="w"))[:-6] + b"123456",
    "truncated or damaged",
  ),
  "empty": (b"", "empty"),
  "a login page": (PAGE, "web page"),
  "a RAR archive": (b"Rar!\x1a\x07\x00" + bytes(100), "RAR and 7z"),
  "text": (b"not an archive at all", "neither a zip nor a tar"),
  "zeros": (bytes(5000), "neither a zip nor a tar|truncated"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_damaged_or_hostile_archive_is_refused_by_name(root, kind):
  content, expected = HOSTILE[kind]
  with pytest.raises(InputError, match=expected) as raised:
    unpacked(root, "faces.zip", content() if callable(content) else content)
  assert "faces.zip" in str(raised.value) and "\n" not in str(raised.value)
  assert everything(root) == ["manual/faces.zip"], "nothing of it is left, inside or outside"


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(root, monkeypatch):
  monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 2})())
  with pytest.raises(InputError, match="make room"):
    unpacked(root, "faces.zip", zip_bytes(MEMBERS))
  with pytest.raises(InputError, match="make room"):
    unpacked(root, "faces.tar.gz", tar_bytes(MEMBERS))


def test_a_name_in_an_annotation_file_cannot_leave_the_dataset(root):
  files = Downloads([root / "manual"])
  (root / "manual" / "out").symlink_to("/etc")

  assert (
    files.inside(root / "manual" / "a" / "b.jpg", named="line 1") == root / "manual" / "a" / "b.jpg"
  )

  for path in ("../evil.jpg", "a/../../evil.jpg", "out/passwd", "/etc/passwd"):
    with pytest.raises(InputError, match=r"list\.txt, line 3: .* is outside the dataset's folder"):
      files.inside(root / "manual" / path, named=f"list.txt, line 3: {path}")
