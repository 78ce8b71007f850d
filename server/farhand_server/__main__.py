"""Makes `python -m farhand_server` run `farhandd`."""

import sys

from farhand_server.cli import main

sys.exit(main())
