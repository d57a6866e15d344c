"""Everything a person reads: HTML, Markdown and LaTeX pages and plots, rendered from results that other packages compute.

An HTML page is one file with nothing outside it. Pictures and charts are inside, there is no script, and a content security policy keeps a
browser from fetching anything even if something slipped past the escaping.
"""
