"""Ready-made studies and what they found: a recipe, a card and a result in each folder."""
