"""Records -> plotly figures -> pages. Nothing here needs torch, and no page asks the network.

style, static/                how everything looks; what pages do in the browser
drawings, thinning            a figure with its title, sentence and buttons; fewer points of long series
surface_views, figures/       records to drawings, pure functions
*_sentences, experiment, introduction    what a page may say of a run: outcome, structure, first lines
pages/                        page: drawings, tables, text to standalone HTML; the others: which make which
"""
