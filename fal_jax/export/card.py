"""README.md of an export: the model card, for people and for Hugging Face's hub."""

from collections.abc import Mapping
from typing import Any

import yaml

from fal_jax.output import markdown

_APACHE = "Apache-2.0"
_METRICS = {
  "nme_ic": "NME_ic",
  "nme_box": "NME_box",
  "auc_ic_10": "AUC_ic at 10 %",
  "fr_ic_10": "failures_ic at 10 %",
}
_USES = {
  "model.onnx": """`model.onnx`: any language with ONNX Runtime; opset and names are in the file.

```bash
pip install numpy onnxruntime
python use_onnx.py photo.jpg X0 Y0 X1 Y1
```""",
  "model.stablehlo": """`model.stablehlo`: JAX alone, on CPU, CUDA or TPU, for any number of crops:
`jax.export.deserialize(content).call(images)`.

```bash
pip install jax flatbuffers
python use_stablehlo.py photo.jpg X0 Y0 X1 Y1
```""",
  "model.safetensors": """`model.safetensors`: the weights, for fal_jax itself, with every decoder,
several views of a face, refinement, evaluation (`--mode=eval --weights=FOLDER`) and fine-tuning
(`--config.init_from=FOLDER`).

```python
from fal_jax.detect import find_faces
from fal_jax.predict import FaceAligner

aligner = FaceAligner.from_exported("FOLDER")
faces = aligner(photo, find_faces(photo)[0])  # photo: (H, W, 3) uint8 RGB
faces.landmarks, faces.scores  # (N, K, 2) in px of the photo, (N, K)
```

```bash
python use_safetensors.py photo.jpg X0 Y0 X1 Y1
```""",
}


def write(description: Mapping[str, Any]) -> str:
  """The model card.

  Args:
    description: content of export.json; its `files` need only the names of the models.

  Returns:
    Markdown with YAML front matter.
  """
  card = description["card"]
  sections = [
    f"---\n{_front_matter(description)}---",
    f"# {description['name']}",
    _warning(description),
    f"{description['summary'].rstrip('.')}.",
    "Sub-pixel heatmap regression (Bulat, Sanchez and Tzimiropoulos, BMVC 2021), exported by "
    "fal_jax.",
    "## Licence",
    f"{description['licence'].rstrip('.')}. The programs `use_*.py` are Apache-2.0, as fal_jax is.",
    "## Training",
    "\n".join(
      f"* {title}: {card[key]}"
      for key, title in {
        "data": "data",
        "network": "network",
        "training": "training",
        "command": "command",
        "limits": "limits",
      }.items()
      if key in card
    ),
    "## Measured",
    _measured(description),
    "## From a photograph to landmarks",
    _crop(description),
    "## Landmarks",
    _markup(description["markup"]),
    "## Use",
    *(text for name, text in _USES.items() if name in description["files"]),
    "`export.json` holds everything above for programs, and the SHA-256 of each file.",
  ]
  return "\n\n".join(filter(None, sections)) + "\n"


def licence_file(description: Mapping[str, Any]) -> str:
  """LICENSE of an export.

  Args:
    description: content of export.json.

  Returns:
    Its text.
  """
  lines = [f"The weights of {description['name']}: {description['licence'].rstrip('.')}."]
  if description["notice"]:
    lines.append(description["notice"])
  if description["licence"] == _APACHE:
    lines.append("https://www.apache.org/licenses/LICENSE-2.0")
  lines.append("The programs use_*.py: Apache-2.0, https://www.apache.org/licenses/LICENSE-2.0")
  return "\n\n".join(lines) + "\n"


def _front_matter(description: Mapping[str, Any]) -> str:
  """The fields that the hub reads; a licence that it does not know is `other`, with a name."""
  is_apache = description["licence"] == _APACHE
  fields: dict[str, Any] = {"license": "apache-2.0" if is_apache else "other"}
  if not is_apache:
    restricted = bool(description["notice"])
    fields["license_name"] = "research-use-only" if restricted else "see-license"
    fields["license_link"] = "LICENSE"
  fields |= {
    "library_name": "fal_jax",
    "pipeline_tag": "keypoint-detection",
    "tags": ["face-alignment", "facial-landmarks", "jax", "flax", "onnx", "stablehlo"],
  }
  if results := _model_index(description):
    fields["model-index"] = [{"name": description["name"], "results": results}]
  return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)


def _model_index(description: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Results as the hub lists them; none of a card whose results are sentences."""
  rows = []
  for split, result in _tables(description["card"]).items():
    metrics = [
      {"type": key, "name": title, "value": result[key]}
      for key, title in _METRICS.items()
      if key in result
    ]
    if metrics:
      dataset = {"type": result["dataset"], "name": result["dataset"]}
      dataset["split"] = split.rpartition("/")[2]
      rows.append({"task": {"type": "keypoint-detection"}, "dataset": dataset, "metrics": metrics})
  return rows


def _tables(card: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
  """Split -> its metrics, of a card that has them as numbers."""
  results = card.get("results") or {}
  return {
    split: result
    for split, result in results.items()
    if isinstance(result, Mapping) and "dataset" in result
  }


def _warning(description: Mapping[str, Any]) -> str:
  """What nobody may overlook; empty where nothing restricts the use."""
  if not description["notice"]:
    return ""
  return f"> **RESTRICTED LICENCE. {description['notice']}**\n>\n> {description['licence']}"


def _measured(description: Mapping[str, Any]) -> str:
  """Table of the results, how they were made and how to make them again."""
  card = description["card"]
  lines = [f"{card.get('measured', 'not measured').rstrip('.')}."]
  if tables := _tables(card):
    rows = [
      (
        split,
        result["dataset"],
        str(result["num_images"]),
        result["box"],
        *(_cell(result, key) for key in _METRICS),
      )
      for split, result in tables.items()
    ]
    head = ("split", "dataset", "images", "boxes", *_METRICS.values())
    lines.append(markdown.table(head, rows))
  elif results := card.get("results"):
    lines.append("\n".join(f"* {what}: {result}" for what, result in results.items()))
  again, dataset, split = "On your own faces", "DATASET", "SPLIT"
  if tables:
    split, result = next(iter(tables.items()))
    again, dataset, split = "Again", result["dataset"], split.rpartition("/")[2]
  lines.append(
    f"{again}:\n\n```bash\npython -m fal_jax.main --mode=eval --weights=FOLDER \\\n"
    f"  --config.data.dir=DATA --config.eval.name={dataset} --config.eval.splits=\"('{split}',)\""
    "\n```"
  )
  return "\n\n".join(lines)


def _cell(result: Mapping[str, Any], key: str) -> str:
  """One number of the table, with its interval if it has one."""
  if key not in result:
    return ""
  interval = result.get(f"{key}_interval")
  return f"{result[key]:.2f}" + (
    "" if interval is None else " ({:.2f} to {:.2f})".format(*interval)
  )


def _crop(description: Mapping[str, Any]) -> str:
  """Which box, how it becomes a crop, and how the landmarks come back."""
  crop, boxes = description["crop"], description["boxes"]
  size, face = crop["size"], crop["face"]
  middle = (size - 1) / 2
  lines = [
    "Coordinates are (x, y) in px, pixel-centre: (0, 0) is the centre of the top-left pixel.",
    f"1. **Box** of the face, {boxes['meaning']}: x0, y0, x1, y1.",
  ]
  if boxes["detectors"]:
    lines += [
      "A detector's box, edges minus 0.5, becomes such a box by a rule of its own. With "
      "s = sqrt(width x height) of the detector's box, the box's centre lies (right, down) x s "
      "from the detector's, and its sides are (width, height) x s:",
      markdown.table(
        ("detector", "right", "down", "width", "height"),
        [
          (name, *(f"{rule[key]:g}" for key in ("right", "down", "width", "height")))
          for name, rule in boxes["detectors"].items()
        ],
      ),
      "SCRFD's and RetinaFace's rules are not measured, but those of detectors that were trained "
      "on the same boxes.",
    ]
  else:
    lines.append(f"Boxes of detectors: {boxes['rule']}.")
  lines += [
    f"2. **Crop**, {size} x {size} px RGB uint8; c is the box's centre and m its larger side:\n\n"
    f"       crop = (photo - c) * {face:g} / m + {middle:g}\n\n"
    f"   Black outside the photo. Where m is {2 * face:g} px or more the photo is averaged down by "
    f"the whole part of m / {face:g} first; then bilinear samples.",
    f"3. **Landmarks** come in px of the crop: photo = (crop - {middle:g}) * m / {face:g} + c. "
    "A score is the height of the peak: about 1 where the network is sure, near 0 where it sees "
    "nothing.",
  ]
  return "\n\n".join(lines)


def _markup(markup: Mapping[str, Any]) -> str:
  """Names of the landmarks, in their order."""
  names = ", ".join(f"{number} {name}" for number, name in enumerate(markup["names"]))
  return (
    f"{markup['num']}; left and right are the person's own. `markup` in export.json has the lines "
    f"that join them and their order in a mirror.\n\n<details><summary>Names</summary>\n\n{names}"
    "\n\n</details>"
  )
