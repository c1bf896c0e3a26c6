"""The one way of reconciling: watches fill caches, caches wake keys, workers reconcile one key at a time."""
