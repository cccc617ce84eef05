"""Faces in photographs: image in, boxes out, which lie about as the boxes of training do.

Nothing of JAX is imported here: finding faces is ready long before a network is.
"""

from fal_jax.detect.detector import Detector, FoundFaces, image_from_turned
from fal_jax.detect.find import find_faces
from fal_jax.detect.load import load_detector

__all__ = ["Detector", "FoundFaces", "find_faces", "image_from_turned", "load_detector"]
