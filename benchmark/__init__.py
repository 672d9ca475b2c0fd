"""From a command to records: plan, executors, workers, trainer, tracking."""
