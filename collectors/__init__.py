"""The service: receives, accounts for, redacts, formats and writes. Imported as ``logbus.collectors``."""
