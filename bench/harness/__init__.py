"""What all benchmark groups share: finding and proving allocators, running programs, arithmetic, tables, plots."""
