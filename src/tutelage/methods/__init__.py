"""The systems of the literature, one file each, in family folders; no method imports another."""
