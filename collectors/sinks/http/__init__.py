"""Lines to an HTTP server: bodies, requests, and what an answer means."""
