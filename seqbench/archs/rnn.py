VERSION = 1
SETTINGS = {"layers": 1, "dropout": 0.0}
