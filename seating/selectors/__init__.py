"""Reads. A selector is named for what it returns, and asks the database as often as its page can afford."""
