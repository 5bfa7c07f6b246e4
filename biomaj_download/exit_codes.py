"""What the command `biomaj-download` ends with; 0: all is well, 2: its words were wrong (click)."""

#: Some files or dead letters failed.
SOME_FAILED = 1

#: The service could not start, or a broker could not be reached or refused.
UNREACHABLE = 3
