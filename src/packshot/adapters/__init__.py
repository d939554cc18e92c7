"""One vendor, one door: nothing else in packshot imports these vendors."""
