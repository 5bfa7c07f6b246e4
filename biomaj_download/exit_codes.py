"""What the command `biomaj-download` ends with; 0: all is well."""

#: Some files or dead letters failed.
SOME_FAILED = 1

#: The words of the command or the configuration were wrong (click ends with it, too).
USAGE = 2

#: The service could not start, or a server, a service or a broker could not be reached or refused.
UNREACHABLE = 3

#: A signal ended the command: this and the signal's number.
BY_SIGNAL = 128
