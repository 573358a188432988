"""`python -m wsiparse` is the command line."""

from __future__ import annotations

import sys

from wsiparse.cli import main

sys.exit(main())
