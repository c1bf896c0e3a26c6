"""The stock voice agent: a LiveKit agent driven by one JSON file, with no code to write."""
