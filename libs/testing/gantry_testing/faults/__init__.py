"""The fault harness: a load of stores while faults strike, then the auditor's questions, round after round.

``python -m gantry_testing.faults --rounds 200 --seed 7`` (``make faults``). What strikes whom and
when is drawn from the seed; what the operating system makes of it is not repeatable, so a round
is repeated, not replayed, by its number.

``scene`` is what a round acts upon, ``strikes`` and ``servers`` what can befall it (one generator
each), ``load`` the senders, ``plan`` the drawing, ``rounds`` the course of a round, ``reporting``
what is written down.
"""
