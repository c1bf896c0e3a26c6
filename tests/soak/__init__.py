"""What is long by nature: thousands of rooms, hundreds of calls and faults at random, and what must hold after them.

A seed stands for all that happens. What is planned is in `plan.py`; `course.py` carries it out, with `creating.py` and
`calling.py` as the load, `faults.py` as what goes wrong and `health.py` as what heals; `invariants.py` and `memory.py`
say what must hold in the end, and `report.py` prints it.
"""
