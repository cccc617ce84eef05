"""From a config to its objects: all problems are named at once, and the network sets the sizes."""

import dataclasses

import jax.numpy as jnp
import pytest
import tiny_dataset

from fal_jax import build, heads, steps
from fal_jax.errors import InputError

CORRECTED = {
  "model__name": "mobile_unet",
  "head": "correction_static",
  "codec__decode": "argmax",
}


def config(**changes):
  return tiny_dataset.config("somewhere", **changes)


def problems(**changes) -> list[str]:
  """The lines of the error that a config with changes raises."""
  with pytest.raises(InputError) as error:
    build.setup(config(**changes))
  return str(error.value).splitlines()


# ---- Problems


def test_all_problems_of_a_config_are_named_at_once():
  lines = problems(
    data__name="",
    data__cache="disk",
    data__mix=(("synthetic_faces/68", "train"),),
    crop__size=60,
    codec__decode="softmax",
    model__momentum=1.0,
    siamese__reduce="max",
    optimizer__drop_epochs=(40.0, 25.0),
    train__epochs=-1.0,
    eval__norm="ipd",
    log__every_steps=0,
    seed=-1,
  )
  keys = ("data.name", "data.cache", "data.mix", "crop.size", "softmax", "model.momentum")
  keys += (
    "siamese.reduce",
    "optimizer.drop_epochs",
    "train.epochs",
    "eval.norm",
    "log.every_steps",
    "seed",
  )
  for key in keys:
    assert sum(key in line for line in lines) == 1, (key, lines)
  assert len(lines) == len(keys)


@pytest.mark.parametrize(
  ("changes", "line"),
  [
    ({"optimizer__drop_epochs": (40.0, 25.0)}, r"got (40.0, 25.0)."),
    ({"optimizer__drop_epochs": (0.0,)}, "optimizer.drop_epochs must be positive"),
    ({"optimizer__drop_factor": 2.0}, "optimizer.drop_factor must be above 0 and at most 1"),
    ({"model__name": "resnet"}, "config.model.name is 'resnet'; choose fan or mobile_unet."),
    ({"model__pool": "min"}, "config.model.pool is 'min'; choose avg or max."),
    ({"model__features": 12}, "config.model.features must be a multiple of 8, got 12."),
    ({"model__name": "mobile_unet", "model__num_stacks": 2}, "mobile_unet is a single one: set"),
    ({"model__name": "mobile_unet", "model__features": 20}, "must be a multiple of 8, got 20."),
    (CORRECTED, "features that only FAN has: set --config.model.name=fan"),
    ({"model__expansion": 0}, "config.model.expansion must be positive and finite, got 0."),
    ({"model__dtype": "float16"}, "config.model.dtype is 'float16'; choose one of auto, float32"),
    ({"eval__norm": "ip", "data__markup": 39}, "no pupils"),
    ({"eval__batch_size": 0}, "config.eval.batch_size must be positive, got 0."),
    ({"siamese__num_views": 0}, "config.siamese.num_views must be positive and finite, got 0."),
    ({"train__accumulate": 0}, "config.train.accumulate must be 1 or more, got 0."),
    ({"train__accumulate": 2}, "contradict each other: parts that follow one another never have"),
  ],
)
def test_a_problem_is_one_sentence_with_the_key_and_what_it_may_be(changes, line):
  (only,) = problems(**changes)
  assert line in only


@pytest.mark.parametrize(
  ("changes", "key"),
  [
    ({"augment__rotation": -5.0}, "rotation"),
    ({"augment__scale": (1.15, 0.85)}, "scale"),
    ({"augment__mirror": 1.5}, "mirror"),
  ],
)
def test_ranges_of_views_are_checked_before_a_run(changes, key):
  (only,) = problems(**changes)
  assert key in only


def test_batches_are_split_over_the_devices_of_all_processes():
  build.setup(config(), device_count=8)
  with pytest.raises(InputError, match=r"train.batch_size \(8\) must be a multiple .* \(3\)"):
    build.setup(config(), device_count=3)


def test_the_share_of_each_device_is_split_into_parts():
  parts = config(train__accumulate=4, model__sync_batch_norm=False)
  assert build.setup(parts, device_count=2).recipe(steps_per_epoch=1).accumulate == 4
  with pytest.raises(InputError, match=r"number of devices \(4\) times .*accumulate \(4\)\.$"):
    build.setup(parts, device_count=4)


# ---- Parts


def test_a_setup_holds_what_its_config_describes():
  setup = build.setup(config(eval__name="other", eval__norm="box"))

  assert setup.markup.num == tiny_dataset.MARKUP
  assert (setup.crop.size, setup.crop.stored_size, setup.crop.face) == (64, 104, 55.0)
  assert (setup.codec.size, setup.codec.stride) == (16, 4)
  assert (setup.eval_dataset, setup.norm) == ("other", "box")
  with pytest.raises(dataclasses.FrozenInstanceError):
    setup.norm = "ic"


def test_the_network_that_trains_shares_statistics_over_devices_unless_told_not_to():
  for sync, axis_name in ((True, steps.DEVICES), (False, None)):
    setup = build.setup(config(model__sync_batch_norm=sync))
    assert setup.recipe(steps_per_epoch=1).model.axis_name == axis_name
    assert setup.network.axis_name is None


def test_a_correction_comes_with_its_head():
  setup = build.setup(config(head="correction_static", codec__decode="argmax"))
  assert setup.network.fan == build.network(config())
  assert setup.network.stride == 4


def test_keys_of_other_networks_do_not_concern_fan():
  other = config().unlock()
  other.model.tokens = 4

  assert build.network(other) == build.network(config())


@dataclasses.dataclass(frozen=True)
class Coarse:
  """What `build` asks of any network."""

  stride: int = 8
  size_multiple: int = 24


def test_a_correction_of_another_network_than_fan_is_refused():
  with pytest.raises(
    InputError, match=r"config\.head=correction_static reads features that only FAN"
  ):
    heads.with_head(Coarse(), "correction_static")
  assert heads.with_head(Coarse(), "global_softargmax") == Coarse()


def test_heatmap_size_and_size_multiple_come_from_the_network(monkeypatch):
  monkeypatch.setattr(build, "network", lambda config, **_: Coarse())

  codec = build.setup(config(crop__size=96, crop__stored_size=160)).codec
  assert (codec.size, codec.stride) == (12, 8)

  (only,) = problems(crop__size=64)
  assert "config.crop.size must be a multiple of 24" in only
  assert only.endswith("got 64.")


@pytest.mark.parametrize(("depth", "multiple"), [(1, 8), (4, 64)])
def test_a_deeper_fan_needs_a_larger_multiple(depth, multiple):
  (only,) = problems(model__depth=depth, crop__size=60)
  assert f"must be a multiple of {multiple}" in only


@pytest.mark.parametrize(
  ("choice", "backend", "dtype"),
  [
    ("auto", "cpu", None),
    ("auto", "gpu", jnp.bfloat16),
    ("float32", "tpu", None),
    ("bfloat16", "cpu", jnp.bfloat16),
  ],
)
def test_the_precision_follows_the_devices_unless_it_is_chosen(monkeypatch, choice, backend, dtype):
  monkeypatch.setattr(build.jax, "default_backend", lambda: backend)
  assert build.network(config(model__dtype=choice)).dtype == dtype
