"""Packing into a zip: blocks deflated on all cores, written forward only, the same bytes for any number of threads."""
