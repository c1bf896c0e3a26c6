"""Many MeetingRooms: the operator beside a bare script that makes the same requests, in one run."""
