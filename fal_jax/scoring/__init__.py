"""How the published results of a dataset are made: faces, their errors, protocols and reports."""
