"""Models behind servers in OpenAI's form, as a world."""
