"""What `import grokking` offers to Python: runs, their networks at any recorded epoch, training, sweeps.

Numpy in, numpy out. Nothing here prints, catches a signal or sets anything for the whole process; torch is
imported when weights are computed with.
"""
