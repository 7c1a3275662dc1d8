"""What can be told about a prompt before any model is asked: surface features and the level learned from them."""
