"""Spike codes: vectors to spike trains and back. One file a code, each a Codec; `train` is what they all make."""
