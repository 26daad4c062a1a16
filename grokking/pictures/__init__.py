"""Records -> plotly figures -> pages. Nothing here needs torch, and no page asks the network.

style, static/                how everything looks; what pages do in the browser
surface_views, *_figures      records to drawings (figure, title, sentence, buttons), pure functions
*_sentences, introduction     what a page may say of a run: outcome, structure, first lines
drawings, pages               drawings, tables and text to standalone HTML
*_pages, visualize            which figures make which page
"""
