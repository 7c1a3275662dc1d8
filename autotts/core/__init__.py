"""The nouns and the language of strategies: standard library only, no clock, no price, no text."""
