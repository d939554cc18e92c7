"""Draws product photographs: what a studio would take, from a description of the product alone."""
