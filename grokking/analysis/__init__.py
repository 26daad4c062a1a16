"""What a run has learned, held against the paper (Nanda et al., 2023).

fourier, spectra              Fourier structure of surfaces, weights and logits
measures                      what every probe measures while the run goes on
hindsight, circuit            one recorded state, seen with the final key frequencies
progress_measures, phases     a whole run, seen that way
investigation, report_card    what the report states: the paper's figures beside the run's
scenes                        what its pictures are drawn from
"""
