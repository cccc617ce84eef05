"""A seal fits what it was put on, however that is written, and nothing else."""

import json

import pytest

from fal_jax.output import seal

CONTENT = {"config": {"crop": {"face": 55.0}, "scale": (0.85, 1.15)}, "names": ["a", "é"], 3: None}


def test_a_seal_survives_json_in_any_layout():
  sealed = seal.sealed(CONTENT)
  assert seal.is_intact(sealed)
  for text in (json.dumps(sealed), json.dumps(sealed, indent=2, ensure_ascii=False)):
    read = json.loads(text)
    assert seal.is_intact(read)
    assert seal.is_intact(dict(reversed(read.items())))
  assert seal.sealed(sealed) == sealed


@pytest.mark.parametrize(
  ("old", "new"),
  [("55.0", "57.0"), ("face", "fake"), ("0.85", "0.95"), ('"a"', '"b"'), ("null", "0")],
)
def test_a_seal_does_not_fit_anything_else(old, new):
  text = json.dumps(seal.sealed(CONTENT))
  assert text.count(old) == 1
  assert seal.is_intact(json.loads(text.replace(old, new))) is False


def test_what_has_no_seal_is_told_from_what_is_broken():
  assert seal.is_intact(CONTENT) is None
