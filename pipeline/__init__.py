"""Text to embeddings, embeddings to bits, bits to spikes, and one table that says what each costs and keeps."""

__version__ = "0.1.0"
