"""Known-answer tests of the installed JAX, for `jaxgen doctor` and for the first run on a machine.

known      programs that some release has compiled into wrong numbers or a crash, with the reports' numbers
models     steps, evaluations and likelihoods of every algorithm against float64, also over more than 32,768 rows
precise    a float32 function recomputed in float64
checks     a check and its result; catalogue: all of them
series     runs them in worker processes, which may crash; worker: such a process
results    lines and JSON; head: versions, processor, caches, devices
quick      a second's worth of them, once for each jaxlib, processor and set of flags
"""
