"""Damage to files, and what a parser makes of it: a case is a function of its number alone."""

import contextlib
import dataclasses
import random
import re
import signal
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from fuzz_parsers import Parser

MAX_SECONDS = 5  # of computing in this process, for one case
MAX_MESSAGE = 1200  # characters of a sentence, without the path
MAX_WORD = 400  # a whole bad token is none

# What stands in no honest file, or in another place.
TOKENS = (
  *(
    b"\x00",
    b"\xff",
    b'"',
    b"'",
    b",",
    b"[",
    b"{",
    b"}",
    b"]",
    b"\n",
    b"-",
    b":",
    b"<",
    b"&",
    b"\\",
  ),
  *(b"NaN", b"Infinity", b"1e999", b"-1e-999", b"9" * 400, b"9" * 5000, b"1_000", b"0x10"),
  *(b"null", b"true", b'"a"', b"[]", b"{}", b"!!int ''", b"&a [*a]", b"<!DOCTYPE a>", b"../../a"),
  *("😀".encode(), "١٢".encode(), b"\xef\xbb\xbf", b"\xed\xa0\x80", "e\u0301".encode(), b"\r\n"),
  *(b"a" * 70_000, b"[" * 3000, b"- " * 500, b"PK\x03\x04", b"\x93NUMPY", b"\xff\xda"),
)
# One thing time and again: a reader that goes back over it for each takes hours.
ROWS = (
  *(
    b"1",
    b"0",
    b" ",
    b"\n",
    b",",
    b"-",
    b'"',
    b"\\",
    b"[",
    b"a",
    b"_",
    b"1.",
    b"#1",
    b"1\t",
    b" + ",
  ),
  *(b"<!--", b"<a ", b"&", b"a: "),
)
_NUMBER = re.compile(rb"(?<![\d.])[\d.]+")
ROW_BYTES = 150_000  # more than a cell of csv may have
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_PNG = b"\x89PNG\r\n\x1a\n"


class TooSlow(Exception):
  """A case took more than `MAX_SECONDS`."""


@dataclasses.dataclass
class Tally:
  """What became of a parser's cases."""

  cases: int = 0
  read: int = 0
  refused: int = 0
  crashes: int = 0  # of the process that reads, each an error about its file
  seconds: float = 0.0  # of computing here
  slowest: float = 0.0
  megabytes: float = 0.0  # at most, of this process or of the one that reads; see `fuzz_run.run`
  failures: list[str] = dataclasses.field(default_factory=list)


def case(parser: Parser, seeds: Sequence[bytes], *, seed: int, number: int) -> bytes:
  """One damaged file."""
  rng = random.Random(f"{parser.name} {seed} {number}")
  content = bytearray(rng.choice(seeds))
  for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
    if content:
      _damage(content, rng, seeds)
  if content.startswith(_PNG) and rng.random() < 0.7:
    _correct_checksums(content)
  return bytes(content)


def rows(seeds: Sequence[bytes]) -> Iterator[bytes]:
  """Files that are, begin with or have for a number a long row of one thing, and something else."""
  for each in ROWS:
    row = b"1" + each * (ROW_BYTES // len(each)) + b"x"
    content = seeds[0]
    number = _NUMBER.search(content, len(content) // 2) or _NUMBER.search(content)
    first, last = number.span() if number else (len(content) // 2,) * 2
    yield from (row, row + b"\n" + content, content[:first] + row + content[last:])


def _damage(content: bytearray, rng: random.Random, seeds: Sequence[bytes]) -> None:
  """Changes a few bytes in place; half of the time near the start, where headers are."""
  first = rng.randrange(min(len(content), rng.choice((64, 512, len(content)))))
  last = min(len(content), first + rng.randrange(1, 12))
  match rng.randrange(9):
    case 0:
      content[first] ^= 1 << rng.randrange(8)
    case 1:
      content[first] = rng.randrange(256)
    case 2:
      del content[first:last]
    case 3:
      content[first:first] = content[first:last] * rng.choice((1, 1, 20))
    case 4:
      content[first:last] = rng.choice(TOKENS)
    case 5:
      content[first:first] = rng.choice(TOKENS)
    case 6:
      form = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q", "<d"))
      number = rng.choice(NUMBERS) & (0xFFFF if form[1] == "H" else 2**64 - 1)
      piece = struct.pack(form, number)
      content[first : first + len(piece)] = piece
    case 7:  # a part of another file, or of another place in this one
      other = rng.choice(seeds)
      start = rng.randrange(len(other))
      content[first:last] = other[start : start + rng.randrange(1, 200)]
    case _:
      del content[first:]


def _correct_checksums(content: bytearray) -> None:
  """PNG's, without which a decoder sees no damage but that of the first chunk."""
  at = len(_PNG)
  while at + 12 <= len(content):
    length = int.from_bytes(content[at : at + 4], "big")
    end = at + 8 + length
    if end + 4 > len(content):
      return
    content[end : end + 4] = zlib.crc32(content[at + 4 : end]).to_bytes(4, "big")
    at = end + 4


def run(parser: Parser, content: bytes, path: Path, tally: Tally) -> None:
  """Has a file read, and counts what comes of it."""
  path.write_bytes(content)
  start = time.process_time()
  problem = ""
  try:
    with _within_limits():
      parser.read(path)
    tally.read += 1
  except parser.raises as error:
    tally.refused += 1
    tally.crashes += "it crashes the library" in str(error)
    problem = _odd_sentence(str(error).replace(str(path), "PATH"))
  except Exception as error:  # noqa: BLE001  # what is looked for
    problem = f"{type(error).__name__}: {str(error)[:200]}"

  taken = time.process_time() - start
  tally.cases += 1
  tally.seconds += taken
  tally.slowest = max(tally.slowest, taken)
  if problem:
    tally.failures.append(problem)


def _odd_sentence(sentence: str) -> str:
  """What is wrong with an error's text; "" for nothing."""
  if "\n" in sentence or not sentence.strip():
    return f"not one line: {sentence[:200]!r}"
  if len(sentence) > MAX_MESSAGE or max(map(len, sentence.split())) > MAX_WORD:
    return f"{len(sentence)} characters: {sentence[:200]!r}"
  return ""


@contextlib.contextmanager
def _within_limits() -> Iterator[None]:
  """Raises `TooSlow` in what runs too long."""

  def late(*_: object) -> None:
    raise TooSlow(f"more than {MAX_SECONDS} s of computing")

  former = signal.signal(signal.SIGVTALRM, late)
  signal.setitimer(signal.ITIMER_VIRTUAL, MAX_SECONDS)
  try:
    yield
  finally:
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, former)
