"""One file a family of codecs. Each has `build(name, seed)`, which gives the unfitted codec of that name."""
