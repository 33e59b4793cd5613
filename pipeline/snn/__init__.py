"""Trained spiking networks, each beside a dense network of equal size."""
