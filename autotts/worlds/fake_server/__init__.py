"""A real HTTP server in OpenAI's form with scripted models, faults and its own token count, for tests."""
