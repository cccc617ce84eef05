"""--mode=predict: photographs in; landmarks as CSV, JSON, .pts and overlays out."""
