"""MeetingRoom and rooms without one: their passes, what they decide, and what they make."""
