"""Pictures of the tables in results/: one function a figure, one file a figure."""
