"""Real servers for tests and benchmarks: each is a context manager on free loopback ports."""
