"""The parts of the one call: python -m tools.gpu.parts NAME RESULT [ARGUMENT ...]

Each is a module whose main(RESULT, *arguments) writes its result to that file, as often as it likes:
what it had when it was stopped counts. It ends with exit code 0, with 77 for what is missing, or with
any other for a failure; the last line that it prints is the reason.
"""
