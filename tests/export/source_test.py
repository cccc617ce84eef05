"""On which terms exported weights may be used: nobody may overlook that data restrict them."""

import pytest
import tiny_dataset

from fal_jax import build
from fal_jax.export import card, describe, source
from fal_jax.export.options import Options
from fal_jax.weights import named


def terms(**changes):
  return source.terms(tiny_dataset.config("nowhere", **changes), "mine")


@pytest.mark.parametrize("data", ["w300", "wflw", "cofw29/29", "an_unknown_one"])
def test_annotations_of_others_make_weights_research_only(data):
  found = terms(data__name=data)
  assert found["notice"] == f"mine has learnt from {data}: research use only."
  assert found["licence"].startswith("research use only")


def test_so_does_a_share_of_them_or_a_start_from_such_weights():
  rendered = {"data__name": "synthetic_faces/68"}
  assert "w300" in terms(**rendered, data__mix=(("w300", "fit", 0.3),))["notice"]
  assert "research use only" in terms(**rendered, init_from="w300-68")["notice"]


def test_rendered_faces_and_one_s_own_restrict_nothing_and_the_licence_is_left_to_their_maker():
  for data in ("synthetic_faces/68", "custom/mine"):
    found = terms(data__name=data, init_from="free-68")
    assert found["notice"] == "" and found["licence"].startswith("not stated")
  assert "other" in terms(data__name="synthetic_faces", init_from="runs/other")["licence"]


@pytest.mark.parametrize("name", ["free-68", "w300-68"])
def test_the_card_of_a_shipped_network_is_loud_where_its_licence_restricts(name):
  model = source.load(Options(weights=name, out=None))
  text = card.write(describe.describe(model, build.setup(model.config), files={}))

  restricted = bool(named.load(name).notice)
  assert ("> **RESTRICTED LICENCE." in text.split("## ")[0]) == restricted
  assert ("license: apache-2.0" in text) != restricted
  assert model.card["licence"] in text


@pytest.mark.parametrize("name", ["free-68", "w300-68"])
def test_a_card_speaks_of_another_decoder_only_where_there_is_one(name):
  def measured(*overrides):
    return source.load(Options(weights=name, out=None, overrides=overrides)).card["card"][
      "measured"
    ]

  assert "codec.decode" not in measured()
  assert "Exported with codec.decode=argmax" in measured("--config.codec.decode=argmax")
