"""--mode=score: bad files and flags are answered in one line and with exit code 2."""

import functools
import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from command_line import run_main
from landmark_tables import IDS, N, make_faces, write, write_csv

from fal_jax import score
from fal_jax.errors import InputError
from fal_jax.parsing import limits
from fal_jax.scoring.truth import Options


@pytest.fixture
def truth(tmp_path):
  return write_csv(tmp_path / "truth.csv", make_faces())


@pytest.fixture
def command_line(capsys):
  """Exit code, stdout and stderr of `main --mode=score`."""
  return functools.partial(run_main, capsys, mode="score")


def _head(num=68):
  return ",".join(["id", *(f"{axis}{k}" for k in range(num) for axis in "xy")])


def _line(name, value="1.5", num=68):
  return ",".join([name, *[value] * (2 * num)])


def _faces_json(**changes):
  faces = {name: face.tolist() for name, face in zip(IDS, make_faces(), strict=True)}
  return json.dumps({**faces, **changes})


def _npy(header):
  """An .npy file with this header and hardly any content."""
  padded = header.ljust(117) + b"\n"
  return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + bytes(96)


def _zipped(compression):
  """An .npz file whose landmarks are compressed in this way."""
  content, archive = io.BytesIO(), io.BytesIO()
  np.save(content, make_faces())
  with zipfile.ZipFile(archive, "w", compression) as file:
    file.writestr("landmarks.npy", content.getvalue())
  return archive.getvalue()


def _encrypted():
  """An .npz file whose only member says that it needs a password, in both of its headers."""
  content = bytearray(_zipped(zipfile.ZIP_STORED))
  for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
    content[content.rindex(signature) + offset] |= 1
  return bytes(content)


HEAD = _head()
ALL = "\n".join(_line(name) for name in IDS)
# File name -> its content, and part of the answer.
BAD = {
  "missing.csv": (None, "cannot be read: No such file"),
  "mine.txt": ("x", "landmarks are read from .csv, .json, .npz, .npy files, not from .txt"),
  "empty.csv": ("", "the first line must be id,x0,y0,x1,y1"),
  "html.csv": ("<!doctype html><title>Log in</title>", "the first line must be id,x0,y0,x1,y1"),
  "no_header.csv": (ALL, "the first line must be id,x0,y0"),
  "columns.csv": (HEAD.replace("y3", "y33x") + "\n" + ALL, "missing y3"),
  "extra.csv": (HEAD + ",score\n" + ALL, "unknown or duplicate score"),
  "partial.csv": (HEAD + ",visible0,visible1\n" + ALL, "missing visible2, visible3, visible4"),
  "only_header.csv": (HEAD, "holds no face"),
  "short_row.csv": (
    HEAD + "\n" + _line(IDS[0], num=67),
    f"face 1 ('{IDS[0]}'): 135 columns, expected 137",
  ),
  "word.csv": (
    HEAD + "\n" + _line(IDS[0]).replace("1.5", "left", 1),
    "x0 is 'left', not a number",
  ),
  "underscore.csv": (HEAD + "\n" + _line(IDS[0], "1_0"), "x0 is '1_0', not a number"),
  "huge.csv": (HEAD + "\n" + _line(IDS[0], "1e400"), "coordinates beyond 1e+07 px"),
  "nan.csv": (
    HEAD + "\n" + ALL.replace("1.5", "nan", 1),
    "1 faces are NaN or missing where landmarks are annotated",
  ),
  "twice.csv": (
    HEAD + "\n" + ALL + "\n" + _line(IDS[3]),
    f"gives 1 ids more than once ({IDS[3]})",
  ),
  "nameless.csv": (HEAD + "\n" + _line(""), "has a face without an id (face 1)"),
  "lacking.csv": (
    HEAD + "\n" + _line(IDS[0], "50"),
    f"6 of 7 faces have no prediction ({', '.join(IDS[1:])})",
  ),
  "unknown.csv": (
    HEAD + "\n" + ALL + "\n" + _line("c.jpg"),
    "1 predictions have ids that truth.csv does not know (c.jpg)",
  ),
  "cofw.csv": (
    "\n".join([_head(29), *(_line(name, num=29) for name in IDS)]),
    "has 29 landmarks per face, truth.csv has 68",
  ),
  "wflw.csv": (
    "\n".join([_head(98), *(_line(name, num=98) for name in IDS)]),
    "add --map_98_to_68",
  ),
  "parts.csv": (
    "\n".join([HEAD, *(_line(name, "0.5") for name in IDS)]),
    "fractions of the image's size, as MediaPipe gives them; multiply them by it",
  ),
  "latin.csv": ("id,é".encode("latin-1"), "is not a text in UTF-8"),
  "quote.csv": (HEAD + '\n"' + _line(IDS[0]), "is not a CSV file"),
  "cut.json": ('{"a": [[1, 2]', "is not a JSON file"),
  "deep.json": ("[" * 100_000, "is not a JSON file"),
  "number.json": ("3", 'must be {"id": [[x, y], ...], ...} or a list'),
  "nothing.json": ("{}", "must be"),
  "keys.json": ('[{"name": "a", "landmarks": [[1, 2]]}]', "must be"),
  "flat.json": (
    _faces_json(**{IDS[2]: [1.0] * 136}),
    f"the landmarks of {IDS[2]} are not a list of [x, y]",
  ),
  "text.json": (json.dumps({IDS[0]: [["1", "2"]]}), "are not a list of [x, y]"),
  "ragged.json": (
    _faces_json(**{IDS[2]: [[1.0, 2.0]] * 67}),
    f"{IDS[0]} has 68 landmarks, but not {IDS[2]}",
  ),
  "twice.json": (
    _faces_json()[:-1] + f', "{IDS[1]}": [[1, 2]]}}'.replace("[[1, 2]]", json.dumps([[1, 2]] * 68)),
    f"gives 1 ids more than once ({IDS[1]})",
  ),
  "null.json": (
    _faces_json(**{IDS[2]: [[None, None]] * 68}),
    "1 faces are NaN or missing",
  ),
  "infinite.json": (
    _faces_json(**{IDS[2]: [[float("inf"), 0.0]] * 68}),
    f"beyond 1e+07 px for {IDS[2]}",
  ),
  "text.npz": ("not a zip", "cannot be read"),
  "pickled.npz": ({"landmarks": np.array([[{}]], object)}, "Python objects are not read"),
  "unnamed.npz": ({"points": np.zeros((N, 68, 2))}, "has no array `landmarks`"),
  "words.npz": ({"landmarks": np.full((N, 68, 2), "x")}, "`landmarks` must be numbers"),
  "flat.npz": (
    {"landmarks": np.zeros((N, 136)), "ids": np.array(IDS)},
    "have shape (7, 136), expected (faces, landmarks, 2)",
  ),
  "few_ids.npz": ({"landmarks": make_faces(), "ids": np.array(IDS[:3])}, "has 3 ids for 7 faces"),
  "no_ids.npz": ({"landmarks": make_faces()}, "has no ids: add them, or --assume_order"),
  "bad_visible.npz": (
    {"landmarks": make_faces(), "ids": np.array(IDS), "visible": np.ones(3)},
    "`visible` has shape (3,)",
  ),
  "bad_subsets.npz": (
    {"landmarks": make_faces(), "ids": np.array(IDS), "subsets": np.ones(N)},
    "`subsets` must be (N,) texts",
  ),
  "pickle.npy": (b"\x80\x04K\x01.", "cannot be read (EOF: reading magic string"),
  "few.npy": (make_faces()[:3], "has no ids"),
  "mmpose.json": ('{"meta_info": {}, "instance_info": []}', "looks like mmpose's output"),
  "results.json": (
    '[{"image_id": 1, "keypoints": [1, 2, 0.9], "score": 1}]',
    "looks like COCO's results",
  ),
  "coco.json": ('{"images": [], "annotations": [], "categories": []}', "looks like a COCO dataset"),
  "labelme.json": ('{"shapes": [], "imagePath": "a.jpg"}', "looks like labelme's annotation"),
  "depth.json": (_faces_json(**{IDS[0]: [[0.1, 0.2, 0.3]] * 68}), "have three numbers each"),
  "objects.json": (json.dumps({IDS[0]: [{"x": 0.1, "y": 0.2}]}), "are not a list of [x, y]"),
  "openface.csv": ("frame, face_id, x_0, x_1, y_0, y_1\n1,0,1,1,1,1", "looks like OpenFace"),
  "digits.json": ('{"a": [[' + "1" * 9000 + ", 2]]}", "is not a JSON file"),
  "big_box.json": (
    '[{"id": "a", "landmarks": [[1, 2]], "box": [1, 2, 3, 1' + "0" * 400 + "]}]",
    "visible, box or subsets are not lists of equal length",
  ),
  "far_box.json": (
    '[{"id": "a", "landmarks": [[1, 2]], "box": [1, 2, 3, 1e300]}]',
    "beyond 1e+07 px for a",
  ),
  "null_id.json": ('[{"id": null, "landmarks": [[1, 2]]}]', "ids must be texts, got None"),
  "long_id.json": (json.dumps({"a" * 70_000: [[1, 2]], "b": [[1, 2], [3, 4]]}), "aaa... has 1"),
  "long_word.csv": (
    HEAD + "\n" + _line(IDS[0]).replace("1.5", "z" * 70_000, 1),
    "zzz...', not a number",
  ),
  "unbalanced.npy": (
    _npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1, 68, 2,"),
    "cannot be read",
  ),
  "claims.npy": (
    _npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (90000000, 68, 2), }"),
    "and it has only",
  ),
  "lzma.npz": (_zipped(zipfile.ZIP_LZMA), "landmarks.npy is compressed in another way"),
  "encrypted.npz": (_encrypted(), "landmarks.npy is encrypted"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_of_predictions_is_answered_in_one_line(command_line, tmp_path, truth, name):
  content, answer = BAD[name]
  path = tmp_path / name
  if isinstance(content, dict):
    np.savez(path, **content)
  elif isinstance(content, np.ndarray):
    np.save(path, content)
  elif content is not None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

  code, out, err = command_line(
    workdir=str(tmp_path / "run"), predictions=[str(path)], truth=str(truth)
  )

  assert code == 2
  assert not out
  assert answer in err
  assert name in err
  assert len(err.splitlines()) == 1
  assert len(err) < 600
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
  ("values", "answer"),
  [
    ({"predictions": []}, "No --predictions given"),
    ({"truth": None}, "Give exactly one of --truth, a file with the annotated landmarks, and"),
    ({"markup": 98}, "has 68 landmarks per face but --markup is 98"),
    ({"markup": 5}, "has 68 landmarks per face but --markup is 5"),
    ({"markup_file": "nowhere.yaml"}, "nowhere.yaml cannot be read"),
    (
      {"markup_file": "m.yaml", "map_68_to_51": True},
      "--map_68_to_51 needs one of ours: leave out",
    ),
    ({"thresholds": ["8", "0.07"]}, "--thresholds are percents between 0.5 and 100"),
    ({"thresholds": ["0.07"]}, "got '0.07': write 7."),
    ({"thresholds": ["nan"]}, "got 'nan'."),
    ({"thresholds": ["1e3"]}, "got '1e3'."),
    ({"thresholds": ["7" * 9000 + "%"]}, "7..."),
    ({"workdir": None}, "No --workdir given"),
    ({"workdir": "{truth}"}, "Nothing can be written to --workdir="),
    ({"map_98_to_68": True}, "needs predictions of 98 landmarks"),
  ],
)
def test_flags_that_do_not_fit_are_answered_in_one_line(
  command_line, tmp_path, truth, values, answer
):
  pred = write_csv(tmp_path / "mine.csv", make_faces())
  arguments = {"workdir": str(tmp_path / "run"), "predictions": [str(pred)], "truth": str(truth)}
  arguments |= {
    key: value.format(truth=truth) if isinstance(value, str) else value
    for key, value in values.items()
  }

  code, _, err = command_line(**arguments)

  assert code == 2
  assert answer in err
  assert len(err.splitlines()) == 1


def test_a_file_that_is_larger_than_any_landmarks_is_refused_unread(
  command_line, tmp_path, truth, monkeypatch
):
  monkeypatch.setattr(limits, "MAX_LANDMARK_BYTES", 100_000)
  flags_but_predictions = {"workdir": str(tmp_path), "truth": str(truth)}
  np.savez_compressed(tmp_path / "bomb.npz", landmarks=np.zeros((1000, 68, 2)))
  write_csv(tmp_path / "long.csv", np.full((200, 68, 2), 1 / 3), [f"{row}" for row in range(200)])

  for name, answer in (
    ("bomb.npz", "unpacks to 1,088,"),
    ("long.csv", "bytes, more than the 100,000 of a file of landmarks"),
  ):
    code, _, err = command_line(predictions=[str(tmp_path / name)], **flags_but_predictions)
    assert code == 2
    assert answer in err


def test_a_truth_with_an_empty_face_is_refused(tmp_path):
  pred, true = write_csv(tmp_path / "mine.csv", make_faces()), make_faces()
  true[2] = np.nan
  path = write(tmp_path / "hollow.npz", true)

  answer = f"faces without a single landmark, leave them out: {IDS[2]}"
  with pytest.raises(InputError, match=answer):
    score.run(tmp_path, pred, Options(truth=path))


def test_a_truth_that_gives_an_id_twice_is_refused(tmp_path):
  pred = write_csv(tmp_path / "mine.csv", make_faces())
  path = write(tmp_path / "double.npz", make_faces(), [*IDS[:-1], IDS[0]])

  answer = f"double.npz gives 1 ids more than once .{IDS[0]}"
  with pytest.raises(InputError, match=answer):
    score.run(tmp_path, pred, Options(truth=path))


_SCRIPT = """
import runpy, sys

try:
  runpy.run_module("fal_jax.main", run_name="__main__", alter_sys=True)
except SystemExit as end:
  print("exit", end.code, "jax" in sys.modules)
"""


def test_a_bad_file_is_named_before_jax_is_loaded(tmp_path, truth):
  bad = tmp_path / "bad.csv"
  bad.write_text("id,x0,y0,visible0\na,1,2,1\n")
  flags = ["--mode=score", f"--predictions={bad}", f"--truth={truth}", f"--workdir={tmp_path}"]

  done = subprocess.run(
    [sys.executable, "-c", _SCRIPT, *flags], capture_output=True, text=True, check=False
  )
  assert done.stdout == "exit 2 False\n"
  assert "bad.csv" in done.stderr and "Traceback" not in done.stderr
