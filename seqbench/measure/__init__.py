"""Measuring: what the clock says (`speed`), and what repeats exactly (`count`), of every architecture.

One synthetic model, its width solved for the measuring budget, stands for an architecture (`bench`); `forms` are the
ways in which it can be run. `clock` and `memory` say when a number may be believed; `work` counts arithmetic, `peaks`
what the device can do, `energy` and `nvml` read the machine's meters, `pace` times the models of the plan on their own
tasks. `kept` keeps each point as soon as it is there.
"""
