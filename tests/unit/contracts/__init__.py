"""What two programs of this project say to each other, each read by the other one's own readers."""
