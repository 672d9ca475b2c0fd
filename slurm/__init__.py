"""Sends packs to a SLURM cluster with submitit, and asks the cluster what became of them."""
