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
