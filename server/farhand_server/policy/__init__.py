"""The policy: who may do what. It consists of rules from a file, and a pure function that decides on a request by these
rules.

`policy_in_force` reads the policy. `decide` decides on a requested run, `decide_transfer` on a transfer of files,
`decide_forward` on a tunnel, and `may_act_on` on an action on an existing run.
The rules are tried in order: the first rule that is about the user and allows the request decides. What no rule allows
is denied. The parts:

- `subject`: who requests what, reduced to what the policy needs to know.
- `model`: the rules as frozen pydantic models. `load`: reads them from a file, and reports problems as sentences.
- `patterns`: how a pattern matches one argument or one program path.
- `decide`: the decision on a command. `transfers`: on a transfer of files. `forwards`: on a tunnel.
- `lookup`: what a decision needs to know about files, and the only access to the group database.
"""

from .decide import Decision, decide, has_rule_for, may_act_on
from .forwards import decide_forward
from .load import PolicyError, default_policy, load_policy, policy_in_force
from .lookup import FilesNeeded, KnownFiles, NoFiles, group_names, question, subject_of
from .model import Policy, Rule
from .subject import Action, ForwardAsked, Lookup, Owner, PolicyRequest, Subject, TransferAsked
from .transfers import decide_transfer

__all__ = [
    "Action",
    "Decision",
    "FilesNeeded",
    "ForwardAsked",
    "KnownFiles",
    "Lookup",
    "NoFiles",
    "Owner",
    "Policy",
    "PolicyError",
    "PolicyRequest",
    "Rule",
    "Subject",
    "TransferAsked",
    "decide",
    "decide_forward",
    "decide_transfer",
    "default_policy",
    "group_names",
    "has_rule_for",
    "load_policy",
    "may_act_on",
    "policy_in_force",
    "question",
    "subject_of",
]
