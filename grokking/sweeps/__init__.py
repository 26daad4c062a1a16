"""Sweeps: plan and run a grid of runs over any settings, then analyse and plot the folder.

running     axis, plan, resources, estimate, budget, runner, standing, log, reports, slurm, slurm_scripts
reading     folder -> records
answering   survival (statistics), verdicts, scaling, delay_laws, analysis, tables
showing     look, curves, figures, against_axis, phase_diagram, pages

Importing it imports nothing heavy; none of its modules needs torch.
"""
