"""How the commands are called here, for sentences that name one, and how they end. Standard library only."""

import os
import sys

CHECKOUT = os.path.islink(os.path.join(os.path.dirname(os.path.abspath(__file__)), "launch.py"))
"""Whether the code is that of a checkout, in which this folder has links, and not of an installation."""
_called = os.path.basename(sys.argv[0]) if sys.argv else ""
PROGRAM = _called if _called in ("launch.py", "rltf") else "launch.py" if CHECKOUT else "rltf"
"""What a command line begins with: what this process was called by, else what the place of the code allows."""

DONE, FAILED, WRONG_INPUT = 0, 1, 2
"""Exit codes; the reason of the second is in the last line, wrong input is the command line or what it names."""
