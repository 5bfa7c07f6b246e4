"""Message brokers: bytes in, acknowledgement out; RabbitMQ, or a queue in one SQLite file."""
