"""Figures, each drawn from records alone."""
