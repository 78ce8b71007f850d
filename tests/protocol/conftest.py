"""The same examples on every run, and no deadline: the machines that run this are shared."""

from hypothesis import settings

settings.register_profile("steady", derandomize=True, deadline=None, database=None)
settings.load_profile("steady")
