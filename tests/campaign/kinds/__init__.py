"""The kinds of case, each a module with a function `case(kit, number, folder)` that returns a `Result`."""
