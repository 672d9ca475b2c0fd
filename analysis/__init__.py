"""Reads finished runs back from the tracker and makes tables of them; imports nothing of the benchmark itself."""
