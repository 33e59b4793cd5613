"""What a representation costs and keeps: one measurement a file, `measure` puts them together, `table` joins them."""
