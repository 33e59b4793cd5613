"""Text: sources -> documents -> tokenizer, tokens, vocabulary."""
