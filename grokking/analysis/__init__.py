"""What a run has learned, held against the paper (Nanda et al., 2023).

spectra                       Fourier structure of weights and logits (that of one surface: grokking/fourier.py)
measures                      what every probe measures while the run goes on
hindsight, circuit            one recorded state, seen with the final key frequencies
progress_measures, phases     a whole run, seen that way
investigation, report_card    what the report states: the paper's figures beside the run's
judging, controls, published  how a row is judged, against what; the published figures
scenes                        what its pictures are drawn from
"""
