"""A sample databank, servers that offer it, and the road home: what bin/demo shows."""
