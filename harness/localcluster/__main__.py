"""``python -m harness.localcluster``: the supervisor, started by ``harness.localcluster.start`` and by nobody else."""

import sys

from harness.localcluster.supervisor import main

sys.exit(main())
