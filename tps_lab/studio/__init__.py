"""The mosaic studio: change a shift pattern and watch what it does. `tps_lab.viz.studio()` opens it.

answer.py   from what is asked (a tile, a grid, a clip …) to what is shown; no widgets, plain data
judge.py    what is to be said about a pattern: even or not, what it reaches, its symmetry
memory.py   what training would take, by hand
clips.py    clips to mix: real ones that install with a package, moving digits, a file of one's own
widget.py   the widget around them; studio.js and studio.css are its face
page.py     the same as a page in a browser, served to this machine only
"""
