"""The embedded PostgreSQL and Redis of `make run` and `make test`, and the small supervisor.

The standard library and python-dotenv are all that is used here, and Django is never imported:
these files run before it and outlive it. `python -m cinebook.engines run` is all of `make run`;
`python -m cinebook.engines exec COMMAND` gives COMMAND a throwaway pair; tests take
`throwaway.running_engines`.
"""
