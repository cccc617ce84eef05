"""Weights of the published PyTorch FAN networks to Flax variables, and back.

  python -m fal_jax.main --config=configs/w300.py --mode=import_torch --weights=2DFAN4.pth.tar \\
    --workdir=runs/fan4

The published networks see a different crop from ours, and were trained on different heatmaps, so
their workdir needs a different config:

* crop.face=124.8: their crop has the side 200 (w + h) / 195 around a box of w x h, and its centre
  is 0.12 h above the box's. `fan_boxes` gives boxes for which our crop rule yields exactly that.
  The box is a detector's or tight around the landmarks.
* codec.decode=quarter_offset: a quarter of a heatmap pixel towards the higher neighbour of the
  maximum. Their heatmaps were drawn at rounded positions with sigma 1.75 heatmap px, so finer
  decoders recover little more.
* model.pool=avg for the Python package's weights; networks trained by the Lua code (and ibug's
  2dfan2) have max.

The published code truncates crop corners and results to whole pixels, and its coordinates count
from one, so its points may differ from ours by about a pixel, or by a constant of up to half a
heatmap pixel (2 px of the crop): measure it on annotated faces. None of the published weights were
available when this was written. What is tested is the network, against a PyTorch declaration of it.
"""
