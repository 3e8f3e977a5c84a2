"""The colours of all charts, diagrams and documents.

Okabe and Ito's, which colour-blind people can distinguish (https://jfly.uni-koeln.de/color/); a colour only repeats
what a word, a line style or a hatch says.
"""

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
BLUE, ORANGE, GREEN, SKY, VERMILION = COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[4], COLOURS[5]
INK, FAINT, LINE = "#1b2733", "#5b6b7a", "#c5d0da"  # text, secondary text, rules of tables and grids
BAND, SPAN = "#e8eef4", "#e8e4da"  # backgrounds: headings of tables and groups, a span of time in a chart
