"""A trained network's heatmaps read by many decoders.

The network runs once, and all decode each batch; no heatmaps are kept, since those of a whole split
would not fit into memory.
"""

import dataclasses
import functools
import warnings
from collections.abc import Sequence
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from fal_jax import affine, data, evaluate, heatmap, metrics, network, parallel
from fal_jax.build import Setup
from fal_jax.heatmap import HeatmapCodec
from fal_jax.network import Network

# Heatmap px; 1 is the argmax. Table 3 of the paper has the first four.
WINDOWS = (1, 3, 5, 7, 9)
# Sec. 5.1: 10, and "slightly higher values" do as well.
TEMPERATURES = (1.0, 3.0, 5.0, 8.0, 10.0, 12.0, 15.0, 20.0, 30.0, 50.0, 100.0)


def settings(own: HeatmapCodec) -> dict[str, list[HeatmapCodec]]:
  """What to read the heatmaps with.

  Args:
    own: the codec of the run. Its values are among those of each list.

  Returns:
    Name of a table -> its rows: every decoder with the run's window and temperature, and the local
    soft-argmax with many windows and with many temperatures.
  """
  names = [name for name in get_args(heatmap.Decoding) if name != "calibrated" or own.window >= 3]
  windows = sorted({*WINDOWS, own.window})
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about Eq. 1's amplitude, which reading does not depend on
    local = dataclasses.replace(own, decoding="local_softargmax")
    return {
      "decoders": [dataclasses.replace(own, decoding=name) for name in names],
      "windows": [
        dataclasses.replace(local, window=window) for window in windows if window <= own.size
      ],
      "temperatures": [
        dataclasses.replace(local, temperature=temperature)
        for temperature in sorted({*TEMPERATURES, own.temperature})
      ],
    }


def errors(
  setup: Setup, source: data.Source, variables: Any, codecs: Sequence[HeatmapCodec]
) -> dict[HeatmapCodec, np.ndarray]:
  """The error of each face under each decoder.

  Args:
    setup: gives the network, the crop and the normaliser.
    source: the N records of a split, which are read once.
    variables: `params` and `batch_stats`.
    codecs: distinct ones.

  Returns:
    codec -> (N,) float64 NME in percent of `setup.norm`, NaN for faces without it.
  """
  decode = parallel.over_devices(
    functools.partial(decode_by_all, model=setup.network, codecs=tuple(codecs))
  )

  columns: dict[HeatmapCodec, list[np.ndarray]] = {codec: [] for codec in codecs}
  batch_size = setup.config.eval.batch_size
  for batch, images in evaluate.padded_batches(source, rule=setup.crop, batch_size=batch_size):
    landmarks_crop = decode(variables, images)[: len(batch)].astype(np.float64)
    image_from_crop = affine.invert(np.stack([example["crop_from_image"] for example in batch]))
    true = np.stack([example["landmarks"] for example in batch])
    norm = metrics.norms(true, setup.markup)[setup.norm]

    for row, codec in enumerate(codecs):
      pred = affine.apply(image_from_crop, landmarks_crop[:, row])
      nme, valid = metrics.valid_errors(pred, true, norm)
      columns[codec].append(np.where(valid, nme, np.nan))
  return {codec: np.concatenate(values) for codec, values in columns.items()}


def decode_by_all(
  variables: Any, images: jax.Array, *, model: Network, codecs: Sequence[HeatmapCodec]
) -> jax.Array:
  """The network on upright crops, as in `steps.predict_step`, and every decoder.

  What a correction head adds is left out: it belongs to the argmax alone.

  Args:
    variables: `params` and `batch_stats`.
    images: (B, H, H, 3) uint8.
    model: the network.
    codecs: R decoders.

  Returns:
    (B, R, K, 2) float32, crop px.
  """
  heatmaps = network.predict(model, variables, images.astype(jnp.float32) / 255).heatmaps[-1]
  return jnp.stack([codec.decode(heatmaps)[0] for codec in codecs], 1)
