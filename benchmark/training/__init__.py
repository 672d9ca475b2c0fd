"""In: the cells of a pack, and a suite's data and environments. Out: trained networks and measured numbers, appended to
the runs' records.
Never knows: which method, task or suite it serves, who started it, or that there is a tracker.
"""
