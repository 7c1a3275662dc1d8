"""The servers that requests go to: least load, health, rate limits, retries; it knows HTTP and not what is asked."""
