"""farhandd: the service that runs commands and tells the truth about them."""
