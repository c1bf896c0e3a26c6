// The process that holds a pod's namespaces.
module livekit-operator.dev/tests/cluster/tools/pause

go 1.26.0
