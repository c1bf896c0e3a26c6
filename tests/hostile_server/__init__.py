"""A LiveKit server as nobody would wish, as a program and as an image: it hangs, never ends, leads elsewhere, …"""

# What it does with every request; after `rooms-` with all but listings, which it answers as it should.
MODES = ("endless", "bomb", "redirect", "nonsense", "errors", "entries", "hang", "slow")
