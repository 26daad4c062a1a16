"""Records -> plotly figures -> pages. Nothing here needs torch, and no page asks the network.

style, static/                how everything looks; what pages do in the browser
surface_views, *_figures      records to figures, pure functions
*_sentences, introduction     what a page may say of a run: outcome, structure, first lines
pages                         figures, tables and text to standalone HTML
*_pages, visualize            which figures make which page
"""
