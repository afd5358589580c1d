"""Permuted sequential MNIST: the pixels of sequential MNIST in one fixed random order (Le et al. 2015).

Data, splits and settings are those of `smnist`; the order destroys the short-range structure. At
least three orders circulate under this name. This one is NumPy's `RandomState(92916).permutation`,
used by the code of Helfrich et al. 2018 (scoRNN), Lezcano-Casado & Martinez-Rubio 2019 and others;
its stream is frozen by NumPy's policy, and its sha256 is checked. `data_seed` does not change it.

Score: accuracy. Published on the test part: LSTM 0.857, GRU 0.873, plain RNN 0.253 (Bai et al. 2018,
Table 1; about 70,000 parameters, other orders), LSTM with an auxiliary loss 0.952, a
Transformer 0.979 (Trinh et al. 2018). A linear model is blind to the order and reaches what it reaches
on `smnist`.
"""

from __future__ import annotations

import hashlib

import numpy as np

from seqbench.errors import MachineError
from seqbench.prepared import Array
from seqbench.tasks._mnist import Mnist

SEED = 92916
DIGESTS = {
    784: "7c8746c4702fe6847ba8e8056236b8e3217b49f57f3de83df7a780c854b6de14",
    196: "adf0543bfa57baf190da53c03e67dbbcbe26164458fa4b9b1a9944d1187a3223",
    49: "ed72eac0b55ee3750526c7811700de6243204c04519c9a082f820ce4d4b4992b",
}
"""sha256 of the order as little-endian 16-bit integers, for each number of steps."""


class Task(Mnist):
    """Pixels in one fixed random order."""

    TITLE = "Permuted sequential MNIST"

    def order(self, steps: int) -> tuple[Array, str]:
        """The permutation (steps,), and its digest; MachineError where NumPy draws another one."""
        order = np.random.RandomState(SEED).permutation(steps)
        digest = hashlib.sha256(order.astype("<u2").tobytes()).hexdigest()
        if digest != DIGESTS[steps]:
            raise MachineError(
                f"the permutation of {steps} pixels has sha256 {digest}",
                f"numpy {np.__version__}",
                "install the versions of constraints.txt",
            )
        return order, f"pixels in the order RandomState({SEED}).permutation({steps}), sha256 {digest}"
