"""In: cells, and what happens to them. Out: folders that are the truth about each run, and what can be read back from
them: states, attempts, checkpoints, plans, costs, fingerprints of code.
Never knows: how a run is trained, who starts it, where its records are copied to.
"""
