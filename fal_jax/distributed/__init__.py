"""One run on several processes: which there are, how they start, stop and fail together."""
