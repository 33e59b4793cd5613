"""Neurons as dynamics: one model a file, each a pure step function and a kernel over a block."""
