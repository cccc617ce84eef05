"""Kernels of a profiler's trace, which every kind of device lists in its own way."""

from fal_jax.bench import trace


def process(pid, name):
  return {"ph": "M", "pid": pid, "name": "process_name", "args": {"name": name}}


def thread(pid, tid, name):
  return {"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": name}}


def event(pid, tid, name, duration):
  return {"ph": "X", "pid": pid, "tid": tid, "name": name, "dur": duration}


def test_kernels_of_a_gpu_are_added_up_over_its_streams_alone():
  events = [
    process(1, "/device:GPU:0"),
    thread(1, 5, "Stream #13"),
    thread(1, 6, "XLA Ops"),
    process(2, "/host:CPU"),
    thread(2, 7, "python"),
    event(1, 5, "conv", 3e6),
    event(1, 5, "conv", 1e6),
    event(1, 5, "relu", 1e6),
    event(1, 6, "all of it", 9e6),
    event(2, 7, "waiting", 9e6),
    {},
  ]
  assert trace.slowest({"traceEvents": events}, count=1) == [
    {"name": "conv", "seconds": 4.0, "calls": 2, "share": 0.8}
  ]


def test_kernels_of_a_cpu_are_those_of_xlas_threads():
  events = [
    process(2, "/host:CPU"),
    thread(2, 7, "python"),
    thread(2, 8, "tf_XLAEigen/1"),
    event(2, 7, "call", 9e6),
    event(2, 8, "dot", 2e6),
    event(2, 8, "end: dot", 1e6),
  ]
  assert trace.slowest({"traceEvents": events}, count=10) == [
    {"name": "dot", "seconds": 2.0, "calls": 1, "share": 1.0}
  ]


def test_time_goes_to_the_part_of_a_step_that_a_kernel_is_from():
  block = "FAN.heatmaps_and_features/conv2"
  operations = {
    "fusion.1": "jit(call)/vmap(vmap(views))/mul",
    "convolution.2": f"jit(call)/jvp(FAN)/{block}/conv1/conv_general_dilated",
    "convolution": f"jit(call)/transpose(jvp(FAN))/{block}/conv1/conv_general_dilated",
    "copy_fusion": f"jit(call)/transpose(jvp(FAN))/{block}/conv1/transpose",
    "fusion": f"jit(call)/jvp(FAN)/{block}/bn1/mul",
    "fusion.3": f"jit(call)/transpose(jvp(FAN))/{block}/bn1/reduce_sum",
    "add.4": f"jit(call)/jvp(FAN)/{block}/add",
    "fusion.5": "jit(call)/transpose(jvp(combine))/gather",
    "fusion.6": "jit(call)/jvp(loss)/mul",
  }
  program = "\n".join(
    f'  ROOT %{name} = f32[2]{{0}} fusion(%a), metadata={{op_name="{operation}" source_line=7}}'
    for name, operation in operations.items()
  )
  program += "\n  %copy = f32[2]{0} copy(%a)"
  names = (*operations, "copy", "of_another_program")
  events = [thread(2, 8, "tf_XLAEigen/1"), *(event(2, 8, name, 1e6) for name in names)]
  # A GPU's kernels have names of their own.
  events.append({**event(2, 8, "sm90_gemm", 1e6), "args": {"hlo_op": "convolution.2"}})

  assert trace.by_part({"traceEvents": events}, program) == {
    "views: sampled and rendered": 1,
    "warp and sum of views": 1,
    "loss": 1,
    "BatchNorm, gradient": 1,
    "BatchNorm": 1,
    "convolutions, gradient": 2,
    "convolutions": 2,
    "other operations of the network": 1,
    trace.UNNAMED: 2,
  }
