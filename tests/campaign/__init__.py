"""A fault campaign: many small runs are killed, damaged, starved and raced, and each outcome is judged.

    python -m tests.campaign --minutes 10                      # a slice of every kind
    python -m tests.campaign --minutes 60 --kinds kills,damage --seed 3 --json campaign.json
    python -m tests.campaign --seed 3 --case damage:17         # one case again, with its folder kept

A case is a function of its kind, its number and the seed, so its command repeats it (up to the timing of threads).

server     a process per case, forked from one that has imported everything    strikes    faults aimed at one operation
systems    small command lines of every experiment, and undisturbed runs       looks      the contents of a directory
stores     sweeps, studies, caches and sets, to be damaged or killed           verdicts   the worth of an outcome
kinds/     the kinds of case: kills, damage, fuzz, signals, disks, races, folders, long

Columns of the table: bit-equal to an undisturbed run; ran (nothing to compare with); said, in a line; and the failures:
lost (refused, though it should have gone on), silent (wrong, missing or left behind without a word), trace, hang.
"""
