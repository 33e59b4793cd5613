"""The trainer: one process or many, whole checkpoints, early stopping. A part a file; `loop` puts them together."""
