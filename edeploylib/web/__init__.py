"""The WSGI applications: HTTP in and out, and nothing else."""
