"""Which image of which dataset comes when."""
