"""Makes `python -m farhand_client` the same as `farhand`."""

import sys

from farhand_client.cli import main

sys.exit(main())
