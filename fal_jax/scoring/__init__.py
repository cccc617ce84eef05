"""How the published numbers of a dataset are made: protocols, annotated faces, metrics over faces
and their reports.
"""
