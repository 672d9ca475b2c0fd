"""In: packs to run, and a place to run them. Out: worker processes that train them, what became of each, and lines for
those who watch.
Never knows: what a method computes, or how its numbers are shown.
"""
