"""A real SLURM cluster on one Debian machine, on loopback only: for tests, and for trying things out."""
