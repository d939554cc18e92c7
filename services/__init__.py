"""What packshot offers over a network."""
