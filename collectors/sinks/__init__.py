"""Where records go: one file per kind of sink, named for what it writes to."""
