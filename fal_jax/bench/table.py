"""`bench.json` as a page for people."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fal_jax.bench import timing
from fal_jax.output import markdown

SCALING = ("same work for each", "step ms", "control ms", "control / step")


def page(report: Mapping[str, Any]) -> str:
  """All tables, in Markdown whose columns also line up on a screen.

  Args:
    report: the content of `bench.json`.

  Returns:
    One section per part that was measured.
  """
  optional: dict[str, Callable[[Any], str]] = {
    "sweep": sweep,
    "torch": _torch,
    "torch_compile": _torch,
    "first_step": _first_step,
    "predict": _predict,
    "memory": _memory,
    "determinism": _determinism,
    "input": _input,
    "processes": processes,
    "weak_scaling": processes,
    "messages": messages,
    "fake_devices": fake_devices,
    "trace": _trace,
  }

  sections = [_machine(report), _parts(report)]
  sections += [section(report[name]) for name, section in optional.items() if report.get(name)]
  return "\n\n".join(sections) + "\n"


def _machine(report: Mapping[str, Any]) -> str:
  """What was measured, and on what."""
  machine, settings = report["machine"], report["settings"]
  load_before, load_after = machine["load_average"]
  hardware = (
    f"{machine['devices']} x {machine['device']}, CPU {machine['cpu']} ({machine['cores']} cores), "
    f"load {load_before:.1f} before, {load_after:.1f} after"
  )
  software = (
    f"jax {machine['jax']}, jaxlib {machine['jaxlib']}, Python {machine['python']}, commit "
    f"{machine['git_commit']}"
  )
  work = (
    f"{settings['network']}, K = {settings['landmarks']}, {settings['crop']} px, "
    f"{settings['dtype']}, {settings['pairs']} images per step in {settings['num_views']} views; "
    f"medians of {settings['rounds']} interleaved rounds, quartiles in brackets"
  )

  lines = [hardware, software, work]
  if load_before > machine["cores"] / 2:
    lines.append(
      "WARNING: other processes are using this CPU. All times are inflated, PyTorch's even "
      "more so: its threads wait for each other."
    )
  return "\n".join(f"* {line}" for line in lines)


def _parts(report: Mapping[str, Any]) -> str:
  """Our own kernels."""
  head = ["part", "ms", "rate", "of the step", "GFLOP/s", "of matmul", "GB/s"]
  rows = [
    [
      name,
      _ms(part["seconds"]),
      f"{part['per_second']:,.4g} {part['unit']}/s",
      _percent(part.get("share_of_step")),
      f"{part['flops_per_second'] / 1e9:,.4g}",
      _percent(part.get("of_matmul")),
      f"{part['bytes_per_second'] / 1e9:,.3g}" if part.get("bytes_per_second") else "",
    ]
    for name, part in report["parts"].items()
  ]
  return markdown.table(head, rows)


def sweep(sizes: Sequence[Mapping[str, Any]]) -> str:
  """Training step and forward pass at several batch sizes, each from `run.sweep`."""
  head = ["images per step"]
  head += ["step ms", "pairs/s", "of matmul"]
  head += ["forward ms", "images/s", "of matmul"]

  rows = []
  for size in sizes:
    row = [str(size["pairs"])]
    if size.get("too_large"):
      row += ["out of memory", "", "", "", "", ""]
    else:
      for name in ("step", "forward"):
        part = size[name]
        row += [_ms(part["seconds"]), f"{part['per_second']:,.4g}", _percent(part["of_matmul"])]
    rows.append(row)
  return f"## Batch sizes\n\n{markdown.table(head, rows)}"


def _torch(result: Mapping[str, Any]) -> str:
  """PyTorch beside ours."""
  rows = [
    [name, f"{part['per_second']:,.4g} {part['unit']}/s", _spread(part["ratio"])]
    for name, part in result["parts"].items()
  ]

  head = ["part", "PyTorch", "time of PyTorch / ours"]
  return f"## {result['title']}\n\n{markdown.table(head, rows)}"


def _first_step(result: Mapping[str, Any]) -> str:
  """Start-up time, stage by stage."""
  columns = {
    "seconds": "total",
    "import_and_devices": "imports, devices",
    "weights": "weights",
    "step": "step",
    "trace": "tracing",
    "compile": "compiling",
  }

  head = ["first step of a fresh process, s", *columns.values()]
  rows = [
    [cache, *(f"{result[cache][name]:.1f}" for name in columns)] for cache in ("cold", "cached")
  ]

  note = "Tracing and compiling are those of weights and step together."
  return f"## First step\n\n{markdown.table(head, rows)}\n\n{note}"


def _predict(result: Mapping[str, Sequence[float]]) -> str:
  """From the start of a process to the points of a photograph, and of those after it."""
  columns = {
    "first": ("the command, nothing compiled", "s", 1.0),
    "second": ("the command, compiled before", "s", 1.0),
    "face": ("a face afterwards, its box given", "ms", 1e3),
    "detector": ("the detector", "ms", 1e3),
    "photo": ("a photograph: file, detector, face", "ms", 1e3),
    "dlib": ("dlib: detector and 68 landmarks", "ms", 1e3),
  }
  rows = [
    [label, f"{_spread(timing.spread([factor * value for value in result[name]]))} {unit}"]
    for name, (label, unit, factor) in columns.items()
    if name in result
  ]
  return f"## Prediction\n\n{markdown.table(['wait', 'time'], rows)}"


def _memory(result: Mapping[str, Any]) -> str:
  """One sentence about the compiled step."""

  def mb(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e6:,.1f} MB"

  sentence = (
    f"Compiled step: {mb(result['temporaries'])} of temporaries per device, "
    f"{mb(result['donated'])} donated of a state of {mb(result['state'])}"
  )

  if result["flops_by_xla"]:
    ratio = result["flops_by_xla"] / result["flops_by_hand"]
    sentence += f"; XLA counts {ratio:.3f} times the FLOPs counted by hand"
  return f"{sentence}."


def _determinism(result: Mapping[str, Any]) -> str:
  bits = "the same" if result["equal"] else "DIFFERENT"
  return f"The same step taken twice from the same state gives {bits} bits."


def _input(result: Mapping[str, Any]) -> str:
  """The input pipeline, alone and beside the step."""
  rows = [
    [name, cache, _spread(rate, ".4g")]
    for name, caches in result["alone"].items()
    for cache, rate in caches.items()
  ]
  alone = markdown.table(["source", "data.cache", "images/s"], rows)

  fed = {name: part for name, part in result["overlapped"].items() if name != "source"}
  rows = [
    [name, _ms(part["seconds"]), _spread(part["waits"], "+.1%"), _ms(part["on_host"], ".2g")]
    for name, part in fed.items()
  ]
  head = ["step fed by data.cache", "ms", "longer by", "of which on the host, ms"]
  overlapped = markdown.table(head, rows)
  source = result["overlapped"]["source"]

  paragraphs = [
    "## Input",
    "The pipeline alone:",
    alone,
    f"The training step, fed by {source}:",
    overlapped,
  ]
  return "\n\n".join(paragraphs)


def processes(results: Sequence[Mapping[str, Any]]) -> str:
  """What `scaling.measure_processes` returns, as a section."""
  head = [*SCALING, "the same without sync_batch_norm: step ms", "control / step"]
  rows = []
  for result in results:
    row = _scaling(f"{result['processes']} processes, CPU", result)
    local = result.get("local")
    rows.append(
      row + ([_ms(local["seconds"]), _spread(local["efficiency"])] if local else ["", ""])
    )
  note = (
    "The control: the same work in the same processes without communication. Each has half of the "
    "cores; more than two share these halves."
  )
  return f"## Processes\n\n{markdown.table(head, rows)}\n\n{note}"


def messages(result: Mapping[str, Any]) -> str:
  """What `messages.measure` returns, as a section."""
  groups: dict[str, list[list[int]]] = {}
  for message in result["messages"]:
    group = message["layer"].partition("/")[0] or "gradient, loss, count"
    groups.setdefault(group, [[], []])[message["backward"]].append(message["size"])
  rows = [
    [group, str(len(forward)), str(len(backward)), f"{sum(forward) + sum(backward):,}"]
    for group, (forward, backward) in groups.items()
  ]
  sizes = [message["size"] for message in result["messages"]]
  note = (
    f"{len(sizes)} messages of {sum(sizes):,} bytes, of which {result['in_a_row']} follow one "
    "another, each of what the one before has made."
  )

  estimates = [
    [
      each["name"],
      *(f"{1e3 * each[name]:.3g}" for name in ("compute", "gradient", "statistics")),
      *(
        f"{each[how]['pairs_per_second']:,.4g} ({each[how]['efficiency']:.0%})"
        for how in ("synced", "local")
      ),
    ]
    for each in result["estimates"]
  ]
  head = ["estimated, nothing measured", "compute ms", "gradient ms", "BatchNorm ms"]
  head += ["pairs/s (efficiency)", "without sync_batch_norm"]
  counted = markdown.table(["of", "forward", "backward", "bytes"], rows)
  estimated = markdown.table(head, estimates)
  return f"## Messages\n\n{counted}\n\n{note}\n\n{estimated}"


def fake_devices(results: Sequence[Mapping[str, Any]]) -> str:
  """What `scaling.measure_fake_devices` returns, as a section."""
  rows = [_scaling(f"{result['devices']} fake devices, CPU", result) for result in results]
  note = (
    "The control: the same work in the same process without communication between devices. All "
    "share this machine's cores."
  )
  return f"## Fake devices\n\n{markdown.table(SCALING, rows)}\n\n{note}"


def _scaling(name: str, result: Mapping[str, Any]) -> list[str]:
  """A row of either table about scaling."""
  if result.get("too_large"):
    return [name, "too little memory", "", ""]
  return [name, _ms(result["seconds"]), _ms(result["control"]), _spread(result["efficiency"])]


def _trace(result: Mapping[str, Any]) -> str:
  """Parts of a step, and the slowest kernels."""
  whole = sum(result["parts"].values())
  by_part = [
    [part, f"{1e3 * seconds:.3g}", f"{seconds / whole:.1%}"]
    for part, seconds in result["parts"].items()
  ]
  parts = markdown.table(["part of a step", "ms per step", "of all kernels"], by_part)

  head = ["slowest kernels of a step", "ms per step", "calls", "of all kernels"]
  rows = [
    [
      kernel["name"][:90],
      f"{1e3 * kernel['seconds']:.3g}",
      f"{kernel['calls']:.3g}",
      f"{kernel['share']:.1%}",
    ]
    for kernel in result["kernels"]
  ]

  note = f"The whole trace is in {result['directory']}."
  return f"## Trace\n\n{parts}\n\n{markdown.table(head, rows)}\n\n{note}"


def _ms(seconds: Mapping[str, float], form: str = ".4g") -> str:
  return _spread({name: 1e3 * value for name, value in seconds.items()}, form)


def _spread(value: Mapping[str, float], form: str = ".3g") -> str:
  return f"{value['median']:{form}} [{value['q1']:{form}} {value['q3']:{form}}]"


def _percent(share: Mapping[str, float] | None) -> str:
  return "" if share is None else f"{100 * share['median']:.3g} %"
