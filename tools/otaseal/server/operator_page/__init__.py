"""The operators' page: HTML on the operators' listener, for people who look rather than type.

It shows what the operators' API tells, and changes things by the functions behind that API's handlers (`operator_api`):
with the same checks, the same rights and the same audit lines. It works without JavaScript.
"""
