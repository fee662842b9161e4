"""Reading and writing: text, tables, tensors, YAML; files and folders that appear whole or not at all."""
