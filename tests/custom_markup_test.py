"""Custom mark-ups: read exactly, every mistake named at once, nothing lost through a config."""

import numpy as np
import pytest
import tiny_dataset

from fal_jax import build, config_json, custom_markup, landmarks, metrics
from fal_jax.errors import InputError

FIVE = """
name: my_faces
origin: 1
landmarks: [right_eye, left_eye, nose, right_mouth, left_mouth]
mirror: [[right_eye, left_eye], [3, 4]]
lines: [[right_mouth, left_mouth], [0, 2, 1]]
outer_eyes: [right_eye, left_eye]
pupils: [[0], left_eye]
"""


def read(tmp_path, text):
  """What a file with this text (or bytes) says."""
  path = tmp_path / "markup.yaml"
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return custom_markup.read_file(path)


def test_names_and_numbers_mean_the_same_landmarks(tmp_path):
  content = read(tmp_path, FIVE)

  assert (content.name, content.origin, content.is_custom) == ("my_faces", 1.0, True)
  markup = content.markup
  assert markup.names == ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
  np.testing.assert_array_equal(markup.flip, [1, 0, 2, 4, 3])
  assert markup.edges == ((3, 4), (0, 2), (2, 1))
  assert (markup.outer_eyes, markup.pupils) == ((0, 1), ((0,), (1,)))


def test_a_number_of_landmarks_and_their_pairs_are_enough(tmp_path):
  markup = read(tmp_path, "name: dots\norigin: 0\nlandmarks: 4\nmirror: [[0, 3]]\n").markup

  np.testing.assert_array_equal(markup.flip, [3, 1, 2, 0])
  assert (markup.num, markup.edges, markup.outer_eyes, markup.pupils) == (4, (), None, None)
  assert markup.regions == {"other": (0, 1, 2, 3)}

  norms = metrics.norms(np.random.default_rng(0).uniform(0, 9, (2, 4, 2)), markup)
  assert np.isnan(norms["ic"]).all() and np.isnan(norms["ip"]).all() and (norms["box"] > 0).all()


def test_pairs_decide_and_not_the_names(tmp_path):
  names = "landmarks: [left_a, right_a, left_b, right_b]"
  markup = read(tmp_path, f"name: a\norigin: 0\n{names}\nmirror: [[0, 3]]").markup
  np.testing.assert_array_equal(markup.flip, [3, 1, 2, 0])


def test_a_builtin_mark_up_is_named_by_its_number(tmp_path):
  content = read(tmp_path, "name: mine\norigin: 0.5\nmarkup: 68\n")
  assert content.markup is landmarks.MARKUPS[68]
  assert not content.is_custom and content.origin == 0.5


@pytest.mark.parametrize("num", sorted(landmarks.MARKUPS))
def test_builtin_mark_ups_survive_being_written_as_json(num):
  markup = landmarks.MARKUPS[num]

  back = custom_markup.from_json(custom_markup.to_json(markup))

  assert custom_markup.to_json(back) == custom_markup.to_json(markup)
  np.testing.assert_array_equal(back.flip, markup.flip)
  assert (back.names, back.edges) == (markup.names, markup.edges)
  assert (back.outer_eyes, back.pupils) == (markup.outer_eyes, markup.pupils)


def test_all_mistakes_are_in_one_sentence(tmp_path):
  lines = (
    "origin: 2",
    "landmarks: 5",
    "mirror: [[0, 1], [1, 2], [3, 3], [9, chin], [2]]",
    "lines: [[0, 0]]",
    "colour: red",
  )

  with pytest.raises(InputError) as caught:
    read(tmp_path, "\n".join(lines))

  message = str(caught.value)
  assert len(message.splitlines()) == 1
  for named in (
    "name is missing",
    "origin is 2",
    "unknown key 'colour'",
    "landmark 1 is in the mirror pairs 0 and 1",
    "mirror pair 2 is [3, 3], a landmark with itself",
    "mirror pair 3 holds 9, 'chin', expected numbers from 0 to 4",
    "mirror pair 4 is [2], expected a list of 2 landmarks",
    "line 0 joins a landmark with itself",
  ):
    assert named in message


HEAD = "name: a\norigin: 0\n"
MISTAKES = {
  "no file of the kind": ("- 1\n", "holds [1], expected keys and values"),
  "empty": ("", "is empty"),
  "not closed": ("landmarks: [", "line 1: not plain YAML"),
  "zero bytes": ("a: \0", "not plain YAML"),
  "Latin-1": ("name: Müller".encode("latin-1"), "byte 7 is not UTF-8"),
  "code": (
    "name: !!python/object/apply:os.system ['echo owned']",
    "not plain YAML, the tag 'l.org,2002:python/object/apply:os.system' is not read",
  ),
  "aliases": ("a: &a [1]\nb: [*a, *a]", "line 2: not plain YAML, aliases are not read"),
  "key twice": (
    HEAD + "landmarks: 5\nmirror: []\nmirror: [[0, 1]]",
    "line 5: not plain YAML, the key 'mirror' is there twice",
  ),
  "thousandfold nested": ("[" * 5000, "not plain YAML"),
  "huge": ("#" * 1_000_001, "1,000,001 bytes"),
  "no landmarks": (
    HEAD + "mirror: []",
    "landmarks is missing, expected their number, from 1 to 1000, or a list",
  ),
  "none": (HEAD + "landmarks: 0\nmirror: []", "landmarks is 0"),
  "a truth": (HEAD + "landmarks: yes\nmirror: []", "landmarks is True"),
  "names that YAML reads as truths": (
    HEAD + "landmarks: [no, nose]\nmirror: []",
    "holds False, expected names: put them",
  ),
  "a name twice": (HEAD + "landmarks: [a, b, a]\nmirror: []", "landmarks holds 'a' more than once"),
  "no mirror": (HEAD + "landmarks: 5", "mirror is missing, expected a list of pairs"),
  "mirror left empty": (HEAD + "landmarks: 5\nmirror:", "mirror is missing"),
  "the same pair twice": (
    HEAD + "landmarks: 5\nmirror: [[0, 1], [1, 0]]",
    "landmark 0 is in the mirror pairs 0 and 1; ",
  ),
  "a truth in a pair": (HEAD + "landmarks: 5\nmirror: [[0, true]]", "mirror pair 0 holds True"),
  "below the range": (HEAD + "landmarks: 5\nmirror: [[-1, 1]]", "mirror pair 0 holds -1"),
  "a list in a pair": (HEAD + "landmarks: 5\nmirror: [[[1], 0]]", "mirror pair 0 holds [1]"),
  "three eyes": (
    HEAD + "landmarks: 5\nmirror: []\nouter_eyes: [0, 1, 2]",
    "outer_eyes is [0, 1, 2], expected a list of 2",
  ),
  "one eye twice": (
    HEAD + "landmarks: 5\nmirror: []\nouter_eyes: [1, 1]",
    "outer_eyes are one landmark, 1, twice",
  ),
  "one pupil": (
    HEAD + "landmarks: 5\nmirror: []\npupils: [[0, 1]]",
    "pupils is [[0, 1]], expected two",
  ),
  "equal pupils": (
    HEAD + "landmarks: 5\nmirror: []\npupils: [[0, 1], [1, 0]]",
    "both pupils are the same",
  ),
  "lines of text": (
    HEAD + "landmarks: 5\nmirror: []\nlines: 0-4",
    "lines is '0-4', expected a list of lists",
  ),
  "a name with a slash": ("name: ../a\norigin: 0\nlandmarks: 5\nmirror: []", "name is '../a'"),
  "no origin": (
    "name: a\nlandmarks: 5\nmirror: []",
    "origin is missing, expected the coordinate of the first pixel's centre",
  ),
  "origin true": ("name: a\norigin: true\nlandmarks: 5\nmirror: []", "origin is True"),
  "an unknown mark-up": (
    HEAD + "markup: 70",
    "no mark-up has 70 landmarks: choose one of 19, 29, 39, 51, 68, 98",
  ),
  "a tag": (HEAD + "landmarks: 5\nmirror: []\npupils: !!bool x", "line 5: not plain YAML, the tag"),
  "an empty tag": ("name: !!int ''", "line 1: not plain YAML, the tag"),
  "upright in words": (HEAD + "landmarks: 5\nmirror: []\nupright: maybe", "upright is 'maybe'"),
  "a range the wrong way": (
    HEAD + "landmarks: 5\nmirror: []\nrange: [9, 1]",
    "range is [9, 1], expected two numbers [low, high]",
  ),
  "an endless range": (
    HEAD + "landmarks: 5\nmirror: []\nrange: [0, .inf]",
    "range is [0, inf], expected two numbers",
  ),
  "a range beyond floats": (
    HEAD + f"landmarks: 5\nmirror: []\nrange: [0, 1{'0' * 400}]",
    "expected two numbers [low, high]",
  ),
  "a category of nothing": (
    HEAD + "landmarks: 5\nmirror: []\ncategory: []",
    "category is [], expected the name of a category",
  ),
  "an unknown key": (
    HEAD + "landmarks: 5\nmirror: []\nuprigth: true",
    "unknown key 'uprigth', known are name, origin, markup, upright, range, category, landmarks",
  ),
  "an unknown key beside a mark-up": (HEAD + "markup: 68\nrnage: [0, 1]", "unknown key 'rnage'"),
  "a list of mark-ups": (HEAD + "markup: [68]", "markup is [68]"),
  "a mark-up and landmarks": (HEAD + "markup: 68\nmirror: []", "leave out 'mirror'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_file_is_named_in_one_line(tmp_path, mistake):
  text, named = MISTAKES[mistake]

  with pytest.raises(InputError) as caught:
    read(tmp_path, text)

  message = str(caught.value)
  assert message.startswith(str(tmp_path / "markup.yaml")) and named in message
  assert len(message.splitlines()) == 1 and len(message) < len(str(tmp_path)) + 400


def test_what_concerns_images_and_annotations_is_optional(tmp_path):
  content = read(tmp_path, FIVE)
  assert (content.upright, content.value_range, content.categories) == (None, None, ())
  content = read(tmp_path, f"{FIVE}\nupright: false\nrange: [100, 4000]\ncategory: face\n")
  assert (content.upright, content.value_range) == (False, (100.0, 4000.0))
  assert content.categories == ("face",)
  assert read(tmp_path, f"{FIVE}\ncategory: [1, hand]\n").categories == ("1", "hand")


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(InputError, match=r"none\.yaml cannot be read: No such file or directory"):
    custom_markup.read_file(tmp_path / "none.yaml")


def config(markup, num=5, **changes):
  return tiny_dataset.config("nowhere", data__markup=num, data__own_markup=markup, **changes)


def test_a_config_holds_the_whole_mark_up(tmp_path):
  markup = read(tmp_path, FIVE).markup
  whole = config(custom_markup.to_json(markup))

  back = build.markup(config_json.from_json(config_json.to_json(whole)))

  np.testing.assert_array_equal(back.flip, markup.flip)
  assert (back.names, back.edges) == (markup.names, markup.edges)
  assert build.setup(whole).recipe(steps_per_epoch=1).flip == (1, 0, 2, 4, 3)
  build.setup(whole, device_count=1)


DOTS = '{"landmarks": 5, "mirror": []}'


@pytest.mark.parametrize(
  ("text", "num", "norm", "named"),
  [
    (DOTS, 6, "box", "config.data.markup is 6 but config.data.own_markup describes 5 landmarks"),
    ("{", 5, "box", "config.data.own_markup is wrong: it is not valid JSON"),
    ("[]", 5, "box", "config.data.own_markup is wrong: it is [], expected keys"),
    ('{"landmarks": 5}', 5, "box", "config.data.own_markup is wrong: mirror is missing"),
    (DOTS, 5, "ic", "eval.norm is ic but the mark-up of 5 landmarks has no outer eye corners"),
    (DOTS, 5, "ip", "eval.norm is ip but the mark-up of 5 landmarks has no pupils: choose box"),
    (None, 39, "ic", "the mark-up of 39 landmarks has no outer eye corners"),
  ],
)
def test_a_config_whose_mark_up_does_not_fit_is_refused(text, num, norm, named):
  with pytest.raises(InputError) as caught:
    build.setup(config(text, num, eval__norm=norm), device_count=1)

  assert named in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_of_many_mistakes_the_first_are_told_and_how_many_there_are(tmp_path):
  pairs = ", ".join(f"[nobody_{k}, left_eye]" for k in range(40))
  text = FIVE.replace("mirror: [", f"mirror: [{pairs}, ").replace("name: my_faces", "name: 3")
  with pytest.raises(InputError) as error:
    read(tmp_path, text)

  told = str(error.value)
  assert told.count("; ") == 8 and told.endswith("; and 33 more.")
  assert "name is 3" in told and "'nobody_6'" in told and "'nobody_7'" not in told

  names = ", ".join(f"a_name_{k}, a_name_{k}" for k in range(300))
  with pytest.raises(InputError, match=r"a_name_0.* and 297 more more than once") as error:
    read(tmp_path, f"name: a\norigin: 0\nlandmarks: [{names}]\nmirror: []\n")
  assert len(str(error.value)) < 300 + len(str(tmp_path))
