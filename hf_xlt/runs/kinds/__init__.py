"""What a kind of recipe makes, one file each."""
