"""What the demo, the stories and the benchmarks share: a cluster, kubectl, the installed chart, the stand-ins."""
