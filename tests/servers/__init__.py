"""Real servers that tests run against: what they answer, parse and keep is compared with what was logged."""
