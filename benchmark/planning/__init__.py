"""In: words of a command line, presets, the methods' and suites' own data. Out: a typed request, every value with where
it came from, and the plan: cells with their keys, in packs.
Never knows: run folders, JAX programs, processes, a tracker.
"""
