"""The policy: who may do what. Rules from a file, and one pure function that judges a request by them.

`policy_in_force` reads it, `decide` judges a run that is asked for, `may` what is done with a run that is there.
`subject` has the words for who asks for what, `lookup` the only look at the file system.
"""

from .decide import Decision, decide, has_rule_for, may
from .load import PolicyError, default_policy, load_policy, policy_in_force
from .lookup import FileSystem, group_names, subject_of
from .model import Policy, Rule
from .subject import Action, Lookup, Owner, PolicyRequest, Subject

__all__ = [
    "Action",
    "Decision",
    "FileSystem",
    "Lookup",
    "Owner",
    "Policy",
    "PolicyError",
    "PolicyRequest",
    "Rule",
    "Subject",
    "decide",
    "default_policy",
    "group_names",
    "has_rule_for",
    "load_policy",
    "may",
    "policy_in_force",
    "subject_of",
]
