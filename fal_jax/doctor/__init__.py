"""--mode=doctor: a page that shows what is wrong with a dataset or with a config for it."""
