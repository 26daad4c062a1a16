"""The weight-decay sweep: plan and run a grid of runs, then analyse and plot the folder.

command     options -> plan -> runner (or slurm) -> analysis and pages
running     options, plan, resources, estimate, runner, screen, log, slurm, slurm_scripts
reading     folder -> records
answering   survival (statistics), verdicts, scaling, analysis, tables
showing     thinning, look, curves, figures, pages

Importing it imports nothing heavy; none of its modules needs torch.
"""
