"""The load: each driver is a process of its own, cheap enough not to be what is measured, and reports its own CPU.

A driver reads its plan (a JSON object) from standard input and writes its result (another one) to standard output.
"""
