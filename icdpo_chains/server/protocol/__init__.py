"""OpenAI's protocol: requests, responses, errors and streams."""
