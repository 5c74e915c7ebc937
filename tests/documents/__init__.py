"""The documents: what they say is so, what they show runs."""
