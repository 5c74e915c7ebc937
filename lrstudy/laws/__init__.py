"""Loss curves -> fitted laws -> predictions, better schedules and when to stop."""
