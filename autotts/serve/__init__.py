"""The server that obeys a policy: requests in OpenAI's form in, the policy's arms run on the backends behind it."""
