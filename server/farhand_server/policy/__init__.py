"""The policy: who may do what. Rules from a file, and one pure function that judges a request by them."""
