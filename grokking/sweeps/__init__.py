"""The weight-decay sweep: plan and run a grid of runs, then analyse and plot the folder.

running     axis, plan, resources, estimate, runner, standing, log, reports, slurm, slurm_scripts
reading     folder -> records
answering   survival (statistics), verdicts, scaling, analysis, tables
showing     look, curves, figures, pages

Importing it imports nothing heavy; none of its modules needs torch.
"""
