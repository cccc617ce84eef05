"""Files of landmarks that were damaged at random: read, or refused in one line; nothing else."""

import json

import numpy as np
import pytest

from fal_jax.errors import InputError
from fal_jax.scoring import faces, landmark_csv, landmark_files

IDS = [f"images/{row}.png" for row in range(4)]
POINTS = np.arange(40.0).reshape(4, 5, 2) + 0.25
TOKENS = [
  *(b"\x00", b"\xff", b'"', b",", b"[", b"{", b"}", b"]", b"'", b"\n", b"-", b"NaN", b"1e999"),
  *(
    b"9" * 400,
    b"9" * 5000,
    b"null",
    b"true",
    b'"a"',
    b"[]",
    b"{}",
    b"\xf0\x9f\x98\x80",
    b"PK\x03\x04",
  ),
]


def _samples(folder):
  """A good file of every format, by suffix."""
  landmark_csv.write(folder / "good.csv", IDS, POINTS, scores=np.ones((4, 5)))
  keys = {"visible": [True] * 5, "box": [0, 0, 50, 50], "subsets": "near far"}
  listed = [
    {"id": name, "landmarks": face.tolist(), **keys} for name, face in zip(IDS, POINTS, strict=True)
  ]
  (folder / "good.json").write_text(json.dumps(listed))
  extra = {"visible": np.ones((4, 5)), "box": np.tile([0.0, 0, 50, 50], (4, 1))}
  np.savez(folder / "good.npz", landmarks=POINTS, ids=np.array(IDS), **extra)
  np.savez_compressed(folder / "packed.npz", landmarks=POINTS, ids=np.array(IDS), **extra)
  np.save(folder / "good.npy", POINTS)
  return {path.name: path.read_bytes() for path in folder.iterdir()}


def _damage(content, rng):
  """A copy with one to four bytes flipped, pieces cut out, doubled or replaced by odd tokens."""
  damaged = bytearray(content)
  for _ in range(rng.integers(1, 5)):
    if not damaged:
      break
    first = int(rng.integers(len(damaged)))
    last = min(len(damaged), first + int(rng.integers(1, 12)))
    match rng.integers(5):
      case 0:
        damaged[first] ^= 1 << int(rng.integers(8))
      case 1:
        del damaged[first:last]
      case 2:
        damaged[first:first] = damaged[first:last]
      case 3:
        damaged[first:last] = TOKENS[rng.integers(len(TOKENS))]
      case _:
        del damaged[first:]
  return bytes(damaged)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["good.csv", "good.json", "good.npz", "packed.npz", "good.npy"])
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path, name):
  content = _samples(tmp_path)[name]
  rng = np.random.default_rng(0)
  path = tmp_path / f"damaged.{name.partition('.')[2]}"

  refused = 0
  for _ in range(800):
    path.write_bytes(_damage(content, rng))
    try:
      faces.from_file(landmark_files.read(path))
    except InputError as error:
      refused += 1
      assert len(str(error).splitlines()) == 1
      assert len(str(error)) < 1000

  assert refused > 100
