"""farhandd: the service that runs commands and tells the truth about them."""

from importlib.metadata import version

__version__ = version("farhand")
