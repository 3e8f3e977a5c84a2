"""Okabe and Ito's colours, which colour-blind people can distinguish (https://jfly.uni-koeln.de/color/)."""

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
BLUE, ORANGE, VERMILION = COLOURS[0], COLOURS[1], COLOURS[5]
