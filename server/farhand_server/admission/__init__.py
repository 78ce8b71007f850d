"""Admission: the one place where a request about a run is judged, by identity, fingerprint and policy.

    message -> dispatch -> Admission(caller).start / .authorized_run -> registry
                                        |
                                        `-> RunRefusal(code, sentence), which the dispatch sends

`caller`     who has logged in, with everything looked up about the account
`admission`  judges each request once, writes denials to the audit log, and returns a run or a refusal
`judging`    requests whose judgement waits for a worker that looks at the caller's files
`plan`       turns a request and the policy's decision into the plan of a new run; raises `Denied`
`plan_memo`  remembers the plans of requests that come again
`sweep`      plans the runs that remove what transfers have left behind, which the service itself starts
`command`    renders a command as text for listings and for the record

The registry, one layer below, starts the runs that admission allows and makes no decision itself. The dispatch, one
layer above, sends the result.
"""
