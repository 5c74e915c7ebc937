"""Configuration, plan, run, claims, report and the command line of a study."""
