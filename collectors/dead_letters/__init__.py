"""What sinks have refused for good: kept on disk with the reason, shown, offered to the sinks anew, or thrown away."""
