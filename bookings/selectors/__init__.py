"""Reads of what was bought, and of the reconciler's record."""
