"""Figures: contact sheets of faces, curves, errors per landmark."""
