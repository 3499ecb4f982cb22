"""One process from its command line to its exit code; the only package that prints and exits.

command_line   typed settings in, one-line errors out            experiments   an experiment as a process
terminal       lines and a progress bar                          devices       the CPU as several devices
processes      startup and shutdown of a run's processes         early         signals while a script imports
"""
