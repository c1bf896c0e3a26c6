"""All tests of livekit-operator, and the cluster they run on."""
