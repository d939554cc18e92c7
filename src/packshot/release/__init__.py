"""What changes the world: register, review, promote, roll back. Never cached, always on the record, undone as a whole."""
