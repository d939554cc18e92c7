"""What the catalogue is now, what changed between two versions of it, and all about one photo."""
