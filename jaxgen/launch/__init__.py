"""One process from its command line to its exit code; the only package that prints and exits.

command_line   typed settings in, one line for what goes wrong   experiments   an experiment as a process
terminal       lines and a progress bar                          devices       the processor as several devices
processes      how several processes of a run meet and end
"""
