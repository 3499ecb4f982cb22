"""The host side of a run: it returns, raises or calls back, and never prints.

fit            `fit`, and a run from settings to result      run            `Run`, the result of a run
load           a `Run` from its directory                    session        the loop over spans
spans          where the next span ends: pure arithmetic     progress       rows, speed, when to save
settings       settings and their form on disk               renamed        older formats of run directories
directory      a run directory                               checkpoint     states on disk, checked by SHA-256
metrics        logged rows                                   lock           one owner of a directory
guard          infinities and NaN                            signals        Ctrl-C and SIGTERM between spans
snapshot       a run at one moment                           subset         some members as a run of their own
bar            a progress bar                                machine        facts that a run's last digits depend on
listing        run directories at a glance               precision      whether bfloat16 is faster here
"""
