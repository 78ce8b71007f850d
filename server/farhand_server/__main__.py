"""`python -m farhand_server` is `farhandd`."""

import sys

from farhand_server.cli import main

sys.exit(main())
