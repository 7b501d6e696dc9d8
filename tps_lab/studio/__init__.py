"""The mosaic studio: change a shift pattern and watch what it does, in a page that needs nothing.

page/       the page's own sources: markup, style and plain JavaScript, one idea a file
build.py    makes docs/studio.html of them: one file with patterns, clips, test digits and trained models inside
clips.py    clips to mix: real ones that install with a package, moving digits, a file of one's own
judge.py    how uneven a pattern is, and memory by hand: the page has both, and its figures are held equal

`viz.studio_page` opens it in the browser, or in a notebook.
"""
