"""What a file from outside may ask for: all limits of all readers in one place, with their reasons.

A reader applies a limit before it spends the memory or the time. What a file of honest size and
kind needs lies well below each of them.
"""

from pathlib import Path

from fal_jax.errors import InputError

# ---- Anything that is compressed

# More than photographs, landmarks and archives of them are compressed by; deflate reaches 1,000,
# other formats any ratio.
MAX_RATIO = 200
# Below it no ratio is looked at: a drawing of 21 megapixels in one colour does no harm.
FREE_BYTES = 2**26

# ---- Images

MAX_PIXELS = 64_000_000  # what cameras have, telephones' highest settings apart
# Telephones with 200 megapixels write 16320 x 12240, as JPEG: 600 MB when decoded.
MAX_JPEG_PIXELS = 201_000_000
# While an image is decoded: four bytes for each of `MAX_PIXELS`. 16 bits per channel need up to
# eight, so of these half the pixels are read.
MAX_DECODED_BYTES = 4 * MAX_PIXELS
# Each scan of a progressive JPEG file goes over all pixels, and an empty one takes a dozen bytes.
# Encoders write ten scans.
MAX_JPEG_WORK = 10 * MAX_JPEG_PIXELS  # scans x pixels
# Larger ones are decoded in the process of `isolated`, whatever their format.
MAX_ORDINARY_BYTES = 2**26

# ---- What `isolated` reads: each file

ISOLATED_BYTES = 3 * 2**28  # memory beyond the libraries' own: with them and the answer about 1 GB
ISOLATED_SECONDS = 5  # of computing; what takes longest, AFLW's list of 24,386 faces, takes one
# Of waiting: a disk may sleep, and other processes may have all cores.
ISOLATED_WAIT_SECONDS = 120
MAX_ANSWER_BYTES = 2**30  # arrays
MAX_ANSWER_TEXT = 2**26  # bytes of names and numbers beside them

# ---- Text

MAX_TEXT_BYTES = 2**28  # lists and tables: a million faces of 40 landmarks
MAX_YAML_BYTES = 50_000  # a mark-up of 1,000 named landmarks; PyYAML reads 30 kB a second
MAX_YAML_DEPTH = 20
MAX_JSON_BYTES = 2**29  # COCO's largest file has half of that
# COCO's largest file again; each takes up to 64 bytes of memory.
MAX_JSON_TOKENS = 60_000_000
MAX_JSON_DEPTH = 100  # COCO's segmentations have 6
MAX_XML_BYTES = 2**28  # 60,000 faces of 68 parts each
MAX_XML_DEPTH = 20
MAX_LABEL_BYTES = 2**24  # YOLO: the faces of one image
MAX_PTS_BYTES = 2**20  # one face; 1,000 landmarks take 30 kB

MAX_TORCH_OUTLINE = 2**20  # names and shapes of a .pth file; four stacks take a fifth of it

# ---- Landmarks

MAX_LANDMARKS = 1000  # of a mark-up: a mistyped number would otherwise exhaust the memory
MAX_LANDMARK_BYTES = 2**30  # in memory, as float64: a million faces of 68 landmarks
MAX_COORDINATE = 1e7  # px; larger than any image, and smaller than infinity
MAX_COUNT = 1e9  # of anything that is read as a whole number

# ---- Archives

MAX_ARCHIVE_BYTES = 200 * 10**9  # more than any face dataset unpacks to
MAX_ARCHIVE_MEMBERS = 2_000_000  # 300W-LP has a quarter of a million files
MAX_ARCHIVE_HEADER = 2**20  # bytes of a tar member's name and attributes
MAX_ARCHIVE_FREE_BYTES = 10**8  # as FREE_BYTES, on disk

# ---- Messages

MAX_SHOWN = 60  # characters of a word or value of a file; `errors.cut`
MAX_MESSAGE = 1000  # of what a library says, and of a sentence that another process gives us


def check_size(path: Path, max_bytes: int, *, what: str) -> None:
  """Refuses a file that is too large, before any memory is spent.

  Args:
    path: the file.
    max_bytes: the largest that is read.
    what: what it should be, such as "a list of boxes", for the sentence.

  Raises:
    InputError: it is larger.
    OSError: its size cannot be known; nor can the file be read.
  """
  size = path.stat().st_size
  if size > max_bytes:
    raise InputError(
      f"{path} has {size:,} bytes, more than the {max_bytes:,} of {what}: "
      "is it one? Split it if so."
    )


def check_ratio(unpacked: int, packed: int, *, what: str) -> None:
  """Refuses what unpacks to more than anything honest does.

  Args:
    unpacked: bytes in memory.
    packed: bytes of the file.
    what: the file, and what it holds, for the sentence.

  Raises:
    InputError: it does.
  """
  if unpacked > FREE_BYTES + MAX_RATIO * packed:
    raise InputError(
      f"{what} would unpack from {packed:,} bytes to {unpacked:,}, more than {MAX_RATIO} times as "
      "many, which no photograph and no landmarks do: it is not read."
    )
