"""What a file is that lies under an image's name and is none."""

# Files that are often found under an image's name: (what they contain near their start, what to
# tell the user).
_LOOKALIKES = (
  ((b"<!doctype html", b"<html"), "looks like HTML (a login or error page?), download it again"),
  (
    (b"version https://git-lfs",),
    "looks like a Git LFS pointer, fetch the file itself with `git lfs pull`",
  ),
  (
    (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1"),
    "looks like HEIC (a phone's photograph?), convert it to JPEG",
  ),
  ((b"ftyp", b"avi list", b"\x1a\x45\xdf\xa3"), "looks like a video, extract its frames first"),
  ((b"<svg",), "looks like SVG, export it as PNG"),
  ((b"%!ps", b"%pdf"), "looks like PostScript or PDF, export it as PNG"),
  ((b"pk\x03\x04", b"\x1f\x8b", b"rar!", b"7z\xbc\xaf"), "looks like an archive, unpack it first"),
  ((b"\x93numpy",), "looks like a NumPy file, give its array instead"),
)


def likely_cause(data: bytes) -> str:
  """Says what a file that no decoder recognises most likely is.

  Args:
    data: its bytes.

  Returns:
    The end of a sentence, with what to do.
  """
  if not data:
    return "the file is empty (an interrupted download?), download it again"

  signatures = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")
  if data.startswith(signatures) or data[8:12] in (b"WEBP", b"avif"):
    return "it has an image signature but its header is truncated or damaged, download it again"

  start = data[:512].lower()
  for signs, cause in _LOOKALIKES:
    if any(sign in start for sign in signs):
      return cause

  return f"it starts with {data[:8]!r}, and JPEG, PNG, WebP, BMP, GIF and TIFF files do not"
