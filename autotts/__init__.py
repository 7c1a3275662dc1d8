"""autotts finds, for your prompts and your models, the cheapest way to spend test-time compute, and serves it."""

__version__ = "0.1.0"
