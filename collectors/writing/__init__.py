"""From a sink's queue to the sink: what waits, attempts, retries, and the books around them."""
