"""The policy: who may do what. Rules from a file, and one pure function that decides on a request by them.

`policy_in_force` reads the policy. `decide` decides on a requested run, `may_act_on` on what is done with an existing
one. A request goes through the rules in order; the first one that is about the user and allows the request decides, and
what no rule allows is denied. The parts:

- `subject`: who asks for what, reduced to what the policy has to know.
- `model`: the rules as frozen pydantic models; `load`: reading them from a file, and sentences for what is wrong.
- `patterns`: how a pattern matches one argument or one program path.
- `decide`: the decision.
- `lookup`: the only access to the file system and to the group database.
"""

from .decide import Decision, decide, has_rule_for, may_act_on
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
    "may_act_on",
    "policy_in_force",
    "subject_of",
]
