"""What `models.toml` says of the models that can be asked, and the built-in cards of known ones."""
