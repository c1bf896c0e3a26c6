"""What the pass of every kind needs. It knows no kind."""
