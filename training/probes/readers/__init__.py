"""The sets' files -> examples, a file here for each kind. Malformed rows are refused with file and line."""
