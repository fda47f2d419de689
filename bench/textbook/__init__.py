"""What most people would write: Django, DRF, a transaction and `select_for_update`, for `make bench` to compare with.

It is kept honest: indexes where its queries want them, rows locked in one order, persistent connections, no work that
it need not do; as many workers as gunicorn recommends. It has no audit, no ledger, no idempotency and no
broadcast, and what it promises ends where two requests for the same seats are one after the other.
"""
