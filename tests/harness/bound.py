"""Processes of a test that end with it, however it ends."""

# In front of a command line: the kernel kills what it became once the thread that started it is gone, so that a run
# that was killed leaves nothing behind (PR_SET_PDEATHSIG in prctl(2)).
ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
