"""Speed and memory, measured side by side with the plain alternative in one run."""
