"""--boxes: what a file may look like, which images its names mean, and what is refused."""

import json
from pathlib import Path

import pytest

from fal_jax.errors import InputError
from fal_jax.parsing import limits
from fal_jax.photos import box_file
from fal_jax.photos.box_file import Row
from fal_jax.photos.sources import Item

ROWS = [
  Row("a.jpg", (1.0, 2.0, 30.0, 40.0)),
  Row("b.jpg", (5.0, 5.0, 9.5, 9.0)),
  Row("b.jpg", (-5.0, 5.0, 9.0, 9.0)),
]
CSV = "image,x0,y0,x1,y1\na.jpg,1,2,30,40\nb.jpg,5,5,9.5,9\nb.jpg,-5,5,9,9\n"
JSON = {
  "by image": {"a.jpg": [1, 2, 30, 40], "b.jpg": [[5, 5, 9.5, 9], [-5, 5, 9, 9]]},
  "list": [{"image": row.image, "box": row.box} for row in ROWS],
  "our own": {
    "images": [
      {"id": "a.jpg", "faces": [{"id": "", "box": [1, 2, 30, 40]}]},
      {"id": "b.jpg", "faces": [{"id": "", "box": row.box} for row in ROWS[1:]]},
    ]
  },
}


def write(folder: Path, name: str, content) -> Path:
  path = folder / name
  path.write_text(content if isinstance(content, str) else json.dumps(content))
  return path


@pytest.mark.parametrize("kind", ["csv", *JSON])
def test_each_form_holds_the_same_faces(tmp_path, kind):
  path = write(tmp_path, "b.csv", CSV) if kind == "csv" else write(tmp_path, "b.json", JSON[kind])
  assert box_file.read(path) == ROWS


def test_columns_come_in_any_order_with_ids_and_scores(tmp_path):
  text = (
    "\ufeffscore, id, y1, x0, y0, x1, image\n0.5, Ann, 40, 1, 2, 30, a.jpg\n,Bob,9,5,5,9.5,b.jpg\n"
  )
  assert box_file.read(write(tmp_path, "b.csv", text)) == [
    ROWS[0]._replace(id="Ann", score=0.5),
    ROWS[1]._replace(id="Bob"),
  ]


@pytest.mark.parametrize(
  ("name", "content", "named"),
  [
    ("b.csv", "image,x,y,w,h\na.jpg,1,2,3,4\n", "the first line must be image,x0,y0,x1,y1"),
    ("b.csv", CSV.replace("image", "image,label"), "got 'image,label,x0"),
    ("b.csv", CSV.replace("9.5,9\n", "9.5\n"), "face 2: expected 5 cells"),
    ("b.csv", CSV.replace("9.5", "wide"), r"face 2 \(b.jpg\): the box must be four numbers"),
    ("b.csv", CSV.replace("30,40", "0,40"), r"is it \(x, y, width, height\)"),
    ("b.csv", CSV.replace("30,40", "1,40"), "has no area"),
    ("b.csv", CSV.replace("30,40", "nan,40"), "four finite numbers"),
    ("b.csv", "image,x0,y0,x1,y1\n", "holds no box"),
    ("b.csv", "image,x0,y0,x1,y1,id\na,1,2,3,4,Ann\nb,1,2,3,4,Ann\n", "more than once: Ann"),
    ("b.csv", "image,x0,y0,x1,y1,id\na,1,2,3,4,Ann\nb,1,2,3,4,\n", "1 faces have no id"),
    ("b.csv", "image,x0,y0,x1,y1\n,1,2,3,4\n", "face 1 names no image"),
    ("b.csv", CSV + "a" * 150_000 + ",1,2,30,40\n", "is not a CSV file .field larger than"),
    ("b.json", "{", "not a JSON file"),
    ("b.json", "3", "must be"),
    ("b.json", {"a.jpg": 3}, "must be"),
    ("b.json", {"a.jpg": [[1, 2, 3]]}, "four numbers"),
    ("b.json", {"a.jpg": []}, "holds no box"),
    ("b.json", [{"image": "a.jpg", "bbox": [1, 2, 3, 4]}], "must be"),
    ("b.json", {"images": [{"id": "a.jpg"}]}, "must be"),
    ("b.txt", "", "boxes are read from .csv and .json"),
  ],
)
def test_what_is_wrong_is_one_sentence(tmp_path, name, content, named):
  with pytest.raises(InputError, match=named) as error:
    box_file.read(write(tmp_path, name, content))
  assert "\n" not in str(error.value)


def test_a_missing_or_binary_file_is_one_sentence(tmp_path):
  with pytest.raises(InputError, match="cannot be read: No such file"):
    box_file.read(tmp_path / "none.csv")
  (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
  with pytest.raises(InputError, match="not a text in UTF-8"):
    box_file.read(tmp_path / "b.csv")


def test_a_file_that_is_too_large_is_refused_unread(tmp_path, monkeypatch):
  path = write(tmp_path, "b.csv", CSV)
  monkeypatch.setattr(limits, "MAX_TEXT_BYTES", len(CSV) - 1)
  with pytest.raises(InputError, match=f"has {len(CSV)} bytes, more than the {len(CSV) - 1} of"):
    box_file.read(path)


ITEMS = [Item("one/a.jpg", Path("all/one/a.jpg")), Item("two/a.jpg", Path("all/two/a.jpg"))]


@pytest.mark.parametrize(
  ("name", "image"),
  [
    ("one/a.jpg", "one/a.jpg"),
    ("./two/a.jpg", "two/a.jpg"),
    ("all\\two\\a.jpg", "two/a.jpg"),
    (str(Path("all/one/a.jpg").absolute()), "one/a.jpg"),
  ],
)
def test_a_name_means_the_image_whose_path_it_ends(name, image):
  row = ROWS[0]._replace(image=name)
  matched, notes = box_file.match([row], ITEMS, name="b.csv")
  assert matched == {image: [row]}
  assert notes == []


def test_accents_may_be_composed_or_not():
  item = Item("cafe\u0301.jpg", Path("cafe\u0301.jpg"))
  row = ROWS[0]._replace(image="caf\u00e9.jpg")
  assert box_file.match([row], [item], name="b.csv")[0] == {item.id: [row]}


def test_an_ambiguous_name_is_refused():
  with pytest.raises(InputError, match=r"b\.csv: a\.jpg may be all/one/a\.jpg, all/two/a\.jpg"):
    box_file.match(ROWS[:1], ITEMS, name="b.csv")


def test_an_id_is_never_ambiguous():
  items = [Item("a.jpg", Path("all/a.jpg")), Item("deep/a.jpg", Path("all/deep/a.jpg"))]
  assert box_file.match(ROWS[:1], items, name="b.csv")[0] == {"a.jpg": ROWS[:1]}


def test_names_of_no_image_are_said_and_refused_if_there_is_no_other():
  items = [Item("a.jpg", Path("a.jpg"))]
  matched, notes = box_file.match(ROWS, items, name="b.csv")
  assert matched == {"a.jpg": ROWS[:1]}
  assert notes == ["b.csv: not among --images: b.jpg."]

  with pytest.raises(InputError, match=r"none of its images \(b\.jpg\) is among those"):
    box_file.match(ROWS[1:], items, name="b.csv")
