"""How well a network does on boxes and images that are worse than those of its dataset."""
