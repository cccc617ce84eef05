"""Messages between devices: read from a compiled program, and what they would cost."""

import pytest

from fal_jax.bench import messages, table
from fal_jax.bench.messages import Machine, Message

# As XLA wrote it for a small network on two devices, shortened; %skip depends on no message.
PROGRAM = """HloModule jit_call, is_scheduled=true

%region_1 (a: f32[], b: f32[]) -> f32[] {
  %wrong = f32[999]{0} all-reduce(%a), metadata={op_name="jvp(FAN)/conv2/bn1/psum"}
}

ENTRY %main.245_spmd (param.224: s32[], param.225: f32[2]) -> (s32[], f32[2]) {
  %param.224 = s32[] parameter(0), sharding={replicated}
  %param.225 = f32[2]{0} parameter(1), sharding={replicated}
  %psum.446 = s32[] all-reduce(%param.224), channel_id=1, to_apply=%region_1, \
metadata={op_name="jit(call)/shard_map/psum" stack_frame_id=3819}
  %psum.420 = f32[2,64]{1,0} all-reduce(%param.225), channel_id=1, to_apply=%region_1, \
metadata={op_name="jit(call)/shard_map/jvp(FAN)/FAN.heatmaps_and_features/m0/b1_4/bn1/psum"}
  %skip = f32[2]{0} fusion(%param.225), kind=kLoop, calls=%region_1
  %fusion.7 = f32[2,64]{1,0} fusion(%psum.420, /*index=1*/%skip), kind=kLoop, calls=%region_1
  %all-reduce.4 = (f32[2,64]{1,0}, f32[2,32]{1,0}) all-reduce(%fusion.7, %skip), channel_id=1, \
metadata={op_name="jit(call)/transpose(jvp(FAN))/FAN.heatmaps_and_features/m0/(b1_1/bn1/psum:b3"}
  %get.1 = f32[2,64]{1,0} get-tuple-element(%all-reduce.4), index=0
  %all-reduce.5 = (f32[1000]{0}, f32[]) all-reduce(%get.1, %psum.446), channel_id=1, \
metadata={op_name="jit(call)/shard_map/psum"}
  ROOT %tuple.1 = (s32[], f32[2]{0}) tuple(%psum.446, %skip)
}
"""
FOUND = [
  Message(4, "", backward=False),
  Message(512, "m0/b1_4/bn1", backward=False),
  Message(768, "m0/b1_1/bn1", backward=True),
  Message(4004, "", backward=False),
]


def test_messages_have_a_size_a_layer_and_a_direction_and_some_wait_for_others():
  assert messages.read(PROGRAM) == (FOUND, 3)


def test_an_estimate_adds_up_compute_and_messages_by_hand():
  machine = Machine("4 chips", 4, peak=100e12, bandwidth=1e9, latency=1e-3)
  found = messages.estimate(machine, FOUND, pair_flops=3 * 10**12)

  # 16 pairs at 12 TFLOP/s; a ring passes one and a half times each array on.
  assert found["compute"] == pytest.approx(4)
  assert found["gradient"] == pytest.approx(2e-3 + 1.5 * 4008 / 1e9)
  assert found["statistics"] == pytest.approx(2e-3 + 1.5 * 1280 / 1e9)
  assert found["local"]["efficiency"] == pytest.approx(4 / (4 + found["gradient"]))
  whole = 4 + found["gradient"] + found["statistics"]
  assert found["synced"]["pairs_per_second"] == pytest.approx(64 / whole)


def test_the_page_counts_messages_by_part_of_the_network():
  estimates = [messages.estimate(each, FOUND, pair_flops=10**11) for each in messages.MACHINES]
  each = [message._asdict() for message in FOUND]
  page = table.messages({"messages": each, "in_a_row": 3, "estimates": estimates})

  rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
  assert ["m0", "1", "1", "1,280"] in rows
  assert ["gradient, loss, count", "2", "0", "4,008"] in rows
  assert "4 messages of 5,288 bytes, of which 3 follow one another" in page
  assert "8 x H100" in page
