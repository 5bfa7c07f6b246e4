"""What servers answer when asked for a directory: text in, a `Listing` out."""
