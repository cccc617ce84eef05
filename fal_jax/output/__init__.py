"""What a run writes beside its weights: the metric log, provenance, Markdown tables, folders."""
