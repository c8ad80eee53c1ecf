"""A server that is killed again and again, and a client that knows what must survive."""
