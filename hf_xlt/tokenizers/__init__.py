"""What a token stands for; training and extending tokenizers."""
