"""--mode=codec_report: what encoding and decoding alone cost on the annotations of a dataset."""
