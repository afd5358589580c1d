"""Sequential MNIST: a digit read one pixel at a time, 784 steps (Le et al. 2015).

Source: LeCun et al. 1998. Official test part (10000), 5000 of the official training part cut off by
seed for validation, 55000 to train on. Pixels are standardised by the usual constants (0.1307,
0.3081). `pool` averages pixels to 196 or 49 steps so that a CPU can run the task; pooled scores are
not comparable with published ones. No defect is known: no repeated image, none in both parts.

Score: accuracy. Published on the test part: LSTM 0.872, GRU 0.962, plain RNN 0.215 (Bai et al. 2018,
Table 1; about 70,000 parameters), LSTM with an auxiliary loss 0.984, a Transformer 0.989 (Trinh et
al. 2018). A linear model, which sees all pixels at once, reaches 0.92.
"""

from __future__ import annotations

from seqbench.tasks._mnist import Mnist


class Task(Mnist):
    """Pixels in reading order."""

    TITLE = "Sequential MNIST"
