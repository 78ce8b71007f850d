"""`python -m farhand_client` is `farhand`."""

import sys

from farhand_client.cli import main

sys.exit(main())
