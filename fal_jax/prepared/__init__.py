"""Prepared datasets on disk: whether they are whole, their faces, names of splits."""
