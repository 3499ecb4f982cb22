"""The compiled part of a run: no files, no printing.

run            `train`: a run as a pure function                 loop         many steps as one program
batches        which examples a step sees                        programs     start, chunk and evaluate, compiled
placements     one run, many members, or one on many devices     members      many runs in one program
parallel       one run divided over devices                      hosts        what several processes agree on
streaming      images that come from disk
"""
