"""User stories on a real cluster, one file each."""
