"""The reference network of the speed and gradient comparisons: a stem, nine inverted bottlenecks, a last 1x1 convolution.

18.5 million multiply-accumulates an image, 233,114 parameters.
"""

SIZE, CHANNELS, CLASSES = 32, 3, 10
STEM, LAST = 16, 128
# (in, out, kernel, stride, expansion)
BLOCKS = [(16, 24, 3, 1, 4), (24, 24, 5, 2, 6), (24, 24, 7, 1, 4), (24, 40, 3, 2, 6), (40, 40, 5, 1, 4),
          (40, 40, 7, 1, 6), (40, 64, 5, 2, 6), (64, 64, 3, 1, 4), (64, 64, 7, 1, 6)]
PARAMETERS = 233_114
# How PyTorch may run it: eagerly or compiled, in either memory layout.
MODES = ["eager", "eager-nhwc", "compile", "compile-nhwc"]
