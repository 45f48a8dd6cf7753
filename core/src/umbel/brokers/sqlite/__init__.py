"""The default transport: queues and results in one SQLite file, shared by the processes of one host."""
