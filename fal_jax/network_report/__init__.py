"""--mode=network_report: a trained network's heatmaps under many decoders, and in many views."""
