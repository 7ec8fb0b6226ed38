"""Secrets: what gives one away in a record, and how it is masked before anything else sees it."""
