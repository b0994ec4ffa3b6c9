"""Agents, subscriptions, delivery streams and attempts in the admin: what an operator looks at, and the levers.

It stands here and not in `agents`, because it is a surface as REST is: the test button makes a call, with what
`runtime` makes calls with. `fleetlm.admin` imports `registered`.
"""
