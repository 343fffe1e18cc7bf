"""What the commands share: where things are, running programs, tables, files."""
