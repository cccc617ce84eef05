"""`bench.json` as a page for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from fal_jax.output import markdown

SCALING = ("same work for each", "step ms", "control ms", "control / step")


def page(report: Mapping[str, Any]) -> str:
  """All tables, in markdown whose columns also stand in line on a screen."""
  sections = [_machine(report), _parts(report)]
  sections += [
    section(report[name])
    for name, section in (
      ("sweep", _sweep),
      ("torch", _torch),
      ("torch_compile", _torch),
      ("first_step", _first_step),
      ("memory", _memory),
      ("determinism", _determinism),
      ("input", _input),
      ("processes", _processes),
      ("fake_devices", _fake_devices),
      ("trace", _trace),
    )
    if report.get(name)
  ]
  return "\n\n".join(sections) + "\n"


def _machine(report: Mapping[str, Any]) -> str:
  machine, settings = report["machine"], report["settings"]
  load = machine["load_average"]
  shown = [
    f"{machine['devices']} x {machine['device']}, CPU {machine['cpu']} ({machine['cores']} cores), load {load[0]:.1f} before, "
    f"{load[1]:.1f} after",
    f"jax {machine['jax']}, jaxlib {machine['jaxlib']}, Python {machine['python']}, commit {machine['git_commit']}",
    f"FAN-{settings['num_stacks']}, K = {settings['landmarks']}, {settings['crop']} px, {settings['dtype']}, "
    f"{settings['pairs']} images a step in {settings['num_views']} views; medians of {settings['rounds']} interleaved rounds, "
    "quartiles in brackets",
  ]
  if load[0] > machine["cores"] / 2:
    shown.append(
      "WARNING: others use this CPU. Times are too long, and PyTorch's more so: its threads wait for each other."
    )
  return "\n".join(f"* {line}" for line in shown)


def _parts(report: Mapping[str, Any]) -> str:
  rows = []
  for name, part in report["parts"].items():
    seconds = part["seconds"]
    rows.append(
      [
        name,
        _ms(seconds),
        f"{part['per_second']:,.4g} {part['unit']}/s",
        _percent(part.get("share_of_step")),
        f"{part['flops_per_second'] / 1e9:,.4g}",
        _percent(part.get("of_matmul")),
        f"{part['bytes_per_second'] / 1e9:,.3g}" if part.get("bytes_per_second") else "",
      ]
    )
  return markdown.table(["part", "ms", "rate", "of the step", "GFLOP/s", "of matmul", "GB/s"], rows)


def _sweep(found: Sequence[Mapping[str, Any]]) -> str:
  rows = []
  for row in found:
    if row.get("too_large"):
      rows.append([str(row["pairs"]), "does not fit", "", "", "", "", ""])
    else:
      rows.append(
        [
          str(row["pairs"]),
          *(
            text
            for name in ("step", "forward")
            for text in (
              _ms(row[name]["seconds"]),
              f"{row[name]['per_second']:,.4g}",
              _percent(row[name]["of_matmul"]),
            )
          ),
        ]
      )
  head = ["images a step", "step ms", "pairs/s", "of matmul", "forward ms", "images/s", "of matmul"]
  return "## Batch sizes\n\n" + markdown.table(head, rows)


def _torch(found: Mapping[str, Any]) -> str:
  rows = [
    [
      name,
      f"{part['per_second']:,.4g} {part['unit']}/s",
      *([""] if part.get("ratio") is None else [_spread(part["ratio"])]),
    ]
    for name, part in found["parts"].items()
  ]
  return f"## {found['title']}\n\n" + markdown.table(
    ["part", "PyTorch", "time of PyTorch / ours"], rows
  )


def _first_step(found: Mapping[str, Any]) -> str:
  names = {
    "seconds": "all",
    "import_and_devices": "imports, devices",
    "weights": "weights",
    "step": "step",
    "trace": "tracing",
    "compile": "compiling",
  }
  rows = [[cache, *(f"{found[cache][name]:.1f}" for name in names)] for cache in ("cold", "cached")]
  head = ["first step of a fresh process, s", *names.values()]
  note = "Tracing and compiling are those of weights and step together."
  return f"## First step\n\n{markdown.table(head, rows)}\n\n{note}"


def _memory(found: Mapping[str, Any]) -> str:
  def mb(number: int | None) -> str:
    return "unknown" if number is None else f"{number / 1e6:,.1f} MB"

  by_xla = found["flops_by_xla"]
  ratio = (
    f", XLA counts {by_xla / found['flops_by_hand']:.3f} of the FLOPs counted by hand"
    if by_xla
    else ""
  )
  return (
    f"Compiled step: {mb(found['temporaries'])} of temporaries a device, {mb(found['donated'])} donated of a state of "
    f"{mb(found['state'])}{ratio}."
  )


def _determinism(found: Mapping[str, Any]) -> str:
  return f"The same step taken twice from the same state gives {'the same' if found['equal'] else 'DIFFERENT'} bits."


def _input(found: Mapping[str, Any]) -> str:
  rows = [
    [name, cache, _spread(rate, ".4g")]
    for name, caches in found["alone"].items()
    for cache, rate in caches.items()
  ]
  alone = markdown.table(["source", "data.cache", "images/s"], rows)
  fed = {name: part for name, part in found["overlapped"].items() if name != "source"}
  rows = [
    [name, _ms(part["seconds"]), _spread(part["waits"], "+.1%"), _ms(part["on_host"], ".2g")]
    for name, part in fed.items()
  ]
  overlapped = markdown.table(
    ["step fed by data.cache", "ms", "longer by", "of it on the host, ms"], rows
  )
  source = found["overlapped"]["source"]
  return f"## Input\n\nThe pipeline alone:\n\n{alone}\n\nThe training step, fed by {source}:\n\n{overlapped}"


def _processes(found: Mapping[str, Any]) -> str:
  note = "The control: two processes with the same work that know nothing of each other. Each has half of the cores."
  return (
    f"## Processes\n\n{markdown.table(SCALING, [_scaling('2 processes, CPU', found)])}\n\n{note}"
  )


def _fake_devices(found: Sequence[Mapping[str, Any]]) -> str:
  rows = [_scaling(f"{part['devices']} fake devices, CPU", part) for part in found]
  note = "The control: the same work in the same process with no message between devices. All share this machine's cores."
  return f"## Fake devices\n\n{markdown.table(SCALING, rows)}\n\n{note}"


def _scaling(name: str, part: Mapping[str, Any]) -> list[str]:
  if part.get("too_large"):
    return [name, "too little memory", "", ""]
  return [name, _ms(part["seconds"]), _ms(part["control"]), _spread(part["efficiency"])]


def _trace(found: Mapping[str, Any]) -> str:
  rows = [
    [
      kernel["name"][:90],
      f"{1e3 * kernel['seconds']:.3g}",
      f"{kernel['calls']:.3g}",
      f"{kernel['share']:.1%}",
    ]
    for kernel in found["kernels"]
  ]
  head = ["slowest kernels of a step", "ms a step", "calls", "of all kernels"]
  return f"## Trace\n\n{markdown.table(head, rows)}\n\nThe whole trace is in {found['directory']}."


def _ms(seconds: Mapping[str, float], form: str = ".4g") -> str:
  return _spread({name: 1e3 * value for name, value in seconds.items()}, form)


def _spread(value: Mapping[str, float], form: str = ".3g") -> str:
  return f"{value['median']:{form}} [{value['q1']:{form}} {value['q3']:{form}}]"


def _percent(share: Mapping[str, float] | None) -> str:
  return "" if share is None else f"{100 * share['median']:.3g} %"
