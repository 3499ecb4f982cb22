"""Many runs of one experiment: sweeps, searches, clusters.

api            `sweep` from Python                  axes, fields     settings by name and their values
experiment     an experiment found by its name      plan, groups     points as multi-member programs
probe          memory of a member                   objective        the metric used to compare runs
table          results, one row per member          results          the report of a finished sweep
claim          a directory's plan or settings, written once
record         a sweep or search read from its directory
study, space, trials, search     Optuna's study, in batches of members        cluster     Ray
"""
