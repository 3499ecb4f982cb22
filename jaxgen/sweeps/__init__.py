"""Many runs of one experiment: sweeps, searches, clusters.

api            `sweep` from Python                  axes, fields     settings by name and their values
experiment     an experiment found by its name      plan, groups     points as programs of many members
probe          memory of a member                   objective        the metric runs are compared by
table          results, a row a member              results          what a finished sweep leaves
study, space, trials, search     Optuna's study, in batches of members        cluster     Ray
"""
