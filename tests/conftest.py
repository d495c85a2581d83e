"""What holds for every test."""

from __future__ import annotations

import signal

from hypothesis import settings

# A shell that starts the tests in the background lets them ignore Ctrl-C, and every program they start as well.
signal.signal(signal.SIGINT, signal.default_int_handler)
# And nohup, which lets them ignore that their terminal is gone.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long an example takes says something of the machine, and nothing of what is tested.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
