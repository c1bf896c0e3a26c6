"""The parts of a LiveKitServer's spec, a module for each."""
