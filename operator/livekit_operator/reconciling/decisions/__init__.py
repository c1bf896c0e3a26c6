"""Pure decisions that hold for every kind."""
