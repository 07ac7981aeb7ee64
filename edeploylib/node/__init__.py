"""What runs on the machine itself, with the standard library alone."""
