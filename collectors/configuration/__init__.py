"""What a collector is told: where it comes from, what is wrong with it, and what it means."""
