"""The compiled part of a run: no printing, and no files but executables.

run            `train`: a run as a pure function                 loop         many steps as one program
batches        the examples of each step                         programs     start, chunk and evaluate, compiled
placements     one run, many members, or one on many devices     members      several runs in one program
parallel       one run divided over devices                      hosts        messages between processes
streaming      images read from disk                             executables  programs kept between processes
"""
