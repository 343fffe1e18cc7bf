"""The commands, one module each: add_parser() describes it, execute() does it."""
