"""farhand_client: run commands on a Farhand service, from Python."""
