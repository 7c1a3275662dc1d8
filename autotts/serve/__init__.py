"""The server that obeys a policy: requests in OpenAI's form in, the policy's arms run on the backends behind it.

A request goes through `app` (routes), `answering` (from its first byte to its last), `request` (what it asks for),
`obey` (its arm and its plan) or `passing` and `through` (one plain draw, passed through), `said` and `reply` (what it
gets). Who is let in: `keys`, `gate`, `purses`, `bounds`, `hosts`, `listening`. What is counted: `tally`, `guess`,
`metrics` with `measures`, `watched` and `joined`, `log`, `kept`. What goes on beside the requests: `running` (start),
`living`, `ready`, `reload`, `bank`, `workers`.
"""
