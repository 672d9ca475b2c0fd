"""In: run folders as they lie on disk. Out: the same runs in MLflow, each once, whatever was interrupted or away.
The only room that imports mlflow.
Never knows: what trains or schedules a run; and nobody needs it to train, resume or tell what became of a run.
"""
