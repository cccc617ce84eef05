"""The doctor's page holds all it shows, for every mark-up, and whatever the names contain."""

import base64
import html.parser
import io
import re

import numpy as np
import pytest
from doctor_records import clean_records, examine_records, photograph, record, render_page
from PIL import Image

from fal_jax.doctor import page
from fal_jax.landmarks import MARKUPS
from tfds_builders.common.schema import face_example


class BalancedParser(html.parser.HTMLParser):
  """Complains where an element is closed that is not the one last opened."""

  VOID = ("meta", "br")

  def __init__(self):
    super().__init__()
    self.open = []
    self.text = []

  def handle_starttag(self, tag, attrs):
    if tag not in self.VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    pass

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text.append(data)


@pytest.mark.parametrize("num", sorted(MARKUPS))
def test_every_markup_makes_a_page(num):
  rng = np.random.default_rng(num)
  points = rng.uniform(10, 80, (num, 2)) + rng.normal(0, 1, (4, num, 2))
  faces = [
    face_example(image=photograph(i), landmarks=points[i], file_name=f"{i}.png") for i in range(4)
  ]
  faces[0]["landmarks"][0] = np.nan

  text = render_page({"train": faces}, data__markup=num)

  assert f">{num - 1}</text>" in text
  assert text.count('class="face"') >= 8  # a random shape may have small eyes


def test_names_with_html_in_them_are_shown_and_not_obeyed():
  records = clean_records()
  name = "<script>alert('1')</script>&amp;\"x\".png"
  records["train"][0] = record(0, name=name, box_dataset=None)

  text = render_page(records)

  assert "<script" not in text
  parser = BalancedParser()
  parser.feed(text)
  parser.close()
  assert not parser.open
  assert sum(name in part for part in parser.text) >= 2  # under the image and under the finding


def test_the_page_needs_nothing_but_itself_and_its_images_decode():
  text = render_page(clean_records())

  links = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\')>]+)', text)
  assert len(links) > 20
  assert all(link.startswith("data:image/") for link in links)
  assert not re.search(r"https?:|@import|<script|<link", text)
  for link in links:
    with Image.open(io.BytesIO(base64.b64decode(link.split(",", 1)[1]))) as image:
      image.load()


def test_an_image_that_does_not_decode_is_replaced_by_the_reason():
  records = clean_records()
  content = records["train"][0]["image"]
  records["train"][0] = records["train"][0] | {"image": content[: len(content) // 2]}

  text = render_page(records)

  assert "000.png: this PNG file cannot be decoded" in text


def test_faces_are_shown_of_splits_that_are_not_part_of_another():
  records = clean_records()
  records |= {"fit": records["train"][2:], "val": records["train"][:2]}

  report = examine_records(records)[0]

  assert page.largest(report) == ["train", "test"]
