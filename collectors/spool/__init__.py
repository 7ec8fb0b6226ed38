"""Lines that wait on disk: segments of records with a checksum each, and the bounded spool of one sink."""
