"""What bench/simulate.py is made of, beside the programs in C."""
