"""One short binary per study."""
